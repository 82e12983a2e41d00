"""Running and publishing notebooks, on small ones made here; the Makefile's commands."""
import base64
import io
import os
import re
import signal
import subprocess
import sys

import nbformat
import numpy as np
import psutil
import publish
import pytest
import run_notebooks
from conftest import ROOT, run, wait_for
from PIL import Image

PARAMETERS = 'preset = "report"\nprofile = "quick"'


def notebook(path, *sources, tagged=True):
    """Write a notebook of these code cells, the first one tagged as parameters."""
    cells = [nbformat.v4.new_code_cell(s, id=f"c{i}") for i, s in enumerate(sources)]
    if tagged:
        cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "python3", "language": "python"}
    nb = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, path)
    return path


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_notebooks, "__file__", str(tmp_path / "tools" / "run_notebooks.py"))
    (tmp_path / "mst").mkdir()
    (tmp_path / "data").mkdir()
    return tmp_path


def test_runs_only_what_changed(project, capsys):
    first = notebook(project / "nbs" / "00_a.ipynb", PARAMETERS, "print(profile)")
    second = notebook(project / "nbs" / "01_b.ipynb", PARAMETERS, "print(profile)")

    def ran():
        run_notebooks.main("smoke")
        return re.findall(r"(?m)^(\d\w+) +\d+ s$", capsys.readouterr().out)

    assert ran() == ["00_a", "01_b"] and ran() == []
    output = (project / "runs/smoke/00_a.ipynb").read_text()
    assert '"smoke\\n"' in output and "fingerprint" in output
    notebook(second, PARAMETERS, "print(profile)", "1")
    assert ran() == ["01_b"]
    (project / "mst" / "b.py").write_text("# File to edit: ../nbs/01_b.ipynb\n")
    assert ran() == ["01_b"]
    (project / "mst" / "b.py").write_text("# File to edit: ../nbs/01_b.ipynb\n# %% "
                                          "../nbs/01_b.ipynb #c001\n")
    assert ran() == []
    (project / "data" / "x.csv").write_text("a\n")
    assert ran() == []  # nobody names it
    notebook(second, PARAMETERS, "open('data/x.csv').read()")
    assert ran() == ["01_b"]
    (project / "data" / "x.csv").write_text("b\n")
    assert ran() == ["01_b"]
    first.touch()
    assert ran() == []
    notebook(project / "nbs" / "00a_c.ipynb", PARAMETERS, "1")
    assert ran() == []  # a workshop that measures nothing
    run_notebooks.main("smoke", which="all")
    assert "00a_c" in capsys.readouterr().out
    (project / "mst" / "b.py").write_text("from .c import (\n    x)\n")  # as nbdev writes it
    assert ran() == ["01_b"]
    (project / "mst" / "c.py").write_text("x = 1\n")
    assert ran() == ["01_b"]  # its module imports that one


def test_failure_names_the_cell(project):
    notebook(project / "nbs" / "00_a.ipynb", PARAMETERS, "x = 1",
             "# the line\nraise KeyError('why')")
    with pytest.raises(SystemExit,
                       match=r"00_a: code cell \[4\] stopped with KeyError: 'why'\n.*# the "
                             r"line\n.*part.ipynb"):
        run_notebooks.main("smoke")
    assert not (project / "runs/smoke/00_a.ipynb").exists()
    assert (project / "runs/smoke/00_a.part.ipynb").exists()


HOLD = """import fcntl, os, sys, time
lock = open(sys.argv[1], "a+")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write(str(os.getpid())), lock.flush(), print("held", flush=True)
time.sleep(float(sys.argv[2]))"""


