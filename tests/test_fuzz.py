"""Whatever stands in a file or a configuration: it works, or one line says what is wrong; no hang,
no other file touched."""
import csv
import io
import json
import shutil
import signal
import struct
import subprocess
import zlib
from contextlib import contextmanager
from dataclasses import fields

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

import torch
from mst.audio import AUDIO_LIMITS, AudioConfig, AudioPreprocessor
from mst.data import SpectrogramPairDataset, read_image
from mst.download import read_url_csv, safe_name
from mst.images import UnusableRecording, audio_to_images, load_usable_audio
from mst.opening import open_sound
from mst.run import Run
from mst.scores import read_scores
from mst.autoencoder import AutoencoderConfig
from mst.ldm import DiffusionConfig, LDMConfig
from mst.residual import UNetConfig
from mst.checkpoints import config_from_dict, load_tensors

def random_inputs(few, many):
    return (pytest.mark.parametrize(
    "examples",
    [pytest.param(few, id="few"), pytest.param(many, id="many", marks=pytest.mark.long)]))
def often(examples):
    return (settings(max_examples=examples, deadline=None, database=None, derandomize=True,
                                  suppress_health_check=list(HealthCheck)))


class Hangs(BaseException):
    "A minute is over."


def stop(*_): raise Hangs


@contextmanager
def one_clear_line(folder, *names):
    """The block works, or raises an error of one line with one of `names` in it, within a minute;
    `folder` stays as it is."""
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    try:
        yield
    except (ValueError, OSError) as error:
        assert any(name in str(error) for name in names) and "\n" not in str(error), repr(error)
    finally:
        signal.alarm(0)
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


@st.composite
def damaged(draw, *originals):
    "One of the originals, with a few places cut out, written over or filled in."
    data = bytearray(draw(st.sampled_from(originals)))
    for at, length, new in draw(
        st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=40)), max_size=4)
    ):
        at = int(at * len(data))
        data[at:at + length] = new
    return bytes(data)


cells = st.one_of(st.text(max_size=12), st.sampled_from([
    "", "piano", "0", "1", "-1", "٣", "9" * 5000, "a" * 300, "../x", "/etc/x", '"', "\0",
    "http://x/a.mp3", "file:///x", "melody",
    "two_voice", "train", "smoke", "0 1", "18"]))


def tables(*header):
    "The bytes of a CSV file: well formed, damaged, or anything."
    rows = st.lists(st.lists(cells, min_size=len(header), max_size=len(header)), max_size=4)
    well = rows.map(lambda rows: "\n".join(",".join('"' + c.replace('"', '""') + '"' for c in r)
                                           for r in [header, *rows] if r))
    good = well.map(lambda text: text.encode(errors="replace"))
    return st.one_of(good, good.flatmap(damaged), st.binary(max_size=200))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "neighbour.txt").write_text("as it was")
    return tmp_path


@random_inputs(60, 4000)
def test_table_of_addresses(folder, examples):
    @often(examples)
    @given(tables("instrument", "title", "url"))
    @example(b'"instrument\n","b"\n')
    def check(data):
        (folder / "urls.csv").write_bytes(data)
        with one_clear_line(folder, "urls.csv"):
            for row in read_url_csv(folder / "urls.csv"):
                for name in (safe_name(row.instrument), safe_name(row.title)):
                    assert (folder / name).parent == folder
                    assert name not in (".", "..")
                    assert len(name.encode()) <= 120
    check()


SCORE = ("piece", "source", "kind", "voices", "transpose", "tempo", "seconds", "split", "profile")
ROW = ("air", "bach/bwv1.6.mxl", "melody", "0", "0", "90", "18", "train", "smoke")


