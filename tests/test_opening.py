"""Any file people have: all of its sound, or one line that names it; the same from every reader."""
import errno
import io
import os
import shutil
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile as sf
import torch

from mst.adapt import Adaptation
from mst.audio import AudioPreprocessor
from mst.images import build_dataset_folder_structure
from mst.opening import AUDIO_FORMATS, AUDIO_SUFFIXES, as_channels, as_sound, open_sound
from mst.sound import encode_style_clip, load_transfer, open_output, restyle, transfer_file

pytestmark = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
RATE, N = 44_100, 178_560
ap = AudioPreprocessor()


def ffmpeg(*arguments):
    """What FFmpeg writes to standard output."""
    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def tune():
    """Four seconds of notes at 44.1 kHz, peak .27."""
    t = np.arange(N) / RATE
    x = sum(np.sin(2 * np.pi * f * t) * np.exp(-3 * (t % .5)) for f in (262, 330, 392))
    return (.27 * x / np.abs(x).max()).astype(np.float32)


@pytest.fixture(scope="module")
def plain(tune, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "plain.wav"
    sf.write(path, tune, RATE)
    return path


@pytest.fixture(scope="module")
def encoded(plain):
    """The path of the tune in the format of a suffix."""
    def encode(suffix, *options):
        path = plain.with_name(f"p.{suffix}")
        if not path.exists():
            ffmpeg("-i", plain, *options, path)
        return path
    return encode


@pytest.fixture(scope="module")
def violin():
    return load_transfer("violin", "cpu")


def samples(path):
    with open_sound(path) as f:
        return f.read(dtype="float32")


def zero_size(data):
    """A wav file whose recorder crashed before it wrote the sizes."""
    at = data.find(b"data") + 4
    return data[:4] + bytes(4) + data[8:at] + bytes(4) + data[at + 4:]


# ---------------------------------------------------------------- all of it

@pytest.mark.parametrize("suffix", ["mp3", "ogg", "opus", "flac", "m4a", "aac", "aiff", "webm",
                                    "wma", "mp4", "mka", "au", "caf", "w64", "wv"])
def test_every_format_is_played_whole(encoded, plain, tune, suffix):
    path = encoded(suffix)
    with open_sound(path) as f:
        assert f.cut == "" and abs(f.frames / f.samplerate - N / RATE) < .06
    audio, reference = ap.load_audio(path)[0], ap.load_audio(plain)[0]
    shift = {"wma": 10}.get(suffix, 3)  # dB
    assert abs(20 * np.log10(audio.std() / reference.std())) < shift
    assert path.suffix in AUDIO_SUFFIXES


def test_an_mp3_from_a_pipe(plain):
    path = plain.with_name("piped.mp3")
    path.write_bytes(ffmpeg("-i", plain, "-c:a", "libmp3lame", "-q:a", "2", "-f", "mp3", "-"))
    with open_sound(path) as f:
        assert N <= f.frames <= N + 2304 and f.cut == ""


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "opus", "flac", "aac"])
def test_files_one_after_another(encoded, suffix):
    path = encoded(suffix).with_name(f"chain.{suffix}")
    path.write_bytes(encoded(suffix).read_bytes() * 3)
    lost = .12 if suffix == "flac" else .03  # of the last packets before a join, by FFmpeg
    with open_sound(path) as f:
        assert (1 - lost) * 3 * N / RATE < f.frames / f.samplerate < 1.03 * 3 * N / RATE
    assert len(ap.load_audio(path)[0]) / 22_050 == pytest.approx(f.frames / f.samplerate, abs=1e-3)


def test_links_of_other_rates_and_channels(encoded, plain):
    path = plain.with_name("mixed.ogg")
    other = ffmpeg("-i", plain, "-ar", 48_000, "-ac", 2, "-f", "ogg", "-c:a", "libvorbis", "-")
    path.write_bytes(encoded("ogg").read_bytes() + other)
    with open_sound(path) as f:
        assert (f.samplerate, f.channels) == (RATE, 1) and abs(f.frames - 2 * N) < 2000


