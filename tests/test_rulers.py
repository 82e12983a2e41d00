"""The rulers where something is missing: no corpus, a part of it, an instrument that the ear does
not know."""
import csv
import math
from pathlib import Path

import numpy as np
import pytest

from mst import sets
from mst.recordings import read_recordings
from mst.rulers import (
    HEADLINES, PRINTED, RULERS, RulerCase, instrument_measures, ruler_header, ruler_numbers,
    ruler_rows)
from mst.run import Run, project_root
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
    """In the release's table, of the sets where a headline is measured."""
    assert {*PRINTED} <= {*RULERS}
    with open(project_root() / "report/benchmarks/tables/bench_rulers_test.csv") as f:
        header, *rows = csv.reader(f)
    for name in HEADLINES:
        column, set_name, by_set = header.index(ruler_header((name,))[-1]), "", {}
        for row in rows:
            set_name = row[0] or set_name
            value = row[column].partition(" ")[0]
            by_set.setdefault(set_name, {})[row[1]] = math.nan if value == "-" else float(value)
        for shortcut in ("copy content", "equaliser only"):
            won = [by["mst"] > by[shortcut] for by in by_set.values() if by["mst"] == by["mst"]]
            assert sum(won) > len(won) / 2, (name, shortcut, won)


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
