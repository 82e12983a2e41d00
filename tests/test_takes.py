"""Players, registers and chords for many seeds; the corpus rendered, broken and rendered again."""
import csv
import random
import shutil
import time
from dataclasses import asdict, fields, replace

import numpy as np
import pytest
import soundfile as sf

from mst import takes
from mst.files import WriteError
from mst.run import project_root
from mst.scores import INSTRUMENTS, LOWEST, RENDER_RATE, Score, read_scores, score_notes
from mst.takes import (
    HELD_OUT_TAKE, MORE, OTHERS, RARE, TRAIN_TAKES, UNHEARD, add_expression, lower_octaves,
    raise_octaves, read_recipe, render_all, render_corpus, ringing_chords)

SCORES = read_scores(project_root() / "data" / "scores.csv")
needs_synthesizer = pytest.mark.skipif(not shutil.which("fluidsynth"), reason="needs fluidsynth")
seeds = pytest.mark.parametrize("seed", range(8))


@pytest.fixture(scope="module")
def written():
    return score_notes(SCORES[0])


@pytest.fixture(scope="module")
def notes(written):
    return add_expression(written, 8, random.Random(1))


def rows(notes):
    return [(n.start, n.pitch, n.end, n.velocity) for n in notes]


def but_octaves(notes):
    return sorted((n.start, n.pitch % 12, n.end, n.velocity) for n in notes)


def strings_sound_once(notes):
    return all(a.end <= b.start for a in notes for b in notes
               if a.pitch == b.pitch and a.start < b.start)


@seeds
def test_a_player_with_a_will_stays_within_the_piece(written, seed):
    notes = add_expression(written, 8, random.Random(seed))
    assert rows(notes) == rows(add_expression(written, 8, random.Random(seed)))
    assert notes[0].start == 0 and strings_sound_once(notes)
    assert all(n.end <= 8 and 25 <= n.velocity <= 120 for n in notes)


def test_octaves_down_change_nothing_else(notes):
    lows = [lower_octaves(notes, random.Random(i)) for i in range(8)]
    assert all(but_octaves(low) == but_octaves(notes) for low in lows)
    assert len({min(n.pitch for n in low) for low in lows}) > 1
    assert min(n.pitch for low in lows for n in low) < LOWEST


def test_octaves_up_change_nothing_else(notes):
    highs = [raise_octaves(notes, random.Random(i)) for i in range(8)]
    assert all(but_octaves(high) == but_octaves(notes) for high in highs)
    assert max(n.pitch for high in highs for n in high) == 12 + max(n.pitch for n in notes)


@seeds
def test_chords_ring_and_stay_within_the_piece(notes, seed):
    rung, again = (ringing_chords(notes, 8, random.Random(seed)) for _ in range(2))
    assert rows(rung) == rows(again)
    assert len(rung) > 20 and strings_sound_once(rung)
    assert all(0 <= n.start < n.end <= 8 and 25 <= n.velocity <= 120 for n in rung)
    assert {n.pitch % 12 for n in rung} <= {n.pitch % 12 for n in notes}
    assert min(n.pitch for n in rung) >= 28

    def most_at_once(notes):
        return max(sum(n.start <= t < n.end for n in notes) for t in np.arange(0, 8, 0.1))
    assert most_at_once(rung) > most_at_once(notes)


def test_what_is_kept_for_tests_is_not_trained_on():
    assert len(OTHERS) >= 12 and HELD_OUT_TAKE not in TRAIN_TAKES
    assert not {*OTHERS, *MORE, *RARE} & {*UNHEARD}