@random_inputs(60, 4000)
def test_table_of_scores(folder, examples):
    changed = st.tuples(st.integers(0, 8),
                        cells).map(lambda c: [*ROW[:c[0]], c[1], *ROW[c[0] + 1:]])
    def as_csv(rows):
        csv.writer(text := io.StringIO()).writerows([SCORE, *rows])
        return text.getvalue().encode(errors="replace")

    @often(examples)
    @given(st.one_of(tables(*SCORE), st.lists(changed, max_size=3).map(as_csv)))
    @example(as_csv([ROW])[:-1] + b"\xff")
    @example(b'"piece')
    @example(as_csv([[*ROW[:6], "9" * 12, *ROW[7:]]]))
    @example(as_csv([["air", "../../secret.abc", *ROW[2:]]]))
    def check(data):
        (folder / "scores.csv").write_bytes(data)
        with one_clear_line(folder, "scores.csv"):
            for score in read_scores(folder / "scores.csv"):
                assert "/" not in score.piece and ".." not in score.source and score.seconds <= 3600
    check()


@random_inputs(60, 3000)
def test_pairs(folder, examples):
    for label in ("harp", "piano"):
        (folder / label).mkdir()
        Image.new("L", (130, 128)).save(folder / label / "a_chunk0.png")

    @often(examples)
    @given(st.one_of(tables("harp", "0", "piano", "0"),
                     damaged(b"harp,0,piano,0\npiano,0,harp,0\n")))
    @example(b"harp,0,piano," + b"9" * 5000)
    @example(b"harp,0,piano,\xff")
    @example(b'harp,0,"piano')
    def check(data):
        (folder / "pairs.csv").write_bytes(data)
        with one_clear_line(folder, "pairs.csv"):
            for (image, label), _ in SpectrogramPairDataset(folder, folder / "pairs.csv"):
                assert image.shape == (1, 128, 128) and label in ("harp", "piano")
    check()


def png(size, depth, colour, method, chunks):
    "A PNG file whose checksums are right, whatever its chunks hold."
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, colour, *method))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*c) for c in chunks) + chunk(b"IEND", b"")


@random_inputs(60, 4000)
def test_images(folder, examples):
    for name, mode in (("grey", "L"), ("colour", "RGB"), ("palette", "P"), ("deep", "I;16")):
        Image.effect_noise((130, 128), 50).convert(mode if mode != "I;16" else "L").save(
            folder / f"{name}.png"
        )
    good = [p.read_bytes() for p in sorted(folder.glob("*.png"))]
    Image.new("L", (130, 128)).save(folder / "other.gif")
    sizes = st.tuples(*[st.one_of(st.sampled_from([128, 130]), st.integers(0, 2**32 - 1))] * 2)
    data = st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(zlib.compress),
                     st.just(zlib.compress(bytes(131 * 128))))
    kinds = st.sampled_from(b"IDAT IDAT PLTE tRNS zTXt iCCP gAMA acTL fcTL fdAT eXIf pHYs iTXt "
                            b"sRGB xxxx".split())
    chunks = st.lists(st.tuples(kinds, data), max_size=4)
    made = st.builds(png, sizes, st.sampled_from([1, 2, 4, 8, 16, 3]),
                     st.sampled_from([0, 2, 3, 4, 6, 1]),
                     st.one_of(st.just(bytes(3)), st.binary(min_size=3, max_size=3)), chunks)

    @often(examples)
    @given(st.one_of(made, damaged(*good), st.binary(max_size=99)))
    @example((folder / "other.gif").read_bytes())
    @example(png((60_000, 60_000), 8, 0, bytes(3), [(b"IDAT", b"")]))
    def check(data):
        (folder / "image.png").write_bytes(data)
        with one_clear_line(folder, "image.png"):
            pixels = read_image(folder / "image.png")
            assert data.startswith(b"\x89PNG")
            assert pixels.shape[0] == 128
            assert pixels.shape[1] >= 128
            assert pixels.dtype == np.uint8
    check()


def wav(tag, channels, rate, bits, said, data):
    "A WAV file whose header says anything."
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate, channels * bits // 8 % 65536, bits)
    size = struct.pack("<I", said)
    return b"RIFF" + size + b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + size + data


def number(bits, *usual):
    return st.one_of(st.sampled_from(usual), st.integers(0, 2**bits - 1))