def test_a_wav_without_a_size(plain, tune):
    path = plain.with_name("zero.wav")
    path.write_bytes(zero_size(plain.read_bytes()))
    assert np.array_equal(samples(path), samples(plain))
    path.write_bytes(ffmpeg("-i", plain, "-f", "wav", "-"))  # the largest size
    assert np.array_equal(samples(path), samples(plain))


def test_a_flac_without_a_length(plain):
    path = plain.with_name("piped.flac")
    path.write_bytes(ffmpeg("-i", plain, "-f", "flac", "-"))
    assert np.array_equal(samples(path), samples(plain))


def test_a_flac_longer_than_its_header_says(encoded, plain):
    data = bytearray(encoded("flac").read_bytes())
    data[22:26] = (N // 2).to_bytes(4, "big")  # of the 36 bits, of which the first are 0
    path = plain.with_name("longer.flac")
    path.write_bytes(data)
    assert sf.info(path).frames == N // 2
    assert np.array_equal(samples(path), samples(plain))


def test_a_title_is_no_complaint(encoded, tmp_path):
    """FFmpeg prints names and tags beside its errors."""
    path = tmp_path / "No space left on device.m4a"
    ffmpeg("-i", encoded("m4a"), "-c", "copy", "-metadata", "title=No space left on device", path)
    with open_sound(path) as f:
        assert not f.cut and f.frames > N - 3000


def test_no_room_for_samples(tmp_path, monkeypatch):
    """FFmpeg may say so and end with 0: what it wrote still lay in its buffer."""
    stub, sound = tmp_path / "bin" / "ffmpeg", tmp_path / "sound.m4a"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\n"
                    "echo '[out#0] [error] Error writing trailer: No space left on device' >&2\n")
    stub.chmod(0o755)
    sound.write_bytes(bytes(64))
    monkeypatch.setenv("PATH", str(stub.parent), prepend=":")
    with pytest.raises(ValueError, match="sound.m4a: there is no room for what .*TMPDIR"):
        with open_sound(sound):
            pass


def test_no_room_for_what_comes_and_goes_by_pipes(monkeypatch):
    """Which is kept in the folder for temporary files meanwhile."""
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("mst.opening.shutil.copyfileobj", full)
    monkeypatch.setattr("sys.stdin", type("Input", (), {"buffer": io.BytesIO(b"RIFF")}))
    with pytest.raises(OSError, match="standard input: there is no room for what .*TMPDIR"):
        with open_sound("-"):
            pass
    with pytest.raises(OSError, match="standard output: there is no room for what .*TMPDIR"):
        with open_output("-"):
            full()


def test_a_wav_with_much_behind_its_sound(plain, encoded, monkeypatch):
    mp3 = encoded("mp3")
    path, extra = plain.with_name("tagged.wav"), b"id3 " + struct.pack("<I", 90_000) + bytes(90_000)
    path.write_bytes(plain.read_bytes() + extra)
    assert np.array_equal(samples(path), samples(plain))
    monkeypatch.setenv("PATH", "")
    assert np.array_equal(samples(path), samples(plain))
    with pytest.raises(RuntimeError, match="p.mp3: needs ffmpeg to be read; install it"):
        ap.load_audio(mp3)


@pytest.mark.parametrize("suffix, share, line", [
    ("wav", .5, "2.0 of 4.0 s"), ("flac", .5, "1.7 of 4.0 s"), ("mp3", .5, "2.0 of 4.0 s"),
    ("aiff", .25, "1.0 of 4.0 s"), ("webm", .5, "2.0 of 4.1 s"), ("au", .5, "2.0 of 4.0 s"),
    ("wma", .5, "2.0 of 4.1 s"), ("m4a", .6, "of 4.0 s"), ("w64", .9, "3.6 of 4.0 s")])
def test_a_file_that_is_cut_short_says_so(encoded, plain, capfd, suffix, share, line):
    path = plain.with_name(f"half.{suffix}")
    whole = ffmpeg("-i", plain, "-movflags", "+faststart", path) or path.read_bytes() \
        if suffix == "m4a" else encoded(suffix).read_bytes()
    path.write_bytes(whole[:int(share * len(whole))])
    with open_sound(path) as f:
        assert line in f.cut and 0 < f.frames < N * f.samplerate / RATE
    error = capfd.readouterr().err
    assert error == f"{f.cut}\n" and error.startswith(f"{path}: cut short, ")


