"""What is transferred, how loud, and what is refused: channels that cancel, offsets, rumble,
numbers that are not finite, the band above 11 kHz."""
import argparse
import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf
import torch

from mst.adapt import Adaptation
from mst.audio import AudioPreprocessor
from mst.commands import finite_float, main, parse_guidance, positive_float, transfer_parser
from mst.images import build_dataset_folder_structure
from mst.levels import mix_channels, remove_rumble
from mst.sound import SoundTransfer, load_transfer, restyle, transfer_file

RATE = 44_100
SECONDS = np.arange(4 * RATE)[:, None] / RATE


def make_tune():
    """Four notes of a second, peak .27, [N, 1]."""
    t = np.arange(RATE) / RATE
    notes = [sum(np.sin(2 * np.pi * k * pitch * t) / k for k in range(1, 9)) * np.exp(-2 * t)
             for pitch in (262, 330, 392, 523)]
    tune = np.concatenate(notes)[:, None]
    return (.27 * tune / abs(tune).max()).astype(np.float32)


def rms(sound):
    "Of each channel."
    return np.sqrt(np.square(sound, dtype=np.float64).mean(0))


def louder(result, content):
    "How much louder each channel is, dB."
    return 20 * np.log10(np.maximum(rms(result), 1e-12) / np.maximum(rms(content), 1e-12))


def spectrum(sound):
    "Of the first channel, in bands of 20 Hz, below 5 kHz."
    power = abs(np.fft.rfft(sound[:, 0]))[:20_000] ** 2
    return np.sqrt(power.reshape(-1, 80).sum(1))


def band(sound, low, high):
    "Level of the first channel between two frequencies."
    power, frequencies = abs(np.fft.rfft(sound[:, 0])) ** 2, np.fft.rfftfreq(len(sound), 1 / RATE)
    return np.sqrt(power[(frequencies >= low) & (frequencies < high)].sum())


TUNE = make_tune()
QUIET = TUNE * .008 / rms(TUNE).astype(np.float32)
LATER = np.roll(TUNE, 25, 0)
PAIRS = {
    "upside down": -TUNE, "half upside down": -.5 * TUNE, "nearly upside down": -.9 * TUNE,
    "silent": 0 * TUNE, "equal": TUNE, "later": LATER, "later and upside down": -LATER,
    "from a bar on": np.concatenate([TUNE[:2 * RATE], -TUNE[2 * RATE:]]),
    "high notes only": np.concatenate([TUNE[:2 * RATE], -TUNE[2 * RATE:]])[::-1] * .7}
BURDENS = {"an offset": .5 + 0 * SECONDS, "a negative offset": -.7 + 0 * SECONDS,
           "rumble": .8 * np.sin(2 * np.pi * 12.3 * SECONDS + 1),
           "slow rumble": .5 * np.sin(2 * np.pi * .4 * SECONDS),
           "rumble at 19 Hz": .6 * np.sin(2 * np.pi * 19 * SECONDS + 2),
           "both": .2 + .5 * np.sin(2 * np.pi * 7 * SECONDS)}
of_a_pair = pytest.mark.parametrize("other", PAIRS.values(), ids=PAIRS)
of_a_burden = pytest.mark.parametrize("burden", BURDENS.values(), ids=BURDENS)


@pytest.fixture(scope="module")
def violin():
    return load_transfer("violin", "cpu")


def played(content, violin, rate=RATE, **options):
    content = content.astype(np.float32)
    def blocks(): return (content[i:i + rate] for i in range(0, len(content), rate))
    return np.concatenate(list(restyle(blocks, rate, content.shape[1], violin, **options)))


@pytest.fixture(scope="module")
def alone(violin):
    "The tune on the violin, of one channel."
    return played(TUNE, violin)


@of_a_pair
def test_each_channel_is_as_loud_as_it_was_and_nothing_cancels(violin, alone, other):
    content = np.concatenate([TUNE, other], 1)
    result = played(content, violin)
    assert abs(louder(result, content)).max() < .5
    assert np.corrcoef(spectrum(result), spectrum(alone))[0, 1] > .9


