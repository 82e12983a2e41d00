"""Notes at the edges: windows of the network, cut clips, empty sides, warnings, takes, levels."""
import random
import shutil
import sys

import numpy as np
import pretty_midi
import pytest
import soundfile as sf
from conftest import run
from pretty_midi import Note

from mst import notes as module
from mst.notes import (
    clip_scores, frame_seconds, judged_notes, match_level, notes_in_clip, score_truth, transcribe,
    transcribe_and_render, transcription_scores)
from mst.render import find_soundfont, render_notes
from mst.run import project_root
from mst.scores import RENDER_RATE, read_scores
from mst.takes import ALL_INSTRUMENTS, TAKES, render_piece

SCORES = read_scores(project_root() / "data" / "scores.csv")
needs_synthesizer = pytest.mark.skipif(not shutil.which("fluidsynth"), reason="needs fluidsynth")
pytestmark = pytest.mark.filterwarnings("error")
NOTHING, ALL = {"onset_f1": 0., "offset_f1": 0.}, {"onset_f1": 1., "offset_f1": 1.}


def pluck(starts, key=69, seconds=4.):
    """Sound [N] of decaying tones with five partials at `starts`."""
    sound, times = np.zeros(round(seconds * RENDER_RATE)), np.arange(RENDER_RATE) / RENDER_RATE
    frequency = pretty_midi.note_number_to_hz(key)
    tone = sum(np.sin(2 * np.pi * k * frequency * times) / k for k in range(1, 6))
    for start in starts:
        place = sound[round(start * RENDER_RATE):][:RENDER_RATE]
        place += (.2 * tone * np.exp(-4 * times))[:len(place)]
    return sound.astype(np.float32)


def made_up(seed, n=60, seconds=20.):
    """Notes at random, one after the other on each key."""
    draw, free, found = random.Random(seed), {}, []
    for _ in range(n):
        key = draw.randint(50, 80)
        start = free.get(key, 0) + draw.uniform(.2, 3)
        free[key] = start + draw.uniform(.15, 2)
        found.append(Note(80, key, start, free[key]))
    return sorted((n for n in found if n.end < seconds), key=lambda note: (note.start, note.pitch))


def moved(notes, later=0., higher=0):
    return [Note(n.velocity, n.pitch + higher, n.start + later, n.end + later) for n in notes]


def test_onsets_are_right_about_the_borders_of_windows():
    step = 36_164 / RENDER_RATE
    starts = [k * step + offset for k, offset in ((1, -.05), (2, 0.), (3, .01), (9, -.1), (20, 0.))]
    heard = [n for n in transcribe(pluck(starts, seconds=36.)) if n.pitch == 69]
    for start in starts:
        assert min(abs(n.start - start) for n in heard) < .03


def test_frames_never_go_back():
    times = [frame_seconds(k) for k in range(2000)]
    assert times[0] == 0 and all(0 < b - a < .0117 for a, b in zip(times, times[1:]))
    assert frame_seconds(np.int64(142)) == pytest.approx(36_164 / RENDER_RATE)


@pytest.mark.parametrize("samples", [0, 1, 255, 2_688, 2_816, 2_944, 3_072, 3_328, 5_000, 8_000])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_short_sounds_are_quietly_transcribed(samples, kind):
    sound = pluck([0.])[:samples].astype(kind)
    for note in transcribe(sound):
        assert 0 <= note.start < note.end <= samples / RENDER_RATE + .02


def test_what_is_heard_is_ordered_and_can_be_played():
    heard = transcribe(pluck([0., .5, 1.1]) + pluck([.3, .8], key=76) + pluck([0.], key=57))
    assert {69, 76, 57} <= {n.pitch for n in heard}
    assert [(n.start, n.pitch) for n in heard] == sorted((n.start, n.pitch) for n in heard)
    assert all(type(n.velocity) is int and 1 <= n.velocity <= 127 and type(n.pitch) is int
               for n in heard)