def test_what_does_not_say_its_length_is_not_called_short(encoded, plain, capfd):
    path = plain.with_name("half.ogg")
    path.write_bytes(encoded("ogg").read_bytes()[:9000])
    with open_sound(path) as f:
        assert f.cut == "" and f.frames
    assert capfd.readouterr().err == ""


def test_a_probe_that_hangs_is_done_without(plain, encoded, monkeypatch):
    probed = []
    def run(command, *args, run=subprocess.run, **options):
        if command[0] == "ffprobe":
            probed.append(command)
            raise subprocess.TimeoutExpired(command, 60)
        return run(command, *args, **options)
    monkeypatch.setattr("subprocess.run", run)
    with open_sound(encoded("m4a")) as f:
        assert probed and abs(f.frames - N) < 2048


@pytest.mark.parametrize("suffix, late", [
    ("mp4", 0), ("mkv", 1), ("wma", 0), ("avi", 0), ("mka", 1)])
def test_a_film_whose_sound_is_shorter_is_whole(plain, suffix, late):
    """Also where it begins late, and where all that is told is how long the film is."""
    film = plain.with_name(f"film{late}.{suffix}")
    picture = () if suffix == "mka" else ("-f", "lavfi", "-i", "testsrc=d=8:s=32x32")
    ffmpeg(*picture, "-itsoffset", late, "-i", plain, film)
    with open_sound(film) as f:
        assert f.cut == "" and abs(f.frames - N) < 2048


def test_a_length_that_was_only_carried_along(plain, encoded):
    """FFmpeg writes a webm's length into what is cut out of it."""
    part = plain.with_name("part.ogg")
    ffmpeg("-i", encoded("webm"), "-t", 2, part)
    with open_sound(part) as f:
        assert f.cut == "" and abs(f.frames - 2 * f.samplerate) < 2048


@pytest.mark.parametrize("options", [
    ("-ar", "22050", "-c:a", "adpcm_ima_wav"), ("-ar", "22050", "-c:a", "adpcm_ms")])
def test_a_number_in_a_header_that_is_no_length(plain, options):
    """libsndfile would have another number of bytes in a second."""
    path = plain.with_name(f"{options[-1]}.wav")
    ffmpeg("-i", plain, *options, path)
    with open_sound(path) as f:
        assert f.cut == "" and abs(f.frames - N / 2) < 2048


def test_too_loud_for_16_bits(plain, tune):
    loud = plain.with_name("loud.wv")
    sf.write(plain.with_name("loud.wav"), 9 * tune, RATE, "FLOAT")
    ffmpeg("-i", plain.with_name("loud.wav"), loud)
    assert np.abs(samples(loud) - 9 * tune).max() < 1e-5


# ---------------------------------------------------------------- the same from every reader

def header(rate, value=.1, channels=1):
    data = np.full(4000, value, "<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, channels, rate, 4 * rate % 2**32, 4, 32)
    return (b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + form
            + b"data" + struct.pack("<I", len(data)) + data)


BAD = {"rate1.wav": (header(1), "its header says 1 samples in a second"),
       "rate2.wav": (header(2**31 - 1), "its header says 2147483647 samples in a second"),
       "loud.wav": (header(RATE, 1e25), "holds samples of up to 1e+25, which is no sound"),
       "nan.wav": (header(RATE, np.nan), "holds samples that are not finite numbers"),
       "inf.wav": (header(RATE, -np.inf), "holds samples that are not finite numbers"),
       "none.wav": (header(RATE)[:44], "holds no sound"),
       "empty.mp3": (b"", "the file is empty"),
       "text.flac": (b"no music " * 99, "cannot be decoded"),
       "six.wav": (header(RATE, channels=6), "has 6 channels"),
       "list.mp3": (b"#EXTM3U\nplain.wav\n", "cannot be decoded")}


@pytest.mark.parametrize("name", BAD)
def test_one_line_from_every_reader(tmp_path, capsys, violin, name):
    (tmp_path / "songs/harp").mkdir(parents=True)
    path = tmp_path / "songs/harp" / name
    path.write_bytes(BAD[name][0])
    lines = []
    for reader in (lambda: ap.load_audio(path), lambda: open_sound(path).__enter__(),
                   lambda: encode_style_clip(violin.ldm, path),
                   lambda: transfer_file(path, tmp_path / "new/out.wav", violin, progress=False)):
        with pytest.raises(ValueError) as error:
            reader()
        lines.append(str(error.value))
    assert len(set(lines)) == 1 and "\n" not in lines[0]
    assert lines[0].startswith(f"{path}: ") and BAD[name][1] in lines[0]
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="none of the recordings can be used"):
        build_dataset_folder_structure(tmp_path / "songs", tmp_path / "images")
    assert f"skipped harp/{lines[0].removeprefix(f'{path.parent}/')}\n" in capsys.readouterr().out