def holder(project, seconds):
    """A process that holds the folder of a run, and its number is in the lock."""
    (project / "runs" / "smoke").mkdir(parents=True)
    command = [sys.executable, "-c", HOLD, project / "runs" / "smoke" / "running.lock",
               str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_waits_for_one_that_is_dying(project, capsys):
    notebook(project / "nbs" / "00_a.ipynb", PARAMETERS, "1")
    process = holder(project, 2)
    run_notebooks.main("smoke")
    out = capsys.readouterr().out
    assert "runs/smoke is held by another run; if that was killed, it is gone within 30 s" in out
    assert re.search(r"(?m)^00_a +\d+ s$", out) and process.wait() == 0


def test_says_who_holds_the_folder(project, monkeypatch):
    monkeypatch.setattr(run_notebooks, "PATIENCE", 1)
    process = holder(project, 60)
    with pytest.raises(SystemExit, match=rf"at work in runs/smoke \(process {process.pid}\): wait"):
        run_notebooks.main("smoke")
    process.kill()
    process.wait()


def test_ends_the_kernel_of_a_killed_run(project, capsys):
    """A kernel outlives the process group that started it; the next run ends it."""
    notebook(project / "nbs" / "00_a.ipynb", PARAMETERS, "import os, time",
             "open('pid', 'w').write(str(os.getpid()))",
             "if not os.path.exists('again'):\n    sum(iter(int, 1))  # never looks whether its "
             "parent lives")
    code = (f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import run_notebooks as r; "
            "r.__file__ = sys.argv[1]; r.main('smoke')")
    command = [sys.executable, "-c", code, project / "tools" / "run_notebooks.py"]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    wait_for(lambda: (project / "pid").exists() and (project / "pid").read_text(), 60)
    kernel = psutil.Process(int((project / "pid").read_text()))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (project / "again").touch()
    run_notebooks.main("smoke")
    assert f"was ended (process {kernel.pid})" in capsys.readouterr().out
    assert not kernel.is_running()


def test_decoders_are_not_heard(tmp_path):
    """What C code and children write to standard error goes to the log; Python still writes
    there."""
    code = (f"import sys, os; sys.path.insert(0, {str(ROOT / 'tools')!r}); from run_notebooks "
            "import quiet\n"
            "with quiet(sys.argv[1]): os.write(2, b'resync\\n'); os.system('echo child >&2'); "
            "print('told', file=sys.stderr)\n"
            "os.write(2, b'after\\n')")
    done = run([sys.executable, "-c", code, tmp_path / "log"])
    assert done.stderr == "told\nafter\n" and (tmp_path / "log").read_text() == "resync\nchild\n"


def test_without_the_tag_it_refuses(project):
    notebook(project / "nbs" / "00_a.ipynb", PARAMETERS, tagged=False)
    with pytest.raises(SystemExit, match="0 cells are tagged"):
        run_notebooks.main("smoke")


def picture(side):
    """Coloured noise as a PNG in base64: 256 colours at a byte a pixel are the least it can be."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(part := io.BytesIO(), "PNG")
    return base64.b64encode(part.getvalue()).decode()


def test_large_pictures_get_fewer_colours():
    large = picture(250)
    assert len(large) * 3 // 4 > publish.MAX_PICTURE > len(publish.smaller_picture(large)) * 3 // 4
    small = picture(20)
    assert publish.smaller_picture(small) == small


def test_publish(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "ROOT", tmp_path)
    target = notebook(tmp_path / "nbs" / "00_a.ipynb", PARAMETERS, "x = 1")
    ran = nbformat.read(notebook(tmp_path / "ran.ipynb", PARAMETERS, 'profile = "smoke"', "x = 1"),
                        4)
    ran.cells[1].metadata["tags"] = ["injected-parameters"]
    new = nbformat.v4.new_output
    text = f"a\n\r 10%|#    | 1/10\r100%|####| 10/10\n{tmp_path}/runs/x\n"
    ran.cells[2].outputs = [
        new("stream", name="stdout", text=text), new("stream", name="stderr", text="warning"),
        new("display_data", {"text/plain": "  0%|   | 0/5 [00:00]"}),
        new("display_data", {publish.WIDGET: {}, "text/plain": "x"}),
        new("execute_result", {"text/plain": f"'{tmp_path}'"}, execution_count=3,
            metadata={"papermill": 1})]
    nbformat.write(ran, tmp_path / "ran.ipynb")
    publish.publish(target, tmp_path / "ran.ipynb")
    cells = nbformat.read(target, 4).cells
    assert [c.source for c in cells] == [PARAMETERS, "x = 1"]
    assert [o.get("text") or o.data["text/plain"]
            for o in cells[1].outputs] == ["a\nruns/x\n", "'.'"]


@pytest.mark.parametrize("output, error", [
    (("error", {"ename": "E", "evalue": "v"}), "error"),
    (("display_data", {"data": {"image/png": picture(600)}}), "picture of 3.. KB"),
    (("display_data", {"data": {"text/html": "<audio src='data:audio/wav;base64,'>"}}), "sound")])
def test_publish_refuses(tmp_path, output, error):
    target = notebook(tmp_path / "nbs" / "00_a.ipynb", PARAMETERS)
    before = target.read_bytes()
    ran = nbformat.read(target, 4)
    ran.cells[0].outputs = [nbformat.v4.new_output(output[0], **output[1])]
    nbformat.write(ran, tmp_path / "ran.ipynb")
    with pytest.raises(ValueError, match=error):
        publish.publish(target, tmp_path / "ran.ipynb")
    ran.cells[0].source += "\n1"
    ran.cells[0].outputs = []
    nbformat.write(ran, tmp_path / "ran.ipynb")
    with pytest.raises(ValueError, match="not the notebook that ran"):
        publish.publish(target, tmp_path / "ran.ipynb")
    assert target.read_bytes() == before


def test_readme_names_only_commands_that_exist():
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    named = set(re.findall(r"`make ([a-z]+)|^make ([a-z]+)", (ROOT / "README.md").read_text(),
                           re.M))
    named = {a or b for a, b in named}
    assert {"report", "lab", "test"} <= named <= targets
    assert "make report" in run(["make", "help"]).stdout


def test_set_up_is_quick_when_done(project_copy):
    result = run(["make", "setup"], cwd=project_copy, timeout=10)
    assert result.returncode == 0 and "install" not in result.stdout + result.stderr
