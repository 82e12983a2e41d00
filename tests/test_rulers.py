"""The rulers where something is missing: no corpus, a part of it, an instrument that the ear does
not know."""
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mst import rulers, sets
from mst.recordings import read_recordings
from mst.rulers import (
    HEADLINES, PRINTED, RULERS, RulerCase, instrument_measures, ruler_numbers, ruler_rows,
    twin_cases)
from mst.run import Run, project_root
from mst.scores import INSTRUMENTS
from mst.sets import (
    DEV_RECORDINGS, RECORDINGS, UNHEARD_MAKERS, real_sets, ruler_scores, ruler_sets, sampled_cases,
    starnet_set, unheard_cases)


def case(source, asked):
    return RulerCase(np.zeros(1), np.zeros(1), source, asked, "piece")


@pytest.mark.parametrize("split", ["dev", "test"])
def test_a_folder_without_what_is_needed_gives_no_cases(tmp_path, split):
    scores = ruler_scores(split, 2, Run())
    assert sampled_cases(scores, split, tmp_path, 0) == unheard_cases(scores, tmp_path, 0) == []
    assert real_sets(split, tmp_path, 3, 0) == starnet_set(tmp_path) == {}


@pytest.mark.parametrize("source, asked, known", [
    ("piano", "violin", True), ("violin", "piano", True), ("harp", "violin", False),
    ("harp", "acoustic_guitar", False), ("piano", "harp", False), ("piano", "flute", False)])
def test_harps_are_not_counted_by_an_ear_that_is_deaf_for_them(source, asked, known):
    measures = instrument_measures(case(source, asked), asked, asked)
    assert math.isnan(measures["heard"]) != known
    assert math.isnan(measures["into_violin"]) != (known and asked == "violin")


def test_what_a_shortcut_wins_is_no_headline():
    assert not {"onset_f1", "note_f1", "distance", "told_apart", "mfcc_style"} & {*HEADLINES}
    assert {*PRINTED} <= {*RULERS}


class Mute(NamedTuple):
    instrument: str
    octaves: int = 0

    def __call__(self, notes, seconds): return np.zeros(10)


class Piece(NamedTuple):
    piece: str
    seconds: float = 1.


def test_the_readme_says_how_few_cases_the_ear_can_name(monkeypatch):
    """Of the eight pieces of a release."""
    monkeypatch.setattr(rulers, "score_truth", lambda score, take: ())
    monkeypatch.setattr(rulers, "draw_window", lambda sounds, rng: 0)
    font, counted = [Mute(name) for name in INSTRUMENTS], []
    for targets in (font, [Mute(name) for name in UNHEARD_MAKERS]):
        cases = twin_cases([Piece(str(k)) for k in range(8)], "fluid", font, targets)
        named = [x for x in cases if not math.isnan(instrument_measures(x, "", "")["heard"])]
        counted.append((len(named), len(cases), {x.asked for x in named}))
    assert counted == [(12, 24, {"acoustic_guitar", "piano", "violin"}), (4, 44, {"violin"})]
    readme = (project_root() / "README.md").read_text(encoding="utf-8")
    assert ("12 of 24 in a rendered set, and of the 44 *unheard styles* four, all into the violin"
            in readme)


def test_makers_are_found_in_a_folder_that_is_named_from_here(tmp_path, monkeypatch):
    row = next(row for row in read_recordings(project_root() / RECORDINGS)
               if (row.kind, row.split, row.instrument) == ("samples", "test", "piano"))
    note = tmp_path / "corpus" / row.path
    note.parent.mkdir(parents=True)
    note.touch()
    (note.parent / "table.csv").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sets, "twin_cases", lambda scores, take, contents, *others: contents)
    piano, _ = sampled_cases([], "test", Path("corpus"), 0)
    assert piano.instrument == "piano" and piano.maker.is_dir()


def test_the_copied_content_stands_once_where_there_are_no_twins():
    scores = {name: {"heard": np.zeros(1)} for name in ("copy content", "twin", "twin through x")}
    rows = ruler_rows("real", [case("piano", "violin")], scores, ("heard",))
    assert [row[1] for row in rows] == ["copy content", "content through x"]
    numbers = ruler_numbers("dev", "real", [case("piano", "violin")], scores)
    assert not [name for name in numbers if name.startswith("rulers_dev_real_twin_heard")]


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="the split is one of dev, test, not 'train'"):
        ruler_sets(Run(), "train", 1, 1, None)


def test_makers_and_recordings_are_in_the_table():
    paths = [row.path for row in read_recordings(project_root() / RECORDINGS)]
    for place, _ in UNHEARD_MAKERS.values():
        assert any(path.startswith(f"samples/{place}/") for path in paths)
    assert not {*DEV_RECORDINGS} & {*paths}, "they have a public address: take them from the table"
