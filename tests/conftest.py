"""What the tests share: where the project is, and copies of it to work in."""
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CHROMIUM = (shutil.which("chromium") or shutil.which("chromium-browser")
            or shutil.which("google-chrome"))
CHROMIUM_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking",
                 "--disable-component-update", "--disable-sync"]


def pytest_configure():
    """Ctrl-C is heard, also where a shell that began this in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """The longest file first, so that two processes end at about the same time."""
    items.sort(key=lambda item: item.path.name != "test_make_report.py")


def run(command, cwd=ROOT, timeout=1500, **env):
    """Run a command with the environment's programs on the path; `env` adds variables, None removes
    one."""
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "MST_PROFILE": None} | env
    env = {k: v for k, v in env.items() if v is not None}
    return subprocess.run([str(c) for c in command], cwd=cwd, env=env, timeout=timeout,
                          stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)


def copy_project(target, made=False):
    """A copy of what git would commit, like a fresh clone, with this environment as its .venv;
    with `made`, also of the sounds and images that the notebooks made here."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True,
                           check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for folder in ("downloads", "takes", "processed_images"):
        if made and (ROOT / "data" / folder).is_dir():
            shutil.copytree(ROOT / "data" / folder, target / "data" / folder)
    (target / ".venv").mkdir()  # of its own, so that a set-up in the copy could not touch ours
    for part in (p for p in Path(sys.prefix).iterdir() if not p.name.startswith(".")):
        (target / ".venv" / part.name).symlink_to(part)
    (target / ".venv" / ".ready").touch()
    return target


def wait_for(condition, seconds):
    """Wait until `condition()` holds; an error after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(.1)


@pytest.fixture
def project_copy(tmp_path):
    return copy_project(tmp_path / "project")


def free_port():
    """A port on this machine alone that nobody listens to."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def served(command, cwd, log, ready, **env):
    """A server in profile smoke, once `ready()` says so; it writes to the file `log` and ends with
    its kernels."""
    with open(log, "w") as f:
        server = subprocess.Popen([sys.executable, "-m", *command], cwd=cwd,
                                  env=os.environ | env | {"MST_PROFILE": "smoke"},
                                  stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                  start_new_session=True)
        try:
            for _ in range(240):
                if ready():
                    break
                assert server.poll() is None, Path(log).read_text()
                time.sleep(0.25)
            yield
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