@of_a_burden
def test_what_nobody_hears_does_not_count(violin, burden):
    result = played(QUIET + burden, violin)
    assert abs(louder(result, QUIET)) < .5
    assert np.corrcoef(spectrum(result), spectrum(played(QUIET, violin)))[0, 1] > .9
    assert abs(result.mean()) < 1e-4


@of_a_burden
def test_what_has_nothing_else_is_silence(violin, burden):
    assert not played(burden, violin).any()


def test_a_burden_on_one_channel(violin):
    result = played(np.concatenate([QUIET + .5, QUIET], 1), violin)
    assert abs(louder(result, np.concatenate([QUIET, QUIET], 1))).max() < .5


@of_a_pair
def test_a_recording_of_two_channels_is_read_whole(tmp_path, other):
    sf.write(tmp_path / "a.flac", content := np.concatenate([TUNE, other], 1), RATE)
    sound, _ = AudioPreprocessor().load_audio(tmp_path / "a.flac")
    assert abs(louder(sound, np.sqrt(np.square(content, dtype=np.float64).mean(1)))) < 1
    if np.array_equal(other, TUNE):
        assert np.array_equal(mix_channels(content), TUNE[:, 0])


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
def test_so_is_one_that_ffmpeg_reads(tmp_path):
    sf.write(tmp_path / "a.wav", np.concatenate([TUNE, -TUNE], 1), RATE)
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / "a.m4a"],
                   check=True)
    assert abs(louder(AudioPreprocessor().load_audio(tmp_path / "a.m4a")[0], TUNE)) < .5


