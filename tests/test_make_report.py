"""`make report`, killed at random moments, goes on where it was; when all is done it only
checks."""
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import copy_project, run
from run_notebooks import measuring

MAKE = ["make", "report", "PROFILE=smoke"]
needs_tex = pytest.mark.skipif(not shutil.which("latexmk"), reason="latexmk is missing")


def killed_after(seconds, cwd):
    """Start the report and kill it with all its process group; True if it was still running."""
    process = subprocess.Popen(MAKE, cwd=cwd, start_new_session=True, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def executed(project):
    """Modification times of the notebooks that ran to their end."""
    return {p.name: p.stat().st_mtime_ns for p in (project / "runs" / "smoke").glob("*.ipynb")
            if ".part" not in p.name}


def snapshot(project):
    """Every file's time and content, but for the logs of LaTeX and the lock."""
    skip = (".venv", "build", "__pycache__")
    files = [p for p in project.rglob("*") if p.is_file()
             and not set(skip) & set(p.relative_to(project).parts)]
    return {str(p.relative_to(project)): (p.stat().st_mtime_ns,
                                          hashlib.sha256(p.read_bytes()).hexdigest())
            for p in files if p.name not in ("running.lock", "run.log") and ".git" not in p.parts}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A copy of the project in which the report was killed three times and then run to its end."""
    project = copy_project(tmp_path_factory.mktemp("report") / "project", made=True)
    run(["git", "init", "-q"], cwd=project)
    run(["git", "add", "-A"], cwd=project)
    for _ in range(3):
        delay = random.uniform(2, 45)
        print(f"killed after {delay:.1f} s" if killed_after(delay, project) else "was done",
              sorted(executed(project)))
    before = executed(project)
    result = run(MAKE, cwd=project, timeout=3000)  # slow machines took more than 25 minutes
    print(result.stdout, result.stderr)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not re.search("mpg123|resync|Illegal|Warning", result.stdout + result.stderr)
    return project, before


@needs_tex
def test_goes_on_where_it_was(report):
    project, before = report
    after = executed(project)
    assert before.items() <= after.items(), "a notebook that was done ran again"
    assert set(after) == {p.name for p in measuring(project / "nbs")}
    assert not list((project / "runs" / "smoke").glob("*.part*"))


@needs_tex
def test_leaves_the_checkout_as_it_was(report):
    """Neither a changed file nor a new one that git does not ignore: a newcomer's report is in
    runs/."""
    assert run(["git", "status", "--porcelain"], cwd=report[0]).stdout == run(
        ["git", "diff", "--cached", "--name-status"], cwd=report[0]).stdout.replace("\t", "  ")


@needs_tex
@pytest.mark.skipif(not shutil.which("pdftotext"), reason="pdftotext (poppler-utils) is missing")
def test_pdf(report):
    pdf = report[0] / "runs" / "smoke" / "report" / "main.pdf"
    info, text = run(["pdfinfo", pdf]), run(["pdftotext", pdf, "-"])
    assert int(re.search(r"Pages:\s+(\d+)", info.stdout).group(1)) >= 1, info.stderr
    assert "smoke" in text.stdout and "??" not in text.stdout


@needs_tex
def test_second_run_only_checks(report):
    project = report[0]
    before, start = snapshot(project), time.monotonic()
    result = run(MAKE, cwd=project)
    assert result.returncode == 0, result.stdout + result.stderr
    assert time.monotonic() - start < 60
    assert snapshot(project) == before


@needs_tex
def test_half_an_aux_file_does_not_stop_it(report):
    aux = report[0] / "runs" / "smoke" / "report" / "build" / "main.aux"
    aux.write_bytes(aux.read_bytes()[: aux.stat().st_size // 2].rstrip(b"}\n"))
    (report[0] / "report" / "main.tex").touch()
    result = run(MAKE, cwd=report[0])
    assert result.returncode == 0, result.stdout + result.stderr


def test_unknown_profile(project_copy):
    result = run([sys.executable, "tools/run_notebooks.py", "smok"], cwd=project_copy)
    assert result.returncode == 1 and "smoke, quick, full" in result.stderr