def write_scores(path, scores):
    with open(path, "w", newline="") as f:
        writer = csv.DictWriter(f, [field.name for field in fields(Score)])
        writer.writeheader()
        writer.writerows(map(asdict, scores))
    return path


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A list of two pieces, and their recordings, which tests may break and make again."""
    folder = tmp_path_factory.mktemp("rendered")
    scores_csv = write_scores(folder / "a.csv", SCORES[:2])
    paths = render_corpus(scores_csv, folder / "one", workers=1)
    return scores_csv, paths, [path.read_bytes() for path in paths]


def recordings_of(rendered, folder=None):
    scores_csv, paths, _ = rendered
    return render_corpus(scores_csv, folder or paths[0].parent.parent)


@needs_synthesizer
def test_recordings_lie_where_they_should_and_are_as_long_as_their_rows_say(rendered):
    _, paths, _ = rendered
    assert [p.relative_to(p.parent.parent).as_posix() for p in paths] == [
        f"{i}/{s.piece}.flac" for s in SCORES[:2] for i in INSTRUMENTS]
    assert {sf.info(p).frames for p in paths[:4]} == {SCORES[0].seconds * RENDER_RATE}
    assert {(i.samplerate, i.channels, i.subtype) for i in map(sf.info, paths)} == {
        (RENDER_RATE, 1, "PCM_16")}


@needs_synthesizer
def test_one_worker_or_four_the_same_bytes(rendered, tmp_path):
    scores_csv, _, sounds = rendered
    many = render_corpus(scores_csv, tmp_path, workers=4)
    assert [path.read_bytes() for path in many] == sounds


@needs_synthesizer
def test_a_second_call_touches_nothing(rendered):
    _, paths, _ = rendered
    times = [p.stat().st_mtime_ns for p in paths]
    assert recordings_of(rendered) == paths
    assert [p.stat().st_mtime_ns for p in paths] == times


@needs_synthesizer
def test_what_was_cut_off_or_lost_is_made_again(rendered):
    _, paths, sounds = rendered
    paths[2].write_bytes(sounds[2][:-1000])
    paths[3].unlink()
    paths[4].write_bytes(b"")
    assert [read_recipe(path) for path in paths[2:5]] == ["", "", ""]
    recordings_of(rendered)
    assert [path.read_bytes() for path in paths] == sounds
    assert not list(paths[0].parent.parent.rglob(".part*"))


@needs_synthesizer
def test_a_changed_row_is_made_again_and_one_that_cannot_be_played_costs_only_itself(
        rendered, tmp_path):
    _, paths, sounds = rendered
    shutil.copytree(paths[0].parent.parent, tmp_path / "one")
    copies = [tmp_path / "one" / p.relative_to(p.parent.parent) for p in paths]
    scores_csv = write_scores(tmp_path / "a.csv", [
        replace(SCORES[0], source="bach/none.mxl"), replace(SCORES[1], tempo=SCORES[1].tempo + 9)])
    with pytest.raises(RuntimeError, match="1 of 2 pieces could not be rendered: "
                                           rf"{SCORES[0].piece} \("):
        render_corpus(scores_csv, tmp_path / "one")
    same = [copy.read_bytes() == sound for copy, sound in zip(copies, sounds, strict=True)]
    assert same == [True] * 4 + [False] * 4
    assert not list(tmp_path.rglob(".part*"))


def test_names_that_nobody_knows(tmp_path):
    scores_csv = write_scores(tmp_path / "a.csv", SCORES[:2])
    with pytest.raises(ValueError, match="none"):
        render_corpus(scores_csv, tmp_path, pieces=["none"])
    with pytest.raises(ValueError, match="crwth"):
        render_corpus(scores_csv, tmp_path, lambda place: ["harp", "crwth"][:place + 1])


def test_a_full_disk_stops_all(tmp_path, monkeypatch):
    begun = []

    def full(score, *_):
        begun.append(score.piece)
        time.sleep(.1 * (len(begun) > 1))
        raise WriteError("the disk is full")
    monkeypatch.setattr(takes, "render_piece", full)
    with pytest.raises(WriteError, match="the disk is full"):
        render_all([(s, tmp_path) for s in SCORES[:40]], workers=1)
    assert 1 <= len(begun) < 40