def test_long_sound_is_mixed_as_if_in_one_go():
    noise = np.random.default_rng(0).standard_normal((3 * 2**20 // 2, 2)).astype(np.float32)
    noise[:, 1] -= 2 * noise[:, 0]
    whole, seam = mix_channels(noise), 2**20
    around = mix_channels(noise[seam - 2**15:seam + 2**15])
    assert abs(around[2**14:-2**14] - whole[seam - 2**14:seam + 2**14]).max() < 1e-4
    assert abs(rms(whole) / np.sqrt(np.square(noise).mean()) - 1) < .1


@pytest.mark.parametrize("n", [0, 1, 2, 5, 100, 11_025, 11_026, 22_050, 22_051])
def test_without_rumble_it_is_as_long_whatever_the_blocks(n):
    sound = np.random.default_rng(0).standard_normal((n, 2)).astype(np.float32)
    parts = list(remove_rumble((sound[i:i + 999] for i in range(0, n, 999)), 22_050))
    assert sum(map(len, parts)) == n and all(part.dtype == np.float32 for part in parts)


def test_styles_and_builds_hear_the_same(violin, tmp_path, capsys):
    sounds = {"flipped": np.concatenate([TUNE, -TUNE], 1), "plain": TUNE, "on_dc": QUIET + .5,
              "quiet": QUIET, "offset": .5 + 0 * TUNE, "rumble": BURDENS["rumble"]}
    (tmp_path / "songs" / "oboe").mkdir(parents=True)
    for name, sound in sounds.items():
        sf.write(tmp_path / "songs" / "oboe" / f"{name}.wav", sound, RATE, "FLOAT")
    style = {name: load_transfer(tmp_path / "songs" / "oboe" / f"{name}.wav", "cpu",
                                 adaptation=Adaptation(0)).style["tokens"]
             for name in ("flipped", "plain", "on_dc", "quiet")}
    assert torch.allclose(style["flipped"], style["plain"], atol=1e-2)
    assert torch.allclose(style["on_dc"], style["quiet"], atol=.1)
    for name in ("offset", "rumble"):
        with pytest.raises(ValueError, match="only silence"):
            load_transfer(tmp_path / "songs" / "oboe" / f"{name}.wav", "cpu")
    with pytest.raises(ValueError, match="only silence"):
        load_transfer(np.full(22_050, .3, np.float32), "cpu")
    summary = build_dataset_folder_structure(tmp_path / "songs", tmp_path / "images")
    assert {path.stem for path, why in summary.skipped if "silent" in why} == {"offset", "rumble"}
    assert set(summary.images["oboe"]) == {"flipped", "plain", "on_dc", "quiet"}


@pytest.mark.parametrize("scale", [np.nan, np.inf, -np.inf, 1e30])
def test_a_scale_that_is_not_finite_is_refused(violin, scale):
    parts = violin.ldm, violin.vocoder, violin.style
    for options in ({"guidance_scale": scale}, {"strength": scale}):
        with pytest.raises(ValueError, match="finite|strength"):
            SoundTransfer(*parts, **options)
    with pytest.raises(ValueError, match="mix"):
        load_transfer("violin", "cpu", "harp", mix=scale)


@pytest.mark.parametrize("number", ["nan", "NaN", "inf", "-inf", "1e999", "infinity"])
def test_arguments_that_are_not_finite(number):
    for parse in (finite_float, positive_float, parse_guidance):
        with pytest.raises(argparse.ArgumentTypeError, match="finite"):
            parse(number)
    for option in ("guidance", "mix", "strength"):
        with pytest.raises(SystemExit) as stop:
            transfer_parser().parse_args(["a.wav", "--style", "harp", f"--{option}={number}"])
        assert stop.value.code == 2
    with pytest.raises(ValueError, match="max_duration"):
        build_dataset_folder_structure("nothing", max_duration=float(number))


def test_what_the_model_makes_not_finite_ends_in_a_line(violin, tmp_path):
    sf.write(tmp_path / "a.wav", TUNE, RATE)
    broken = {name: tokens * torch.nan for name, tokens in violin.style.items()}
    transfer = SoundTransfer(violin.ldm, violin.vocoder, broken, texture=violin.texture)
    with pytest.raises(ValueError, match="a.wav: the model made values that are not finite"):
        transfer_file(tmp_path / "a.wav", tmp_path / "b.wav", transfer, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]
    with pytest.raises(FloatingPointError):
        played(TUNE, transfer)


def test_the_air_goes_with_the_octave_below(violin):
    hiss = .02 * np.random.default_rng(0).standard_normal((4 * RATE, 1))
    content = TUNE + hiss
    without, result = (played(content, violin, air=air) for air in (False, True))
    assert band(without, 11_500, 22_050) < .01 * band(content, 11_500, 22_050)
    became = band(without, 5600, 10_000) / band(content, 5600, 10_000)
    air = band(result, 12_000, 22_050) / band(content, 12_000, 22_050)
    assert abs(20 * np.log10(air / became)) < 1.5
    assert abs(louder(result[:, :1], without[:, :1])) < .5  # what is below stays as it is


def test_a_whistle_over_nothing_does_not_get_louder(violin):
    whistle = .05 * np.sin(2 * np.pi * 15_700 * SECONDS)
    dark = TUNE[:, 0].astype(np.float64)
    dark = np.fft.irfft(np.where(np.fft.rfftfreq(len(dark), 1 / RATE) < 4000, np.fft.rfft(dark), 0))
    content = dark[:, None] + whistle
    assert band(played(content, violin), 15_000, 17_000) <= band(content, 15_000, 17_000)


@pytest.mark.parametrize("rate", [8000, 21_800, 22_050, 22_100, 24_000, 96_000])
def test_any_rate_with_air(violin, rate):
    content = np.random.default_rng(0).standard_normal((rate, 1)) * .05
    result = played(content, violin, rate)
    assert result.shape == content.shape and np.isfinite(result).all()
    assert np.abs(result).max() <= 1


def test_air_can_be_left_out(tmp_path):
    hiss = .02 * np.random.default_rng(0).standard_normal((RATE, 1))
    sf.write(tmp_path / "a.wav", TUNE[:RATE] + hiss, RATE)
    high = {}
    for option in ("--air", "--no-air"):
        name = str(tmp_path / f"b{option}.wav")
        assert main([str(tmp_path / "a.wav"), "--style", "harp", "-o", name, "--quiet",
                     option]) == 0
        high[option] = band(sf.read(name, always_2d=True)[0], 12_000, 22_050)
    assert high["--no-air"] < .5 * high["--air"]