@pytest.mark.parametrize("level", [0., 1e-12, 1e-9])
def test_as_good_as_silence(level):
    assert transcribe(level * np.random.RandomState(0).randn(30_000)) == []


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_broken_sound_is_refused(bad):
    sound = pluck([0.])
    sound[1000] = bad
    with pytest.raises(ValueError, match="not finite"):
        transcribe(sound)


def test_the_import_warns_of_nothing_and_changes_no_logger():
    code = ("import logging; from mst.notes import note_decoder; note_decoder(); "
            "assert not logging.getLogger().handlers and not logging.getLogger().filters; "
            "logging.getLogger('other').warning('this stays')")
    for ci in (None, "true"):  # some libraries tell more to who tests them
        done = run([sys.executable, "-c", code], CI=ci)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "this stays\n")


def test_scores_of_nothing():
    some = made_up(0)
    assert transcription_scores([], []) == ALL
    assert transcription_scores([], some) == transcription_scores(some, []) == NOTHING


@pytest.mark.parametrize("seed", range(4))
def test_scores_of_the_same_and_of_others(seed):
    notes = made_up(seed)
    assert transcription_scores(notes, notes[::-1]) == ALL
    assert transcription_scores(notes, moved(notes, .05)) == ALL
    assert transcription_scores(notes, moved(notes, .5))["onset_f1"] < .1
    assert transcription_scores(notes, moved(notes, 0, 12))["onset_f1"] < .1
    twice = transcription_scores(notes, notes + moved(notes, .01))
    assert twice["onset_f1"] == pytest.approx(2 / 3)  # no note counts for two


@pytest.mark.parametrize("late, f1", [(.0499, 1.), (.0501, 0.)])
def test_the_tolerance_of_onsets(late, f1):
    assert transcription_scores([Note(80, 60, 1, 2)], [Note(80, 60, 1 + late, 2)])["onset_f1"] == f1


@pytest.mark.parametrize("length, end, f1", [(1., 1.19, 1.), (1., 1.21, 0.), (.1, .149, 1.),
                                             (.1, .151, 0.)])
def test_the_tolerance_of_ends(length, end, f1):
    assert transcription_scores([Note(80, 60, 0, length)], [Note(80, 60, 0, end)]) == {
        "onset_f1": 1., "offset_f1": f1}


def test_a_clip_has_its_beginning_and_not_its_end():
    notes = [Note(80, 60, 1., 3.), Note(80, 61, 2., 3.)]
    assert [(n.pitch, n.start, n.end) for n in notes_in_clip(notes, 1., 1.)] == [(60, 0., 1.)]
    assert [n.pitch for n in notes_in_clip(notes, 1.0001, 1.)] == [61]
    assert (notes[0].start, notes[0].end) == (1., 3.)  # the notes themselves stay


@pytest.mark.parametrize("seed", range(20))
def test_a_perfect_transcription_of_a_clip_scores_1(seed):
    notes, start, seconds = made_up(seed), random.Random(seed).uniform(0, 12), 4.
    asked = [n for n in notes_in_clip(notes, start, seconds) if n.start < seconds - module.LAST]
    begun = [n for n in notes_in_clip(notes, start, seconds) if n.start >= seconds - module.LAST]
    held = [Note(80, n.pitch, 0., n.end - start) for n in notes if n.start < start < n.end]
    assert asked
    for heard in (asked, asked + held, asked + begun, held + asked + begun):
        assert clip_scores(notes, heard, start, seconds) == ALL
    wrong = [Note(80, 20, 1., 2.)]
    truth, judged = judged_notes(notes, asked + held + wrong, start, seconds)
    assert len(judged) == len(truth) + 1
    assert clip_scores(notes, asked[1:] + held, start, seconds)["onset_f1"] < 1


