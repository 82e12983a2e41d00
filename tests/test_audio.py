"""Recordings of every kind come out as one channel at one rate; what is no recording is named."""
import shutil
import subprocess

import librosa
import numpy as np
import pytest
import soundfile as sf

from mst.audio import AudioPreprocessor

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
ap = AudioPreprocessor()


@pytest.fixture(scope="module")
def tone():
    "A second of 440 Hz at 44 100 samples a second."
    return 0.5 * librosa.tone(440, sr=44100, duration=1).astype(np.float32)


def pitch(samples):
    "Hz of the strongest frequency of a second at 22 050 samples a second."
    return np.abs(np.fft.rfft(samples[2000:22000])).argmax() * 22050 / 20000


@pytest.mark.parametrize("name, rate, how", [
    ("a.wav", 44100, {}), ("b.flac", 44100, {}), ("c.ogg", 44100, {}), ("d.mp3", 44100, {}),
    ("e.opus", 48000, {"format": "OGG", "subtype": "OPUS"})])
def test_stereo_of_every_format_becomes_one_channel_at_one_rate(tmp_path, tone, name, rate, how):
    samples = librosa.resample(tone, orig_sr=44100, target_sr=rate)
    sf.write(tmp_path / name, np.stack([samples] * 2, 1), rate, **how)
    audio, sr = ap.load_audio(tmp_path / name)
    assert (sr, audio.dtype, audio.ndim) == (22050, np.float32, 1)
    assert abs(len(audio) - 22050) < 2500
    assert abs(pitch(audio) - 440) < 2


@pytest.fixture
def m4a(tmp_path, tone):
    sf.write(tmp_path / "a.wav", tone, 44100)
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / "f.m4a"]
    subprocess.run(command, check=True)
    return tmp_path / "f.m4a"


@needs_ffmpeg
def test_what_libsndfile_cannot_read_is_read_by_ffmpeg(m4a):
    assert abs(pitch(ap.load_audio(m4a)[0]) - 440) < 2


@needs_ffmpeg
def test_without_ffmpeg_the_error_says_how_to_get_it(m4a, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RuntimeError, match="install it"):
        ap.load_audio(m4a)


def test_empty_file(tmp_path):
    (tmp_path / "g.mp3").write_bytes(b"")
    with pytest.raises(ValueError, match="empty"):
        ap.load_audio(tmp_path / "g.mp3")


@needs_ffmpeg
def test_bytes_that_are_no_sound(tmp_path):
    (tmp_path / "h.flac").write_bytes(b"no music in here " * 99)
    with pytest.raises(ValueError, match="cannot be decoded"):
        ap.load_audio(tmp_path / "h.flac")


def test_no_such_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such recording"):
        ap.load_audio(tmp_path / "i.mp3")


@needs_ffmpeg
@pytest.mark.parametrize("playlist", [
    "ffconcat version 1.0\nfile a.wav\n",
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.wav\n#EXT-X-ENDLIST\n"])
def test_a_playlist_does_not_play_its_neighbour(tmp_path, tone, playlist):
    sf.write(tmp_path / "a.wav", tone, 44100)
    (tmp_path / "j.mp3").write_text(playlist)
    with pytest.raises(ValueError, match="cannot be decoded"):
        ap.load_audio(tmp_path / "j.mp3")


@pytest.mark.parametrize("name, loudness, rate", [("l.wav", 1, 10), ("m.wav", 1e30, 22050)])
def test_rates_and_levels_that_are_no_sound(tmp_path, tone, name, loudness, rate):
    sf.write(tmp_path / name, loudness * tone, rate, "FLOAT")
    with pytest.raises(ValueError, match=f"{name}: "):
        ap.load_audio(tmp_path / name)
