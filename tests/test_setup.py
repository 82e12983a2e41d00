"""tools/setup.sh, with stand-ins for the programs it calls: what it installs, what it says, how it
begins again."""
import os
import shutil
import subprocess

import pytest
from conftest import ROOT

STUBS = {
    "dpkg-query": 'for p; do :; done; grep -qx "$p" missing || printf installed',
    "apt-get": 'echo "apt-get $*" >>log; case "$*" in *install*) [ -e broken ] || : >missing;; '
               'esac; '
               '[ ! -e broken ] || { echo no; exit 1; }',
    "id": 'cat uid',
    "sudo": 'exit 1',
    "python": 'case "$*" in -c*) [ ! -e novenv ];; *venv*) echo venv >>log; mkdir -p .venv/bin; cp '
              'pip .venv/bin/python;;'
              ' esac',
}
PIP = '#!/bin/sh\necho "pip $*" >>log; [ ! -e nopip ]\n'


@pytest.fixture
def machine(tmp_path):
    """An empty machine: `missing`, `uid` and the files that make a stand-in fail say what it is
    like."""
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "setup.sh", tmp_path / "tools")
    (tmp_path / "stubs").mkdir()
    for name, text in STUBS.items():
        (tmp_path / "stubs" / name).write_text(f"#!/bin/sh\n{text}\n")
    (tmp_path / "pip").write_text(PIP)
    for path in [*(tmp_path / "stubs").iterdir(), tmp_path / "pip"]:
        path.chmod(0o755)
    for name, text in (("missing", ""), ("uid", "0\n"), ("log", "")):
        (tmp_path / name).write_text(text)
    return tmp_path


def setup(machine, *arguments):
    path = f"{machine / 'stubs'}{os.pathsep}/usr/bin{os.pathsep}/bin"
    result = subprocess.run(["sh", "tools/setup.sh", *arguments], cwd=machine,
                            env={"PATH": path, "PYTHON": "python"},
                            capture_output=True, text=True, timeout=30)
    log = (machine / "log").read_text().splitlines()
    (machine / "log").write_text("")
    return result, log


def test_nothing_is_missing(machine):
    result, log = setup(machine)
    assert result.returncode == 0 and (machine / ".venv/.ready").exists() and not result.stderr
    assert [line.split()[0] for line in log] == ["venv", "pip", "pip", "pip", "pip"]
    assert "-c constraints.txt -e .[dev]" in log[1]
    assert "--no-deps basic-pitch==" in log[2]
    assert "--no-deps musicnn==" in log[3]
    assert log[4].endswith("import librosa; librosa.yin")  # by one process, before there can be two


def test_installs_only_what_is_missing(machine):
    (machine / "missing").write_text("lmodern\nffmpeg\n")
    result, log = setup(machine)
    assert result.returncode == 0 and not result.stderr
    assert log[:2] == ["apt-get update -q",
                       "apt-get install -q -y --no-install-recommends ffmpeg lmodern"]


@pytest.mark.parametrize("cause", ["uid", "broken"])
def test_says_what_to_install_and_goes_on(machine, cause):
    (machine / "missing").write_text("chromium\n")
    (machine / cause).write_text("1000\n")
    result, log = setup(machine)
    assert result.returncode == 0 and (machine / ".venv/.ready").exists()
    assert result.stderr.endswith("setup: please install: apt-get install --no-install-recommends "
                                  "chromium\n")
    assert any(line.startswith("apt-get") for line in log) == (cause == "broken")


def test_python_without_venv(machine):
    (machine / "novenv").touch()
    (machine / "uid").write_text("1000\n")
    result, log = setup(machine)
    assert result.returncode == 1 and log == []
    assert result.stderr == ("setup: please install: "
                             "apt-get install --no-install-recommends python3-venv\n")


def test_begins_again_after_a_killed_pip(machine):
    (machine / "nopip").touch()
    assert setup(machine)[0].returncode != 0 and not (machine / ".venv/.ready").exists()
    (machine / ".venv/half").touch()
    (machine / "nopip").unlink()
    result, log = setup(machine)
    assert result.returncode == 0 and log[0] == "venv" and not (machine / ".venv/half").exists()
    (machine / ".venv/kept").touch()
    result, log = setup(machine)  # after a change of the pins: pip only
    assert result.returncode == 0 and log[0].startswith("pip") and (machine / ".venv/kept").exists()
