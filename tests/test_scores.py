"""Lists of scores that somebody spoilt, notes out of range, tunes in disguise: `mst.scores`."""
import random
from dataclasses import asdict, replace

import pytest

from mst.run import PROFILES, Run, project_root
from mst.scores import (
    HIGHEST, LOWEST, PLAN, TAIL, alternate, best_octave, best_transposition, corpus_pieces,
    fit_range, next_suitable, octaves_into_range, parse_score, perform, piece_name, plan_places,
    propose_score, read_parts, read_scores, score_notes, score_problem, sounding_until,
    steady_tempo, tune_similarity, tune_steps)

SCORES = project_root() / "data" / "scores.csv"
HEAD, *LINES = SCORES.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def scores():
    return read_scores(SCORES)


def read(folder, content):
    path = folder / "s.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_scores(path)


def test_list_of_a_spreadsheet(tmp_path, scores):
    assert read(tmp_path, f"\ufeff{HEAD}\r\n{LINES[0]}\r\n\r\n") == scores[:1]


def test_empty_list(tmp_path):
    assert read(tmp_path, "") == [] and read(tmp_path, HEAD) == []


@pytest.mark.parametrize("content, message", [
    ("piece,source\na,b\n", "line 2: nothing in column kind"),
    (f"{HEAD}\n\n{LINES[0]}\n{LINES[0]}\n", "more than one row is called"),
    (f"{HEAD}\n../x{LINES[0]}\n", "may only have"),
    (f"{HEAD}\n{LINES[0].replace(',test,', ',training,')}\n", "split must be"),
    (HEAD.encode() + b"\n\xff", "s.csv, row 2: not UTF-8")])
def test_list_with_a_mistake(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_list_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="make_scores"):
        read_scores("nowhere.csv")


@pytest.mark.parametrize("column, wrong, named", [
    ("source", "../x.abc", "source"), ("source", "/x.abc", "source"),
    ("source", "a.abc#x", "source"), ("source", "a/../b.abc", "source"),
    ("source", "a\\b.abc", "source"), ("seconds", "9" * 9, "tempo"), ("seconds", "1", "tempo"),
    ("tempo", "9" * 9, "tempo"), ("tempo", "0", "tempo"), ("transpose", "128", "tempo"),
    ("transpose", "1.5", "transpose"), ("voices", "0,1", "voices"), ("voices", "-1", "voices"),
    ("piece", "A", "piece"), ("profile", "huge", "split"), ("kind", "", "nothing in column kind")])
def test_wrong_column_is_named(scores, column, wrong, named):
    row = {name: str(value) for name, value in asdict(scores[0]).items()} | {column: wrong}
    with pytest.raises(ValueError, match=f"^here: {named}"):
        parse_score(row, "here")


def test_every_committed_score_passes(scores):
    assert [s for s in scores if score_problem(s)] == []


def test_row_and_score_are_the_same(scores):
    for score in scores[:20]:
        row = {name: str(value) for name, value in asdict(score).items()}
        assert parse_score(row | {"further": "column"}, "here") == score


def test_every_key_comes_into_range_by_octaves():
    for key in range(128):
        octaves = octaves_into_range(key)
        assert LOWEST <= key + 12 * octaves <= HIGHEST
        assert (octaves == 0) == (LOWEST <= key <= HIGHEST)


def test_no_note_of_a_voice_is_lost():
    draw = random.Random(0)
    for _ in range(200):
        voice = [(i, 1, draw.randrange(128)) for i in range(draw.randrange(20))]
        transpose = draw.randrange(-12, 13)
        fitted = fit_range(voice, transpose)
        assert [note[:2] for note in fitted] == [note[:2] for note in voice]
        assert all(LOWEST <= key <= HIGHEST for *_, key in fitted)
        assert all((after - before - transpose) % 12 == 0
                   for (*_, before), (*_, after) in zip(voice, fitted))


def test_voice_in_range_stays():
    voice = [(0, 1, LOWEST), (1, 1, HIGHEST)]
    assert fit_range(voice) == voice and best_octave([LOWEST, HIGHEST]) == (0, 0, 0)


@pytest.mark.parametrize("keys, transpose, expected", [
    ((36, 43, 48, 62), 0, [60, 67, 72, 86]),  # two octaves up
    ((53, 60, 88, 90), 0, [65, 60, 88, 78]),  # one by one
    ((50,), 5, [55])])
def test_voice_out_of_range(keys, transpose, expected):
    voice = [(0, 1, key) for key in keys]
    assert fit_range(voice, transpose) == [(0, 1, key) for key in expected]


