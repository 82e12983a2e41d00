"""Test cases of small corpora made here: single pieces, missing twins, silence, and the same cases
for the same seed."""
import numpy as np
import pytest
import soundfile as sf
import torch
from PIL import Image

from mst.cases import (
    CLIP_SAMPLES, Cases, benchmark_cases, cut_clips, draw_style, find_partners, keep_twins,
    number_clips, sound_cases, sounding_clips, sounding_share, spread_clips)
from mst.data import SpectrogramDataset

INSTRUMENTS = ("bass", "flute", "organ")


def write_image(folder, instrument, name, level=200):
    (folder / instrument).mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((128, 128), np.uint8)
    pixels[hash_number(instrument + name) % 100] = level
    Image.fromarray(pixels).save(folder / instrument / f"{name}.png")


def hash_number(text):
    return sum(ord(c) * (i + 1) for i, c in enumerate(text))


@pytest.fixture
def images(tmp_path):
    """Two pieces of two chunks each by three instruments; the organ's second piece is silent."""
    for instrument in INSTRUMENTS:
        for name in ("a_chunk0", "a_chunk1", "b_chunk0", "b_chunk1"):
            silent = instrument == "organ" and name.startswith("b")
            write_image(tmp_path, instrument, name, 0 if silent else 200)
    return tmp_path


def test_a_silent_clip_is_left_out(images):
    clips = sounding_clips(SpectrogramDataset(images))
    assert [sorted(clips[name]) for name in INSTRUMENTS] == [["a", "b"], ["a", "b"], ["a"]]


@pytest.mark.parametrize("level, share", [(0., 0.), (.25, 0.), (.26, .5), (1., .5)])
def test_a_frame_sounds_within_60_db(level, share):
    image = torch.zeros(1, 128, 10)
    image[:, 3, :5] = level
    assert sounding_share(image) == share


def test_every_ordered_pair_equally_often_with_twins(images):
    dataset = SpectrogramDataset(images)
    cases = benchmark_cases(dataset, 2, seed=0)
    pairs = list(zip(cases.content_instruments, cases.style_instruments))
    assert len(set(pairs)) == 6 and {pairs.count(pair) for pair in pairs} == {2}
    for i, number in enumerate(cases.contents):
        assert torch.equal(cases.content[i], dataset[number][0])
        twin = number_clips(dataset)[cases.style_instruments[i], dataset.paths[number].name]
        assert torch.equal(cases.target[i], dataset[twin][0])


def test_a_seed_gives_its_cases(images):
    dataset = SpectrogramDataset(images)
    first, again, other = (benchmark_cases(dataset, 2, seed) for seed in (0, 0, 1))
    assert torch.equal(first.style, again.style) and first.contents == again.contents
    assert first.contents != other.contents or not torch.equal(first.style, other.style)


def test_a_style_is_of_another_piece_where_there_is_one(images):
    dataset = SpectrogramDataset(images)
    clips, rng = sounding_clips(dataset), np.random.RandomState(0)
    content = clips["bass"]["a"][0]
    assert {dataset.pieces[draw_style(dataset, clips["flute"], content, rng)]
            for _ in range(20)} == {"b"}
    for _ in range(20):  # the organ's only piece: another chunk
        style = draw_style(dataset, clips["organ"], content, rng)
        assert dataset.paths[style].name != dataset.paths[content].name


def test_nothing_to_take_a_style_from(images):
    dataset = SpectrogramDataset(images)
    with pytest.raises(ValueError, match="nothing to take a style clip from for a_chunk0.png"):
        draw_style(dataset, {}, 0, np.random.RandomState(0))
    with pytest.raises(ValueError, match="nothing to take a style clip from"):
        draw_style(dataset, {"a": [0]}, 0, np.random.RandomState(0))


def test_a_content_without_all_twins_is_used_only_without_twins(images):
    (images / "flute" / "a_chunk0.png").unlink()
    dataset = SpectrogramDataset(images)
    names = {
        dataset.paths[i].name
        for indices in keep_twins(dataset, sounding_clips(dataset)["bass"]).values()
        for i in indices
    }
    assert names == {"a_chunk1.png", "b_chunk0.png", "b_chunk1.png"}
    cases = benchmark_cases(dataset, 9, twins=False)
    assert cases.target is None and cases.content_instruments.count("bass") == 4 * 2


def test_one_instrument_gives_no_cases(images):
    for name in ("flute", "organ"):
        for path in (images / name).iterdir():
            path.unlink()
        (images / name).rmdir()
    with pytest.raises(ValueError, match="two instruments with sounding clips are needed"):
        benchmark_cases(SpectrogramDataset(images))


@pytest.mark.parametrize("clips, n", [({}, 3), ({"a": []}, 3), ({"a": [1]}, 0)])
def test_nothing_to_spread(clips, n):
    assert spread_clips(clips, n, np.random.RandomState(0)) == []