def sound_files(folder):
    "The bytes of a sound file: whole, damaged, cut, joined, with any header, or no such thing."
    tone = 0.3 * np.sin(np.arange(5000) * 0.1)
    suffixes = ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"]
    for suffix in suffixes:
        sf.write(folder / f"tone.{suffix}", tone, 22050)
    if shutil.which("ffmpeg"):
        for suffix in ("m4a", "webm", "wma", "aac", "opus", "wv", "amr", "ac3", "ts", "avi"):
            rate = 8000 if suffix == "amr" else 48000
            done = subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", folder / "tone.wav",
                                   "-ar", str(rate), folder / f"tone.{suffix}"],
                                  capture_output=True)
            suffixes += [suffix] * (done.returncode == 0)  # no encoder of amr
    good = [(folder / f"tone.{suffix}").read_bytes() for suffix in suffixes]
    samples = st.one_of(st.binary(max_size=400), st.binary(max_size=8).map(lambda b: 1000 * b))
    made = st.builds(wav, number(16, 1, 3, 6, 7, 17, 85, 65534), number(16, 1, 2),
                     number(32, 22050, 44100, 1, 2**31 - 1), number(16, 8, 16, 24, 32, 64),
                     number(32, 400, 8000, 0), samples)
    one = st.one_of(made, st.sampled_from(good), damaged(*good))
    cut = st.tuples(one, st.floats(0, 1)).map(lambda c: c[0][:int(c[1] * len(c[0]))])
    joined = st.lists(one, min_size=2, max_size=3).map(b"".join)
    return st.one_of(made, damaged(*good), damaged(*good), cut, joined, st.binary(max_size=99))


suffixes = st.sampled_from(["wav", "mp3", "m4a", "raw", "flac"])


@random_inputs(60, 20_000)
def test_opening(folder, examples):
    data = sound_files(folder)

    @often(examples)
    @given(data, suffixes)
    @example(wav(1, 1, 1, 16, 8000, bytes(8000)), "wav")
    @example(wav(1, 1, 2**31 - 1, 16, 8000, bytes(8000)), "wav")
    @example(wav(1, 1, 44100, 16, 0, bytes(8000)), "wav")
    @example(wav(3, 1, 22050, 32, 40_000, np.full(10_000, 1e25, "<f4").tobytes()), "wav")
    @example(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ntone.mp3\n#EXT-X-ENDLIST\n", "mp3")
    @example(b"ffconcat version 1.0\nfile tone.wav\n", "mp3")
    def check(data, suffix):
        (path := folder / f"sound.{suffix}").write_bytes(data)
        with one_clear_line(folder, path.name):
            with open_sound(path) as f:
                assert 1000 <= f.samplerate <= 10**6 and f.channels in (1, 2)
                sound = f.read(dtype="float32", always_2d=True)
            assert 0 < len(sound) == f.frames and np.abs(sound).max() <= 1e6
            assert "\n" not in f.cut and (not f.cut or f.cut.startswith(f"{path}: cut short, "))
            assert not data.startswith((b"#EXTM3U", b"ffconcat"))  # these would play the neighbours
    check()


@random_inputs(25, 1000)
def test_recordings(folder, examples):
    data, ap = sound_files(folder), AudioPreprocessor()

    @often(examples)
    @given(data, suffixes)
    @example(wav(1, 1, 1, 16, 8000, bytes(80_000)).replace(b"WAVEfmt " + struct.pack("<I", 16),
                                                           b"WAVEfmt " + struct.pack("<I", 17)),
             "wav")
    def check(data, suffix):
        (path := folder / f"sound.{suffix}").write_bytes(data)
        with one_clear_line(folder, path.name):
            audio, rate = ap.load_audio(path)
            assert audio.ndim == 1
            assert audio.dtype == np.float32
            assert rate == 22050
            assert np.abs(audio).max() <= 1e7
        with one_clear_line(folder, ""):
            try:
                audio = load_usable_audio(path, ap, trim=True)
            except UnusableRecording:
                return
            assert all(image.size == (130, 128) for image in audio_to_images(audio, max_duration=9))
    check()


in_line = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=9)
values = st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(),
                                st.text(max_size=9),
                                st.sampled_from([0, 1, -1, 2**70, 128])),
                      lambda v: st.lists(v, max_size=3) | st.dictionaries(in_line, v, max_size=3),
                      max_leaves=6)