def test_a_wav_whose_last_note_is_cut(plain):
    """Of what stands behind the sound, which is whole."""
    path = plain.with_name("tagged.wav")
    size = 400_000
    whole = plain.read_bytes()
    path.write_bytes(whole[:4] + (len(whole) + size).to_bytes(4, "little") + whole[8:]
                     + b"id3 " + size.to_bytes(4, "little") + bytes(50))
    with open_sound(path) as f:
        assert f.cut == "" and abs(f.frames - N) < 2048


def test_a_film_without_sound_and_an_unknown_format(tmp_path):
    ffmpeg("-f", "lavfi", "-i", "testsrc=d=1:s=32x32", tmp_path / "silent.mp4")
    with pytest.raises(ValueError, match="silent.mp4: cannot be decoded .it has no sound track"):
        ap.load_audio(tmp_path / "silent.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=d=1", "-f", "nut", tmp_path / "song.nut")
    with pytest.raises(ValueError, match="its format is none of mp3, wav, "):
        ap.load_audio(tmp_path / "song.nut")


def test_the_formats_have_no_playlist_and_are_known_to_ffmpeg():
    known = {name for line in ffmpeg("-demuxers").decode().splitlines()
             for name in (line.split() + [""] * 2)[1].split(",")}
    assert set(AUDIO_FORMATS) <= known
    assert not set(AUDIO_FORMATS) & {"concat", "hls", "dash", "image2", "tty", "data"}


# ---------------------------------------------------------------- what is no plain file