@pytest.mark.parametrize("seed", range(5))
def test_clips_are_spread_over_pieces_and_never_twice(seed):
    clips = {"a": list(range(10)), "b": [10, 11], "c": [12]}
    drawn = spread_clips(clips, 5, np.random.RandomState(seed))
    assert len(set(drawn)) == 5 and {10, 11, 12} <= set(drawn)
    assert {12} < set(drawn[:3]) and len({*drawn[:3]} & {10, 11}) == 1


def test_a_subset_keeps_what_belongs_together():
    sounds = torch.arange(6.).reshape(3, 2)
    cases = Cases(sounds, sounds + 10, None, list("abc"), list("bca"), list("xyz"), [1, 2, 3])
    part = cases.subset([2, 0])
    assert part.content.tolist() == [[4, 5], [0, 1]] and part.style.tolist() == [[14, 15], [10, 11]]
    assert (part.content_instruments, part.pieces) == (["c", "a"], ["z", "x"])
    assert part.contents == [3, 1]
    assert part.target is None and len(cases.subset([])) == 0


@pytest.fixture
def recordings(tmp_path):
    """Two pieces of five seconds by three instruments, each a tone of its own."""
    paths = {}
    for i, instrument in enumerate(INSTRUMENTS):
        (tmp_path / instrument).mkdir()
        for j, piece in enumerate("ab"):
            path = tmp_path / instrument / f"{piece}.wav"
            t = np.arange(5 * 22_050) / 22_050
            sf.write(path, .3 * np.sin(2 * np.pi * 110 * (2 + 3 * i + j) * t), 22_050)
            paths[path] = instrument
    return paths


def test_sounds_of_one_content_share_it(recordings):
    cases = sound_cases(recordings, per_recording=2, seed=3)
    assert cases.content.shape == cases.target.shape == (2 * 6 * 2, CLIP_SAMPLES)
    for i, number in enumerate(cases.contents):
        assert cases.content_instruments[i] != cases.style_instruments[i]
        assert torch.equal(cases.content[i], cases.content[cases.contents.index(number)])
    assert torch.equal(cases.style, sound_cases(recordings, per_recording=2, seed=3).style)
    assert sound_cases(recordings, twins=False).target is None


def test_the_target_is_the_same_place_of_the_twin(recordings):
    """The tones are periodic, so the phase at the clip's beginning tells its place, up to periods
    of 1 / 110 s."""
    cases = sound_cases(recordings)
    t, tone = np.arange(5 * 22_050) / 22_050, {}
    for i, name in enumerate(INSTRUMENTS):
        for j, piece in enumerate("ab"):
            tone[name, piece] = .3 * np.sin(2 * np.pi * 110 * (2 + 3 * i + j) * t)
    for i in range(4):
        own = tone[cases.content_instruments[i], cases.pieces[i]]
        twin = tone[cases.style_instruments[i], cases.pieces[i]]
        content, target = cases.content[i].numpy(), cases.target[i].numpy()
        starts = [s for s in range(len(own) - CLIP_SAMPLES + 1)
                  if abs(own[s] - content[0]) < 1e-3 and abs(own[s + 7] - content[7]) < 1e-3]
        assert any(np.abs(own[s:s + CLIP_SAMPLES] - content).max() < 1e-3
                   and np.abs(twin[s:s + CLIP_SAMPLES] - target).max() < 1e-3 for s in starts)


def test_sounds_without_partners(recordings):
    one = dict(list(recordings.items())[:1])
    with pytest.raises(ValueError, match="are needed"):
        sound_cases(one)
    flute_b = next(path for path in recordings if path.parts[-2:] == ("flute", "b.wav"))
    missing = {path: name for path, name in recordings.items() if path != flute_b}
    with pytest.raises(ValueError, match="a target and another piece of"):
        sound_cases(missing)


def test_partners_without_twins_need_only_another_piece(recordings):
    bass = next(path for path, name in recordings.items() if name == "bass")
    players = {name: [p for p, other in recordings.items() if other == name]
               for name in INSTRUMENTS}
    targets, others = find_partners(bass, "bass", players, twins=False)
    assert targets == [] and {name: [p.stem for p in paths] for name, paths in others.items()} == {
        "flute": ["b"], "organ": ["b"]}


@pytest.mark.parametrize("sound", [np.zeros(5 * 22_050), np.ones(CLIP_SAMPLES - 1), np.zeros(0)])
def test_what_is_silent_or_too_short_has_no_clip(sound):
    with pytest.raises(ValueError, match="2.9 s that sound are needed"):
        cut_clips(["x"], lambda path: sound, np.random.RandomState(0))


def test_a_sound_of_exactly_a_clip_is_taken_whole():
    sound = np.ones(CLIP_SAMPLES, np.float32)
    clip, = cut_clips(["x"], lambda path: sound, np.random.RandomState(0))
    assert np.array_equal(clip, sound)
