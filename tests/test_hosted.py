"""The badge and the first cell of every notebook; the cell in a folder like that of a hosted
notebook, where the project is fetched, and elsewhere, where it does nothing."""
import json
import os
import re
import sys

import hosted
import pytest
from conftest import ROOT
from IPython.core.interactiveshell import InteractiveShell
from run_notebooks import notebooks
from test_setup import machine  # noqa: F401
from test_tools import notebook


def test_every_notebook_has_them():
    for path in notebooks(ROOT / "nbs"):
        assert hosted.make_hosted(path) == path.read_text(encoding="utf-8"), (
            f"{path.name}: python tools/hosted.py")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert f"/nbs/{path.name})" in "".join(cells[0]["source"])
        texts = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
        assert "setup.sh hosted" in texts[0] and 'os.chdir("mst")' in texts[0]
        assert sum("setup.sh hosted" in text for text in texts) == 1
        assert any('profile = "quick"' in text for text in texts)


def test_the_address_stands_in_one_place():
    """Who moves the project changes settings.ini, and the tool changes every notebook."""
    settings = (ROOT / "settings.ini").read_text(encoding="utf-8")
    user, repo, branch = (re.search(rf"(?m)^{key} = (.*)$", settings)[1]
                          for key in ("user", "repo", "branch"))
    first = notebooks(ROOT / "nbs")[0]
    assert hosted.badge(first).endswith(f"/{user}/{repo}/blob/{branch}/nbs/{first.name})")
    assert f"https://{user}.github.io/{repo}/" == hosted.pages_url()
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert hosted.pages_url() in readme and hosted.badge(first) in readme


@pytest.mark.parametrize("sources", [("#| default_exp a", "1"), ("1",)])
def test_writes_them_once(tmp_path, sources):
    path = notebook(tmp_path / "00_a.ipynb", *sources, tagged=False)
    nb = json.loads(path.read_text())
    nb["cells"].insert(0, {"cell_type": "markdown", "id": "h", "metadata": {},
                           "source": ["# Title\n", "\n", "> What it gives.\n", "\n", "More."]})
    path.write_text(json.dumps(nb))
    path.write_text(text := hosted.make_hosted(path))
    assert hosted.make_hosted(path) == text
    head, first, *_ = json.loads(text)["cells"]
    title, line, badge, rest = "".join(head["source"]).split("\n\n")
    assert (line, badge, rest) == ("> What it gives.", hosted.badge(path), "More.")
    assert "".join(first["source"]).count("#| default_exp") == ("default" in sources[0])


@pytest.fixture
def first_cell(tmp_path, monkeypatch):
    """Runs the first cell in an empty folder, with this clone as the repository, and what the
    set-up would install written to `log`."""
    (tmp_path / "python").write_text('#!/bin/sh\necho "$PWD $*" >>../log\n')
    (tmp_path / "python").chmod(0o755)
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHON", str(tmp_path / "python"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.{ROOT}/.git.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/mst/mst")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    shell = InteractiveShell()
    return lambda: shell.run_cell(hosted.add_setup("#| default_exp data")).raise_error()


def test_does_nothing_elsewhere(first_cell, tmp_path):
    first_cell()
    assert os.getcwd() == str(tmp_path) and os.listdir() == ["python"]


@pytest.mark.skipif(not (ROOT / ".git").is_dir(), reason="this is no clone")
@pytest.mark.parametrize("name", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_fetches_the_project(first_cell, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    first_cell()
    assert os.getcwd() == sys.path[0] == str(tmp_path / "mst")
    assert os.path.isfile("nbs/00_data.ipynb")
    log = (tmp_path / "log").read_text().splitlines()
    assert log and all(line.startswith(f"{tmp_path / 'mst'} -m pip install") for line in log)
    first_cell()  # run again: it is there
    assert os.getcwd() == str(tmp_path / "mst")
    monkeypatch.chdir(tmp_path)
    first_cell()  # after a restart: the folder is, and pip finds nothing to do
    assert os.getcwd() == str(tmp_path / "mst")


def test_set_up_beside_what_is_there(machine):  # noqa: F811
    """Neither TeX nor a browser nor an environment of its own."""
    from test_setup import setup
    (machine / "missing").write_text("lmodern\nffmpeg\nchromium\n")
    (machine / "stubs" / "python").write_text('#!/bin/sh\necho "pip $*" >>log\n')
    result, log = setup(machine, "hosted")
    assert result.returncode == 0 and not (machine / ".venv").exists()
    assert log[1].endswith(" ffmpeg") and "-e ." in log[2]
    assert [line.split()[-1].split("==")[0] for line in log[3:]] == ["basic-pitch", "musicnn"]