def test_folders_and_what_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="is a folder; name a recording in it"):
        ap.load_audio(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such recording"):
        ap.load_audio(tmp_path / "a.wav")
    with pytest.raises(FileNotFoundError, match="no such recording"):
        ap.load_audio("a\0b.wav")


def test_a_pipe_with_a_name_and_one_without(plain, tmp_path, tune):
    os.mkfifo(tmp_path / "fifo")
    threading.Thread(target=(tmp_path / "fifo").write_bytes, args=[plain.read_bytes()]).start()
    assert np.array_equal(samples(tmp_path / "fifo"), samples(plain))
    out, into = os.pipe()
    def write():
        with open(into, "wb") as f:
            f.write(plain.read_bytes())
    threading.Thread(target=write).start()
    assert np.array_equal(samples(f"/dev/fd/{out}"), samples(plain))
    os.close(out)


def test_a_style_from_a_pipe_is_read_once_and_learned(plain, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    threading.Thread(target=(tmp_path / "fifo").write_bytes, args=[plain.read_bytes()]).start()
    few = Adaptation(steps=1, pairs=1)
    piped, known = (load_transfer(path, "cpu", adaptation=few)
                    for path in (tmp_path / "fifo", plain))
    assert torch.equal(piped.style["tokens"], known.style["tokens"])
    weights = [transfer.ready().unet.leave.weight for transfer in (piped, known)]
    assert torch.allclose(*weights)


def test_what_is_not_heard_is_not_learned(plain, violin):
    few = Adaptation(steps=1, pairs=1)
    weights = [load_transfer(plain, "cpu", "harp", mix, few).ready().unet.leave.weight
               for mix in (.5, 1.)]
    assert torch.equal(weights[1], violin.ldm.unet.leave.weight)
    assert not torch.equal(weights[0], weights[1])


def test_standard_input(plain, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(plain.read_bytes())))
    assert np.array_equal(samples("-"), samples(plain))
    with pytest.raises(ValueError, match="standard input: the file is empty"):
        ap.load_audio("-")


@pytest.mark.parametrize("name", [b"caf\xe9.wav", b"caf\xe9.mp3", "ä ö.m4a".encode(), b"-x.wav",
                                  b"a:b.ogg", b"%d.flac", b"song.raw", b"song"])
def test_any_name(plain, encoded, tmp_path, violin, name):
    path = tmp_path / os.fsdecode(name)
    suffix = path.suffix[1:] if path.suffix in AUDIO_SUFFIXES else "wav"
    shutil.copy(plain if suffix == "wav" else encoded(suffix), path)
    assert abs(len(ap.load_audio(path)[0]) - N // 2) < 1200
    result = tmp_path / f"{path.stem}_violin.wav"
    transfer_file(path, result, violin, progress=False)
    assert abs(sf.info(os.fsencode(result)).frames - N) < 2400


# ---------------------------------------------------------------- arrays

@pytest.mark.parametrize("kind", ["float64", "float32", "int16", "int32", "uint8", "tensor",
                                  "N2", "2N", "1N", "int16 N2"])
def test_arrays_of_every_kind(tune, violin, kind):
    sound = (tune[::2] * 32768).round() / 32768.  # as 16 bits hold it
    sound = sound.astype(np.float64)
    made = {"tensor": torch.from_numpy(sound), "N2": np.stack([sound] * 2, 1),
            "2N": np.stack([sound] * 2), "1N": sound[None], "uint8": (sound * 127 + 128).round(),
            "int16 N2": np.stack([sound] * 2, 1) * 32768, "int16": sound * 32768,
            "int32": sound * 2**31}.get(kind, sound)
    if kind[:3] in ("int", "uin", "flo"):
        made = made.astype(kind.split()[0])
    heard, eps = as_sound(made), .01 if kind == "uint8" else 1e-4
    assert heard.dtype == np.float32 and np.abs(heard - sound).max() < eps
    tokens = encode_style_clip(violin.ldm, made)
    expected = encode_style_clip(violin.ldm, sound.astype(np.float32))
    if kind != "uint8":
        assert all(torch.allclose(tokens[k], expected[k], atol=.05) for k in tokens)
    assert np.abs(ap.trim_silence(made) - ap.trim_silence(sound))[:1000].max() < eps
    if kind not in ("2N", "N2", "int16 N2"):
        assert ap.get_mel_spectrogram(made[0] if kind == "1N" else made).shape == (128, 175)


def test_a_content_as_soundfile_reads_it(tune, violin):
    tune = np.round(tune * 32768) / np.float32(32768)
    expected = np.concatenate(list(restyle(lambda: [tune[:, None]], RATE, 1, violin)))
    for block in (tune, tune.astype(float), np.round(tune * 32768).astype(np.int16)):
        result = np.concatenate(list(restyle(lambda: [block], RATE, 1, violin)))
        assert result.shape == expected.shape and np.abs(result - expected).max() < .01
    stereo = np.stack([tune, tune])
    shapes = {np.concatenate(list(restyle(lambda: [block], RATE, 2, violin))).shape
              for block in (stereo, stereo.T)}
    assert shapes == {(N, 2)}


@pytest.mark.parametrize("array, message", [
    (np.zeros((6, 100)), r"not of shape \[6, 100\]"), (np.zeros((2, 3, 4)), "not of shape"),
    (np.array(["a"]), "made of numbers"), (np.zeros(9, complex), "made of numbers"),
    (np.zeros(0), "no sound"), (np.full(9, np.nan), "not finite"), (np.float64(3), "not of shape"),
    (np.full(9, 1e30), "no sound"), (np.full(9, 1e300), "no sound"), (None, "made of numbers")])
def test_arrays_that_are_no_sound(array, message):
    with pytest.raises(ValueError, match=message) as error:
        as_sound(array)
    assert "\n" not in str(error.value)


def test_channels_are_said(tune):
    with pytest.raises(ValueError, match=r"sounds \[B, N\] are needed"):
        ap.get_mel_spectrogram(np.stack([tune] * 2, 1))
    with pytest.raises(ValueError, match="has 2 channels, not 1"):
        as_channels(np.stack([tune] * 2, 1), 1)