@random_inputs(80, 3000)
def test_audio_configurations(folder, examples):
    usual = {name: st.one_of(values, st.floats(low, min(high, 4096)) if isinstance(low, float)
                             else st.integers(low, min(high, 4096)))
             for name, (low, high) in AUDIO_LIMITS.items()}

    @often(examples)
    @given(st.fixed_dictionaries({}, optional=usual))
    @example({"hop_length": 0})
    @example({"sample_rate": True})
    @example({"chunk_seconds": float("nan")})
    def check(changes):
        with one_clear_line(folder, *changes):
            config = AudioConfig(**changes)
            assert config.chunk_samples > 0 and config.chunk_frames > 0
    check()


@random_inputs(60, 1000)
def test_runs(folder, examples, monkeypatch):
    monkeypatch.delenv("MST_PROFILE", raising=False)
    names = {"preset": ["mst", "report"], "profile": ["smoke", "quick"],
             "device": ["cpu", "auto", "cuda", "cuda:99", "meta"],
             "seed": [0, 1, True], "data": ["", "~nobody", "a\0b", str(folder)]}
    some = {name: st.one_of(st.sampled_from(usual), values) for name, usual in names.items()}

    @often(examples)
    @given(st.fixed_dictionaries({}, optional=some))
    @example({"seed": 2**64})
    @example({"data": "~nobody"})
    @example({"data": "a\0b"})
    @example({"data": "a" * 300})
    @example({"device": "meta"})
    def check(parameters):
        with one_clear_line(folder, *parameters):
            Run.start(**parameters)
    check()


@random_inputs(60, 3000)
def test_model_configurations(folder, examples):
    names = st.sampled_from(
        [
            f.name
            for c in (LDMConfig, AutoencoderConfig, DiffusionConfig, UNetConfig)
            for f in fields(c)
        ]
    )
    known = st.dictionaries(names, st.one_of(values, st.dictionaries(names, values, max_size=3)),
                            max_size=3)

    @often(examples)
    @given(st.one_of(known, values))
    def check(config):
        with one_clear_line(folder, "ldm.safetensors"):
            config_from_dict(LDMConfig, config, "ldm.safetensors")
    check()


def test_name_with_a_line_break(folder):
    with one_clear_line(folder, "ldm.safetensors"):
        config_from_dict(LDMConfig, {"a\nb": 1}, "ldm.safetensors")


@random_inputs(60, 3000)
def test_checkpoints(folder, examples):
    good = save({"weight": torch.ones(2, 3)}, {"info": json.dumps({"config": {}})})
    entry = st.fixed_dictionaries(
        {"dtype": st.sampled_from(["F32", "I8", "BOOL", "F8_E4M3", "x"]),
         "shape": st.lists(st.integers(0, 2**63), max_size=3),
         "data_offsets": st.lists(st.integers(0, 40), min_size=2, max_size=2)})
    metadata = st.fixed_dictionaries({"info": st.text(max_size=20)})
    names = st.sampled_from(["a", "__metadata__"])
    head = st.one_of(values, st.dictionaries(names, st.one_of(values, entry, metadata)))

    def file(header, data, longer):
        text = json.dumps(header).encode()
        return struct.pack("<Q", (len(text) + longer) % 2**64) + text + data

    @often(examples)
    @given(st.one_of(st.builds(file, head, st.binary(max_size=40),
                               st.sampled_from([0, 0, 0, 1, -1, 2**40, 2**63])), damaged(good),
                     st.binary(max_size=60)))
    @example(save({}, {"info": "[" * 100_000}))
    @example(save({}, {"info": "null"}))
    @example(save({}))
    def check(data):
        (folder / "model.safetensors").write_bytes(data)
        with one_clear_line(folder, "model.safetensors"):
            tensors, info = load_tensors(folder / "model.safetensors")
            assert isinstance(info, dict)
    check()
