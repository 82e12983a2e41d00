"""Folders of recordings become folders of images: names, chunks, builds that were cut short."""
import json
import os
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from mst.audio import AudioConfig
from mst.images import (
    BuildSummary, audio_to_images, build_dataset_folder_structure, find_recordings, read_state,
    run_jobs,
)


def make_sound(path, seconds, pitch=440, sr=22050):
    "Write a plucked tone that repeats twice a second."
    path.parent.mkdir(parents=True, exist_ok=True)
    n = np.arange(int(seconds * sr))
    tone = 0.5 * np.sin(2 * np.pi * pitch * n / sr) * np.exp(-6 * (n % (sr // 2)) / sr)
    sf.write(path, tone, sr)


@pytest.fixture
def songs(tmp_path):
    "Four recordings of three instruments; the lute has the fewest images, five."
    folder = tmp_path / "songs"
    make_sound(folder / "harp/a.wav", 10)
    make_sound(folder / "harp/b.flac", 8)
    make_sound(folder / "lute/a.mp3", 13, 330, sr=44100)
    make_sound(folder / "oboe/a.ogg", 31, 220)
    return folder


@pytest.fixture
def build(songs, tmp_path):
    return partial(build_dataset_folder_structure, songs, tmp_path / "made", trim=False)


@pytest.fixture
def made(build, tmp_path):
    "The folder of images, built once."
    build()
    return tmp_path / "made"


def contents(folder):
    return {str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob("*.png"))}


def times(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*.png"))}


@pytest.fixture
def unusable_names(tmp_path):
    folder = tmp_path / "names" / "harp"
    folder.mkdir(parents=True)
    for name in (b"a.wav", b"b\xff.wav", b"x" * 251 + b".wav"):
        open(os.path.join(os.fsencode(folder), name), "w").close()
    return find_recordings(folder.parent)


def test_names_that_no_image_could_have_are_refused(unusable_names):
    usable, refused = unusable_names
    assert [path.name for path in usable["harp"]] == ["a.wav"]
    assert [why.split(";")[0] for _, why in refused] == [
        "the name is not UTF-8", "the name is too long for the name of an image"]


def test_a_summary_can_be_printed_whatever_the_names_are(unusable_names):
    summary = BuildSummary({}, unusable_names[1], AudioConfig())
    assert str(summary).startswith("skipped harp/b?.wav: the name is not UTF-8")


def test_the_last_chunk_is_filled_with_silence():
    sound = np.random.RandomState(0).randn(2 * 66150 + 1000).astype(np.float32)
    chunks = [np.asarray(i) for i in audio_to_images(sound)]
    assert [c.shape for c in chunks] == [(128, 130)] * 3
    assert (chunks[2][:, 10:] == 0).all() and chunks[2][:, :3].any()


@pytest.mark.parametrize("samples, max_duration, count", [
    (2 * 66150 + 1000, 6, 2), (2 * 66150 + 1000, 6.01, 3), (2 * 66150, None, 2)])
def test_number_of_chunks(samples, max_duration, count):
    sound = np.random.RandomState(0).randn(samples).astype(np.float32)
    assert len(list(audio_to_images(sound, max_duration=max_duration))) == count


def test_a_second_build_does_nothing(build, made):
    first = times(made)
    build()
    assert times(made) == first


def test_a_build_after_a_kill_makes_what_is_missing_and_no_more(build, made):
    first, whole = times(made), contents(made)
    (made / "harp/a_chunk1.png").unlink()       # as if killed between two images
    state = json.loads((made / "oboe/.a.json").read_text())
    # as if killed before the last one
    (made / "oboe/.a.json").write_text(json.dumps({"key": state["key"]}))
    (made / "oboe/a_chunk4.png").unlink()
    build()
    assert contents(made) == whole
    changed = [p.name for p, t in times(made).items() if t != first[p]]
    assert changed == ["a_chunk1.png", "a_chunk4.png"]


def test_a_changed_recording_is_balanced_anew_and_back(build, made, songs):
    whole = contents(made)
    make_sound(songs / "lute/a.mp3", 7, 500, sr=44100)   # changed, and shorter
    assert build().images == {"harp": {"a": 2, "b": 1}, "lute": {"a": 3}, "oboe": {"a": 3}}
    assert len(contents(made)) == 9
    make_sound(songs / "lute/a.mp3", 13, 330, sr=44100)  # what was cut is made again
    build()
    assert contents(made) == whole


def test_another_setting_makes_images_anew(build, made):
    assert build(max_duration=3).images["oboe"] == {"a": 1}
    assert [p.name for p in sorted((made / "oboe").glob("*.png"))] == ["a_chunk0.png"]


def test_what_is_gone_takes_its_images_along_if_asked(build, made, songs):
    build(max_duration=3)
    (songs / "harp/b.flac").unlink()
    build(max_duration=3, prune=True)
    assert not list((made / "harp").glob("b_*")) and (made / "harp/a_chunk0.png").exists()


def test_images_that_were_not_made_here_stay(build, tmp_path, capsys):
    own = tmp_path / "made" / "oboe" / "a_chunk7.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"my own")
    assert "oboe" not in build().images
    assert own.read_bytes() == b"my own" and len(list(own.parent.glob("*.png"))) == 1
    assert "images of its name that were not made here" in capsys.readouterr().out


def test_an_error_that_is_not_about_a_recording_ends_the_jobs():
    threads = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError):
        run_jobs(divmod, [(1, 1), (1, 0)])
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("folder", ["empty", "nowhere"])
def test_no_recordings(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no recordings"):
        build_dataset_folder_structure(tmp_path / folder, tmp_path / "made")


@pytest.mark.parametrize("text", ["", "[]", "7", "{", "\udcff", "[" * 10**5])
def test_a_damaged_state_says_nothing(tmp_path, text):
    path = Path(tmp_path / ".a.json")
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert read_state(path) == {}
