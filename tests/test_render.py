"""Scores to sound, across processes: killed and started again, and what the committed list of
pieces promises."""
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import pytest

from mst.run import project_root
from mst.scores import (
    HIGHEST, INSTRUMENTS, LOWEST, TAIL, read_parts, read_scores, score_notes, tune_similarity,
    tune_steps)
from mst.takes import render_corpus

SCORES = project_root() / "data" / "scores.csv"
RENDER = ("import sys; from mst.takes import render_corpus; "
          "render_corpus(sys.argv[1], sys.argv[2], pieces=sys.argv[3:], workers=2)")
needs_synthesizer = pytest.mark.skipif(not shutil.which("fluidsynth"), reason="needs fluidsynth")


def quick():
    return [s for s in read_scores(SCORES) if s.profile != "full"]


def recordings(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*.flac")
            if p.name[0] != "."}


@needs_synthesizer
def test_killed_and_started_again(tmp_path):
    pieces = [s.piece for s in quick()[:4]]
    render_corpus(SCORES, tmp_path / "whole", pieces=pieces, workers=2)
    whole = recordings(tmp_path / "whole")
    assert len(whole) == len(pieces) * len(INSTRUMENTS)
    child = subprocess.Popen([sys.executable, "-c", RENDER, SCORES, tmp_path / "cut", *pieces],
                             stderr=subprocess.DEVNULL)
    limit = time.monotonic() + 60
    while (len(recordings(tmp_path / "cut")) < 3 and child.poll() is None
           and time.monotonic() < limit):
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    left = recordings(tmp_path / "cut")
    assert left and all(whole[name] == sound for name, sound in left.items())  # whole files only
    render_corpus(SCORES, tmp_path / "cut", pieces=pieces, workers=1)
    assert recordings(tmp_path / "cut") == whole


@pytest.mark.parametrize("missing, package",
                         [({"PATH": "/nowhere"}, "fluidsynth"),
                          ({"MST_SOUNDFONT": "none.sf2"}, "fluid-soundfont-gm")])
def test_what_to_install(tmp_path, missing, package):
    done = subprocess.run([sys.executable, "-c", RENDER, SCORES, tmp_path, quick()[0].piece],
                          env=os.environ | missing,
                          capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("FileNotFoundError: ")
    assert f"sudo apt-get install {package}" in last
    assert not recordings(tmp_path)


def test_pieces_of_quick_are_playable_and_different_tunes():
    tunes = []
    for score in quick():
        parts = read_parts(score.source)
        notes = score_notes(score, parts)
        assert notes[0].start == 0 and max(n.end for n in notes) <= score.seconds - TAIL
        assert all(LOWEST <= n.pitch <= HIGHEST for n in notes)
        tunes.append(tune_steps(parts[0]))
    assert max(tune_similarity(a, b) for a, b in combinations(tunes, 2)) < 0.2


def test_full_is_long_enough():
    assert sum(s.seconds for s in read_scores(SCORES)) >= 30 * 60
