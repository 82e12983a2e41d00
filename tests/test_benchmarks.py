"""The benchmarks, each as a trial of seconds."""
import re
import sys

import numpy as np
import pytest
from conftest import ROOT, run

from mst import commands
from mst.run import Run


@pytest.mark.parametrize("script", sorted({*(ROOT / "benchmarks").glob("*.py")}
                                          - {ROOT / "benchmarks/measure.py"}), ids=lambda p: p.stem)
def test_trial(script):
    before = {p: p.stat().st_mtime_ns for p in (ROOT / "report" / "benchmarks").rglob("*")}
    done = run([sys.executable, script, "--smoke"], OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\bratio\b", done.stdout)
    # a trial is not kept
    assert before == {p: p.stat().st_mtime_ns for p in (ROOT / "report" / "benchmarks").rglob("*")}


def test_a_release_that_was_stopped_measures_no_set_twice(tmp_path, monkeypatch, capsys):
    """Unless it is of other code."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import rulers
    monkeypatch.setattr(rulers, "Run", lambda profile: Run(profile=profile, out=str(tmp_path)))
    measured = []
    def measure_set(methods, cases, *rest):
        measured.append(len(cases))
        if len(measured) in (2, 4):
            raise KeyboardInterrupt
        return {"mst": {"heard": np.ones(len(cases))}}
    monkeypatch.setattr(commands, "measure_set", measure_set)
    one_set = commands.ruler_sets
    monkeypatch.setattr(commands, "ruler_sets", lambda *rest: {
        name: cases[:size] for size, (name, cases) in enumerate(
            zip(("first", "second"), 2 * [*one_set(*rest).values()]), 1)})
    with pytest.raises(KeyboardInterrupt):
        rulers.main(smoke=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(rulers, "digest_of", lambda folder: "another")
        rulers.main(smoke=True)
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(rulers, "digest_of", lambda folder: "another")
        rulers.main(smoke=True)
    assert measured == [1, 2, 1, 2, 2]
    said = capsys.readouterr().out
    assert "first: 1 cases" in said and "second: 2 cases" in said
    assert not (tmp_path / "smoke" / "release.json").exists()