def test_unison_repeated_key_and_a_note_too_late():
    voices = [[(2, 1, 60), (3, 1, 60), (9, 9, 62)], [(2, 2, 60), (4, 8, 64)]]
    notes = perform(voices, tempo=60, seconds=6)
    assert [(n.pitch, n.start, round(n.end, 2)) for n in notes] == [
        (60, 0, 1), (60, 1, 1.95), (64, 2, 6)]


def test_notes_of_the_first_scores(scores):
    for score in scores[:3]:
        notes = score_notes(score)
        assert notes[0].start == 0
        assert all(LOWEST <= n.pitch <= HIGHEST and n.end <= score.seconds - TAIL for n in notes)


def test_voices_that_the_score_does_not_have(scores):
    with pytest.raises(ValueError, match="parts, counted from 0"):
        score_notes(replace(scores[0], voices="7"))
    with pytest.raises(ValueError, match="no notes in voices"):
        score_notes(scores[0], parts=[[]])


@pytest.mark.parametrize("source", ["bach/none.mxl", "bach", "../__init__.py"])
def test_source_that_is_no_score(scores, source):
    with pytest.raises(FileNotFoundError, match="not in the music21 corpus"):
        score_notes(replace(scores[0], source=source))


def test_reels_and_hymns_under_two_names():
    names = ("ryansMammoth/TemperanceReel.abc", "ryansMammoth/TeetotalersReel.abc",
             "bach/bwv244.17.mxl", "bach/bwv271.mxl")
    tunes = [tune_steps(read_parts(name)[0]) for name in names]
    assert tune_similarity(*tunes[:2]) > 0.5 and tune_similarity(*tunes[2:]) > 0.5
    assert tune_similarity(tunes[0], tunes[2]) < 0.1


def test_steps_depend_neither_on_the_key_nor_on_repeats_nor_on_lower_voices():
    scale = (60, 62, 64, 64, 65, 67, 69, 71)
    for moved in (0, 5):
        assert tune_steps([(t, 1, key + moved) for t, key in enumerate(scale)]) == {
            (2, 2, 1, 2, 2, 2)}
    chords = [(t, 1, key - below) for t, key in enumerate(scale) for below in (0, 12)]
    assert tune_steps(chords) == {(2, 2, 1, 2, 2, 2)}


def test_similarity_of_short_tunes():
    assert tune_steps([(0, 1, 60)]) == set() and tune_similarity(set(), {(1,) * 6}) == 0


def test_sounding_until_the_end_or_a_long_rest():
    assert sounding_until([]) == 0
    assert sounding_until(perform([[(0, 10, 60), (1, 1, 62), (10.4, 1, 64)]], 60, 99)) > 11
    assert sounding_until(perform([[(0, 1, 60), (3, 1, 62)]], 60, 99)) == pytest.approx(0.95)


def test_tempo_and_transposition():
    assert best_transposition([[(0, 1, 53), (1, 1, 86)]]) == (0, 2)
    assert best_transposition([[(0, 1, 60)]]) == (0, 0)
    for length, tempo in ((0.25, 68), (0.5, 96), (2, 180)):
        assert steady_tempo([[(i * length, length, 60) for i in range(16)]]) == tempo


def test_source_that_does_not_suit():
    assert propose_score("ryansMammoth/TemperanceReel.abc", "two_voice") == (None, "too few voices")


def test_sources_run_out():
    with pytest.raises(ValueError, match="too few suitable scores of kind melody"):
        next_suitable(iter([]), "melody", 18, [])


def test_lists_in_turn():
    assert alternate(["a", "b", "c"], [], ["x"]) == ["a", "x", "b", "c"] and alternate() == []


@pytest.mark.parametrize("source, name", [
    ("ryansMammoth/AcaciaReel.abc", "ryans_mammoth_acacia_reel"),
    ("bach/bwv244.17.mxl", "bach_bwv244_17"),
    ("oneills1850/0001-0050.abc#12", "oneills1850_0001_0050_12"),
    ("x/" + "Long" * 30 + ".abc", "x_" + "long_" * 11 + "lon")])
def test_name_of_a_piece(source, name):
    assert piece_name(source) == name


def test_committed_list_follows_the_plan(scores):
    assert [(s.profile, s.kind, s.split) for s in scores] == plan_places(PLAN, seed=0)
    assert [s for s in scores if s.profile == "smoke"] == scores[:5]
    assert sum(s.seconds for s in scores) >= 30 * 60


def test_every_profile_has_all_splits(scores):
    for profile in PROFILES:
        pieces = corpus_pieces(Run(profile=profile))
        assert {s.split for s in pieces} == {"train", "val", "test"}
        assert all(s.seconds % 3 == 0 for s in pieces)
    assert pieces == scores
