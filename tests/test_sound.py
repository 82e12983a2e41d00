"""Sound of any length, rate and number of channels, and files that are refused in a line."""
import numpy as np
import pytest
import soundfile as sf
import torch

from mst.sound import (
    HOP, RATE, SUFFIXES, WINDOW, encode_style_clip, load_transfer, read_styles, restyle,
    transfer_file, transfer_sound, windows)


@pytest.fixture(scope="module")
def violin():
    return load_transfer("violin", "cpu")


def noise(n, channels=1):
    return (.1 * np.random.default_rng(0).standard_normal((n, channels))).astype(np.float32)


@pytest.mark.parametrize("n", [90, 300, 301, 500, 1000])
def test_windows(n):
    """Whatever comes in, pieces begin every 200 samples and only the last is shorter."""
    ramp = np.arange(1000, dtype=np.float32)[:, None]
    found = list(windows((ramp[i:min(i + 70, n)] for i in range(0, n, 70)), 300, 200))
    assert [last for _, last in found] == [False] * (len(found) - 1) + [True]
    for k, (piece, last) in enumerate(found):
        assert np.array_equal(piece, ramp[200 * k:n if last else 200 * k + 300])
    assert len(found[-1][0]) > 100 * (len(found) > 1)


@pytest.mark.parametrize("n", [1, 2205, 66_150, WINDOW * HOP, WINDOW * HOP + 1])
def test_as_long_as_the_content(violin, n):
    content = noise(n)
    result = np.concatenate(list(restyle(lambda: [content], RATE, 1, violin)))
    assert result.shape == content.shape
    assert np.isfinite(result).all() and np.abs(result).max() <= 1


def test_who_sits_on_the_left_stays_there(violin):
    left = (noise(3 * 44_100, 2) * [1, 0]).astype(np.float32)
    result = np.concatenate(list(restyle(lambda: [left[:50_000], left[50_000:]], 44_100, 2,
                                         violin)))
    assert result.shape == left.shape
    assert np.square(result[:, 1]).mean() < .01 * np.square(result[:, 0]).mean()


def test_silence_stays_silence(violin):
    blocks = list(restyle(lambda: [np.zeros((5000, 1), np.float32)], RATE, 1, violin))
    assert np.array_equal(np.concatenate(blocks), np.zeros((5000, 1)))


def test_styles_of_one_clip_and_of_six_are_mixed(violin):
    short, long = (noise(seconds * RATE)[:, 0] for seconds in (3, 18))
    one, six = (encode_style_clip(violin.ldm, style)["tokens"] for style in (short, long))
    assert six.shape[1] == 6 * one.shape[1]
    mixed = read_styles(violin.ldm, short, long, .25)[0]["tokens"]
    torch.testing.assert_close(mixed, .75 * one.repeat(1, 6, 1) + .25 * six)


def test_what_is_no_style():
    with pytest.raises(ValueError, match="only silence"):
        load_transfer(np.zeros(RATE, np.float32))
    with pytest.raises(ValueError, match="strength"):
        load_transfer("violin", strength=1.1)


@pytest.mark.parametrize("rate, channels, n", [
    (8000, 1, 800), (22_050, 2, 2205), (44_100, 1, 4410), (48_000, 2, 30_001),
    (96_000, 1, 150_000)])
def test_as_many_samples_whatever_the_file(violin, tmp_path, rate, channels, n):
    content = tmp_path / "content.flac"
    sf.write(content, noise(n, channels), rate)
    for suffix in SUFFIXES:
        result = tmp_path / f"result{suffix}"
        if suffix == ".mp3" and rate > 48_000:  # mp3 has no such rate, and says so
            with pytest.raises(ValueError, match="cannot hold 1 channels at 96000"):
                transfer_file(content, result, violin, progress=False)
            continue
        transfer_file(content, result, violin, progress=False)
        there = sf.info(result)
        assert (there.samplerate, there.channels) == (rate, channels)
        assert n <= there.frames <= n + 2400 * (suffix == ".mp3")  # mp3 fills its blocks
    assert not list(tmp_path.glob(".part*"))


def test_a_wav_that_cannot_count_its_samples_is_an_rf64(violin, tmp_path, monkeypatch):
    """A wav counts 4 GiB; here the limit is lower."""
    monkeypatch.setattr("mst.sound.WAV_BYTES", 4000)
    for n, kind in ((2000, "WAV"), (2001, "RF64")):
        sf.write(tmp_path / "content.wav", noise(n), RATE)
        transfer_file(tmp_path / "content.wav", tmp_path / "result.wav", violin, progress=False)
        there = sf.info(tmp_path / "result.wav")
        assert (there.format, there.frames) == (kind, n)


def test_no_peak_between_samples_clips(violin):
    """At its own rate the result is below full scale, where samples at the model's are, too."""
    square = np.sign(np.sin(2 * np.pi * 220.5 * np.arange(2 * 44_100) / 44_100))[:, None]
    for air in (True, False):
        result = transfer_sound(square.astype(np.float32), 44_100, violin, air)
        assert .5 < np.abs(result).max() <= .991


def test_refused_in_a_line_and_nothing_is_left(violin, tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound")
    sf.write(tmp_path / "bad.wav", np.array([.1, np.nan, .1]), 44_100, "FLOAT")
    sf.write(tmp_path / "six.wav", noise(100, 6), 44_100)
    sf.write(tmp_path / "in.wav", noise(100), 44_100)
    reasons = {"no.wav": "no such", "empty.wav": "empty", "text.wav": "decoded",
               "bad.wav": "finite", "six.wav": "6 channels"}
    for name, reason in reasons.items():
        with pytest.raises((ValueError, FileNotFoundError), match=reason):
            transfer_file(tmp_path / name, tmp_path / "never.wav", violin, progress=False)
    with pytest.raises(ValueError, match=".flac"):
        transfer_file(tmp_path / "in.wav", tmp_path / "never.xyz", violin, progress=False)
    assert not list(tmp_path.glob("never*")) + list(tmp_path.glob(".part*"))


def test_what_is_played_is_sharpened(violin, monkeypatch):
    generator, one = torch.Generator().manual_seed(0), torch.ones(1)
    image = torch.rand(1, 1, 256, 16, generator=generator)
    sharp = violin.sound(image, one, None)
    monkeypatch.setattr("mst.sound.CONTRAST", 0.)
    assert not torch.allclose(violin.sound(image, one, None), sharp, rtol=1e-2)


def test_what_cannot_be_learned_is_tried_once():
    """Of ten contents, the second need not wait to hear what the first heard."""
    tries = []
    def learn():
        tries.append(1)
        raise ValueError("a style could not be learned")
    transfer = load_transfer("violin", "cpu")
    transfer.learn = learn
    for _ in range(3):
        with pytest.raises(ValueError, match="could not be learned"):
            transfer_sound(noise(3000), RATE, transfer)
    assert tries == [1]