def test_what_sounds_on_excuses_one_note_of_its_key_at_once():
    notes = [Note(80, 60, 0., 5.), Note(80, 62, 2., 5.)]
    again = [Note(80, 60, 0., .5), Note(80, 60, .02, 1.), Note(80, 60, .2, 1.)]
    truth, judged = judged_notes(notes, again, 1., 3.)
    assert [n.pitch for n in truth] == [62] and len(judged) == 2


def test_a_clip_in_which_nothing_begins():
    notes = [Note(80, 60, 0., 9.)]
    assert clip_scores(notes, [Note(80, 60, 0., 3.)], 1., 3.) == ALL
    assert clip_scores(notes, [Note(80, 72, 0., 3.)], 1., 3.) == NOTHING


@needs_synthesizer
@pytest.mark.parametrize("take, instrument", [("plain", "violin"), ("fluid", "piano"),
                                              ("deep", "cello"), ("chords", "harp")])
def test_the_truth_is_what_the_recording_plays(take, instrument, tmp_path):
    score, how = SCORES[0], TAKES[take]
    path, = render_piece(score, tmp_path, (instrument,), find_soundfont(how.soundfont), take)
    draw = random.Random(f"{score.piece} {how.performance or take}")
    room = (draw.uniform(.1, .9), draw.uniform(.1, .7)) if how.rooms else None
    again = render_notes(score_truth(score, take, instrument), ALL_INSTRUMENTS[instrument][0],
                         score.seconds, how.soundfont, room, how.gain)
    assert np.abs(again - sf.read(path, dtype="float32")[0]).max() < 1.01 / 32_768


def test_twins_have_the_same_truth_and_takes_of_one_performance_too():
    def rows(*names): return [vars(n) for n in score_truth(SCORES[0], *names)]
    assert rows("fluid") == rows("fluid", "violin") == rows("generaluser") != rows("musescore")


@pytest.mark.parametrize("names", [("slow", "piano"), ("plain", "theremin")])
def test_unknown_names_of_takes_and_players(names):
    with pytest.raises(ValueError, match="unknown name '(slow|theremin)'"):
        score_truth(SCORES[0], *names)


def test_levels_match_and_nothing_clips():
    draw = np.random.RandomState(0)
    sound, original = 3. * draw.randn(1000), .1 * draw.randn(500)
    matched = match_level(sound, original)
    assert matched.dtype == np.float32
    assert np.square(matched).mean() == pytest.approx(np.square(original).mean(), rel=1e-3)
    assert np.abs(match_level(sound, 9 * original)).max() == pytest.approx(.99)
    assert not match_level(0 * sound, original).any() and not match_level(sound, 0 * sound).any()


@needs_synthesizer
@pytest.mark.parametrize("instrument", ["violin", "piano", "cello"])
def test_transcribed_and_rendered(instrument):
    content = pluck([0., .7, 1.4, 2.1], seconds=3.01)
    played = transcribe_and_render(content, instrument)
    assert len(played) == len(content) and played.dtype == np.float32
    assert np.square(played).mean() == pytest.approx(np.square(content).mean(), rel=.01)
    assert np.abs(played).max() <= .9901
    assert 69 in {n.pitch for n in transcribe(played)}  # also by the cello, not an octave lower
    assert np.array_equal(played, transcribe_and_render(content, instrument))


@needs_synthesizer
def test_more_notes_than_anyone_plays_do_not_clip(monkeypatch):
    crowd = [Note(127, key, 0., 1.) for key in range(21, 109)]
    monkeypatch.setattr(module, "transcribe", lambda sound: crowd)
    content = pluck([0.])
    for instrument in ("piccolo", "clarinet", "overdriven_guitar", "organ", "piano"):
        assert np.abs(transcribe_and_render(content, instrument)).max() <= .9901


def test_nothing_heard_is_silence_without_a_synthesizer(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert not transcribe_and_render(np.zeros(10_000), "harp").any()
    with pytest.raises(ValueError, match="unknown instrument 'theremin'; known are"):
        transcribe_and_render(pluck([0.]), "theremin")
