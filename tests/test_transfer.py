"""The command `mst_transfer`, as a shell runs it: from file to file, through a pipe, and with what
cannot be played."""
import shutil
import subprocess

import numpy as np
import pytest
import soundfile as sf
from conftest import BIN, ROOT, run


@pytest.fixture
def content(tmp_path):
    """Half a second of a falling tone, left only."""
    t = np.arange(22_050) / 44_100
    tone = .3 * np.exp(-3 * t) * np.sin(2 * np.pi * 440 * t)
    sf.write(tmp_path / "tone.flac", np.stack([tone, 0 * tone], 1), 44_100)
    return tmp_path / "tone.flac"


def test_help_names_the_styles_that_ship():
    result = run(["mst_transfer", "--help"])
    assert result.returncode == 0
    assert "acoustic_guitar, harp, piano, violin" in " ".join(result.stdout.split())


def test_file_to_file(content):
    result = run(["mst_transfer", content, "--style", "violin", "--steps", "2", "-o",
                  content.with_name("violin.wav")], cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "times real time" in result.stderr and not result.stdout
    played, rate = sf.read(content.with_name("violin.wav"))
    assert rate == 44_100 and played.shape == (22_050, 2)
    left, right = np.square(played).mean(0)
    assert left > 1e-4 and right < .01 * left
    assert sorted(p.name for p in content.parent.iterdir()) == ["tone.flac", "violin.wav"]


def test_standard_streams(content):
    done = subprocess.run([BIN / "mst_transfer", "-", "--style", content, "-o", "-", "--quiet"],
                          cwd=ROOT, input=content.read_bytes(),
                          capture_output=True, timeout=300)
    assert done.returncode == 0 and not done.stderr and done.stdout[:4] == b"RIFF"


def test_a_style_of_ones_own_is_learned_first(content):
    results = {}
    for steps in ("0", "3"):
        result = run(["mst_transfer", content, "--style", content, "--adapt", steps, "-o",
                      content.with_name(f"{steps}.wav")])
        assert result.returncode == 0, result.stderr
        assert ("learning the style" in result.stderr) == (steps != "0")
        results[steps], _ = sf.read(content.with_name(f"{steps}.wav"))
    assert 0 < np.abs(results["0"] - results["3"]).max() < 1


def test_a_texture_is_drawn_unless_none_is_asked_for(content):
    results = {}
    for flags in ((), ("--texture",), ("--no-texture",)):
        path = content.with_name("result.wav")
        result = run(["mst_transfer", content, "--style", content, "--adapt", "0", "-o", path,
                      *flags])
        assert result.returncode == 0, result.stderr
        results[flags] = sf.read(path)[0]
    default, drawn, plain = results.values()
    assert np.array_equal(default, drawn) and np.abs(drawn - plain).max() > 0


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="FFmpeg is not installed")
def test_several_contents_of_which_one_needs_ffmpeg(content):
    folder = content.parent
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", content, "-c:a", "aac",
                    folder / "other.m4a"], check=True)
    (folder / "out").mkdir()
    result = run(["mst_transfer", content, folder / "other.m4a", "--style", "harp", "--style",
                  "piano", "--guidance", "1.5",
                  "--strength", ".9", "--seed", "3", "-o", folder / "out"])
    assert result.returncode == 0 and result.stderr.count("times real time") == 2, result.stderr
    for name in ("tone_harp_piano.wav", "other_harp_piano.wav"):
        there = sf.info(folder / "out" / name)
        # AAC fills its blocks
        assert (there.samplerate, there.channels) == (44_100, 2)
        assert 22_050 <= there.frames < 22_050 + 4096
    assert len(list((folder / "out").iterdir())) == 2


@pytest.mark.parametrize("arguments, reason", [
    (["nothing.wav", "--style", "violin"], "nothing.wav: there is no such recording"),
    (["tone.flac", "--style", "trombone"], "trombone: there is no such recording"),
    (["tone.flac", "--style", "violin", "-o", "tone.xyz"],
     "tone.xyz: the name should end in one of .wav, .flac, .ogg, .mp3"),
    (["tone.flac", "--style", "violin", "--steps", "0"], "sampling steps"),
    (["tone.flac", "--style", "violin", "--style", "harp", "--mix", "2"], "mix must be in [0, 1]"),
    (["tone.flac", "--style", "violin", "--device", "abacus"], "abacus"),
    (["tone.flac", "tone.flac", "--style", "violin", "-o", "out.wav"], "-o should name a folder")])
def test_one_line_says_what_is_wrong(content, arguments, reason):
    result = run(["mst_transfer", *arguments], cwd=content.parent)
    assert result.returncode == 2, result.stderr
    assert reason in result.stderr, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert [p.name for p in content.parent.iterdir()] == ["tone.flac"]
