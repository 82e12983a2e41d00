"""A wheel built from a fresh clone has all that it needs: it plays a file in an empty folder, also
for a user without a home, and leaves nothing in other people's projects."""
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import soundfile as sf
from conftest import ROOT, copy_project, run

from mst.run import project_root, shipped_file

NOBODY = 54_321  # a number without a name and a home


OTHER_USER = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, and a folder with what it installs; its dependencies are this environment's."""
    folder = tmp_path_factory.mktemp("wheel")
    project = copy_project(folder / "project")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "-q"]
    built = run([*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", folder], project)
    assert built.returncode == 0, built.stderr
    assert (project / "build").is_dir()  # what pip leaves, and lint leaves alone:
    assert run(["ruff", "check", "."], project).returncode == 0
    ignored = ["build/lib/mst/run.py", "mst-0.1.0-py3-none-any.whl"]
    assert run(["git", "check-ignore", *ignored], ROOT).stdout.split() == ignored
    wheel = next(folder.glob("*.whl"))
    done = run([*pip, "install", "--no-deps", "--target", folder / "site", wheel], folder)
    assert done.returncode == 0, done.stderr
    for part in (folder, *folder.parents[:2], *folder.rglob("*")):
        if not part.is_symlink():
            part.chmod(part.stat().st_mode | 0o055 if part.is_dir() else 0o755)
    return wheel, folder / "site"


def test_what_is_in_it(installed):
    wheel, _ = installed
    assert wheel.stat().st_size < 42e6  # as the README says; of weights, 45 MB may ship
    names = set(zipfile.ZipFile(wheel).namelist())
    committed = run(["git", "ls-files", "data"], ROOT).stdout.split()
    assert {f"mst/shipped/{name.removeprefix('data/')}" for name in committed} <= names
    made = [name for name in names if name.startswith("mst/shipped")]
    assert len(made) == len(committed)


@pytest.mark.parametrize("user", [
    [], pytest.param(OTHER_USER, marks=pytest.mark.long)],  # half a minute: numba compiles anew
    ids=["no home", "no home, nothing to write to"])
def test_it_plays_a_file_for_a_user_without_a_home(installed, tmp_path, user):
    wheel, site = installed
    if user and (os.getuid() or subprocess.run([*user, sys.executable, "-c", ""]).returncode):
        pytest.skip("cannot become another user here")
    empty = tmp_path / "empty"
    empty.mkdir()
    sf.write(empty / "plain.wav", .1 * np.random.default_rng(0).standard_normal(9000), 22_050)
    (tmp_path / "settings.ini").write_text("[DEFAULT]\nlib_name = theirs\n")
    empty.chmod(0o777)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    env |= {} if user else {"HOME": "nowhere"}  # without, it is looked up
    command = [sys.executable, site / "bin" / "mst_transfer", "plain.wav", "--style", "violin"]
    done = subprocess.run([*user, *command, "--quiet"], cwd=empty, env=env, capture_output=True,
                          text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(os.listdir(empty)) == ["plain.wav", "plain_violin.wav"]
    assert sf.info(empty / "plain_violin.wav").frames == 9000
    assert sorted(os.listdir(tmp_path)) == ["empty", "settings.ini"]


@pytest.mark.parametrize("name", ["settings.ini", "pyproject.toml"])
def test_somebody_elses_project_is_not_ours(tmp_path, monkeypatch, name):
    (tmp_path / name).write_text("[DEFAULT]\nlib_name = theirs\n")
    (tmp_path / "nbs").mkdir()
    monkeypatch.chdir(tmp_path / "nbs")
    assert project_root() == tmp_path / "nbs"
    assert shipped_file("data/pretrained/ldm.safetensors").is_file()
    monkeypatch.chdir(ROOT / "nbs")
    assert project_root() == ROOT
