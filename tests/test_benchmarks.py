"""The benchmarks, each as a trial of seconds."""
import re
import sys

import pytest
from conftest import ROOT, run


@pytest.mark.parametrize("script", sorted({*(ROOT / "benchmarks").glob("*.py")}
                                          - {ROOT / "benchmarks/measure.py"}), ids=lambda p: p.stem)
def test_trial(script):
    before = {p: p.stat().st_mtime_ns for p in (ROOT / "report" / "benchmarks").rglob("*")}
    done = run([sys.executable, script, "--smoke"], OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\bratio\b", done.stdout)
    # a trial is not kept
    assert before == {p: p.stat().st_mtime_ns for p in (ROOT / "report" / "benchmarks").rglob("*")}
