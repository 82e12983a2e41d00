"""What people have and write, given to the commands: used, named, or refused in a line."""
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import soundfile as sf

from mst import commands, sound
from mst.audio import AUDIO_PRESETS
from mst.commands import build_main, download_main, evaluate_main, main, run_command, train_main
from mst.evaluate import ImageJudge
from mst.files import WriteError, atomic_path
from mst.hearing import SoundJudge
from mst.images import build_dataset_folder_structure, find_recordings
from mst.run import Run, choose_device, project_root
from mst.sound import load_transfer

needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
TUNE = (.1 * np.random.default_rng(0).standard_normal(20_000)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with half a second of sound."""
    sf.write(tmp_path / "in.wav", TUNE, 44_100)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def networks():
    return load_transfer("violin", "cpu")


@pytest.fixture
def play(folder, capfd, monkeypatch, networks):
    """Exit status and standard error of `mst_transfer` to the violin, whose networks are loaded."""
    monkeypatch.setattr(commands, "load_transfer", lambda *args, **options: networks)

    def run(*arguments):
        status = main([*map(str, arguments), "--style", "violin", "--quiet"])
        return status, capfd.readouterr().err
    return run


def files(folder):
    return sorted(os.fsencode(p.relative_to(folder)).decode("latin-1")
                  for p in folder.rglob("*") if not p.is_dir())


# ---------------------------------------------------------------- builds

def convert(source, *targets):
    for target in targets:
        subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", source, target], check=True)


@needs_ffmpeg
def test_a_build_uses_what_transfer_plays_and_names_the_rest(folder, capsys):
    harp, viol = folder / "songs/harp", folder / "songs/viol"
    (harp / "album/cd 2").mkdir(parents=True)
    viol.mkdir()
    names = [f"{suffix}.{suffix}" for suffix in ("aiff", "webm", "wma", "aac", "mp4", "mka", "wv")]
    convert("in.wav", *(harp / name for name in names))
    for name in ("song.WAV", "album/cd 2/far.wav", ".hidden.wav", "../top.wav"):
        shutil.copy("in.wav", harp / name)
    for name in ("notes.txt", "cover.jpg", "song"):
        (harp / name).write_text("no sound")
    (viol / "bad.mp3").write_text("no sound")
    (harp / "gone.wav").symlink_to("nothing.wav")
    assert build_main(["songs", "-o", "images", "--no-balance", "--seconds", ".3"]) == 0
    images = {p.name.split("_chunk")[0] for p in (folder / "images/harp").glob("*.png")}
    assert images == {*(name.split(".")[0] for name in names), "song"}
    lines = {line.split(":")[0] for line in capsys.readouterr().out.splitlines()
             if line.startswith("skipped")}
    assert lines == {f"skipped {name}" for name in (
        "harp/notes.txt", "harp/cover.jpg", "harp/song", "harp/album/cd 2/far.wav", "top.wav",
        "viol/bad.mp3", "harp/gone.wav")}


def test_nothing_left_to_build_is_2(folder, capsys):
    (folder / "songs/harp/album").mkdir(parents=True)
    (folder / "songs/harp/a.mp3").write_text("no sound")
    shutil.copy("in.wav", folder / "songs/harp/album")
    assert build_main(["songs", "-o", "images"]) == 2
    said = capsys.readouterr()
    assert said.out.count("skipped harp/") == 2
    assert said.err.count("\n") == 1 and "songs: none of the recordings can be used" in said.err
    (folder / "songs/harp/a.mp3").unlink()
    assert build_main(["songs", "-o", "images"]) == 2
    said = capsys.readouterr()
    assert said.out == ("skipped harp/album/in.wav: lies in a folder further down; move it into "
                        "harp\n")
    assert said.err.startswith("mst_build_dataset: songs: no recordings ")


def test_a_recording_too_short_to_be_used_alone_is_2(folder, capsys):
    (folder / "songs/harp").mkdir(parents=True)
    sf.write(folder / "songs/harp/a.wav", TUNE[:50], 44_100)
    sf.write(folder / "songs/harp/b.wav", 0 * TUNE, 44_100)
    assert build_main(["songs", "-o", "images"]) == 2
    assert "a.wav: too short" in (out := capsys.readouterr().out) and "b.wav: silent" in out


def test_a_shard_with_nothing_to_use_is_none_of_its_faults(folder):
    (folder / "songs/harp").mkdir(parents=True)
    (folder / "songs/harp/a.mp3").write_text("no sound")
    for shard in ("1/2", "2/2"):
        assert build_main(["songs", "-o", "images", "--shard", shard]) == 0


def test_recordings_by_name_are_no_others(folder):
    (folder / "songs/harp").mkdir(parents=True)
    for name in ("a.wav", "a.txt", "b.txt"):
        shutil.copy("in.wav", folder / "songs/harp" / name)
    assert [r[1] for r in (find_recordings("songs", {"a"}), find_recordings("songs"))][0] == []
    assert len(find_recordings("songs")[1]) == 2


def test_a_half_recording_is_named_in_a_build(folder, capsys):
    (folder / "songs/harp").mkdir(parents=True)
    data = (folder / "in.wav").read_bytes()
    (folder / "songs/harp/half.wav").write_bytes(data[:len(data) // 2])
    build_dataset_folder_structure("songs", "images")
    assert "songs/harp/half.wav: cut short, 0.2 of 0.5 s can be read" in capsys.readouterr().err


# ---------------------------------------------------------------- options and devices

@pytest.mark.parametrize("command, arguments, reason", [
    (train_main, ["vocoder", "--data", "songs"], "--data: the vocoder learns from rendered pieces"),
    (train_main, ["autoencoder", "--data", "."], "--data: the autoencoder learns from rendered"),
    (train_main, ["autoencoder", "--autoencoder", "x"], "--autoencoder: this one is trained from"),
    (main, ["in.wav", "--style", "harp", "--mix", ".2"], "--mix is the share of a second style"),
    (download_main, [str(project_root() / "data/recordings.csv"), "--codec", "flac"],
     "its files are kept as they are; leave --codec out")])
def test_an_option_without_effect_is_refused(folder, capsys, command, arguments, reason):
    assert command(arguments) == 2
    error = capsys.readouterr().err
    assert reason in error and error.count("\n") == 1
    assert files(folder) == ["in.wav"]


@pytest.mark.parametrize("arguments, reason", [
    (["--adapt", "-1"], "'-1' is not a whole number, 0 or more"),
    (["--guidance", "0"], "'0' is neither a finite number above 0 nor auto"),
    (["--guidance", "-1"], "nor auto"), (["--guidance", "nan"], "nor auto"),
    (["--guidance", "inf"], "nor auto"), (["--seed", "9" * 20], "not a whole number of at most 63"),
    (["--seed", "1.5"], "not a whole number of at most 63 bits")])
def test_numbers_that_are_refused(folder, capsys, arguments, reason):
    with pytest.raises(SystemExit) as end:
        main(["in.wav", "--style", "violin", *arguments])
    assert end.value.code == 2 and reason in capsys.readouterr().err


def test_a_seed_too_long_in_python():
    with pytest.raises(ValueError, match="seed must be a whole number of at most 63 bits"):
        load_transfer("violin", "cpu", seed=10**20)


@pytest.mark.parametrize("device, reason", [
    ("cuda", "torch sees"), ("cuda:99", "torch sees"), ("mps:7", "known are cpu, cuda, auto"),
    ("meta", "unknown device 'meta'"), ("abacus", "unknown device 'abacus'"), ("cpu:9", "torch")])
def test_one_function_chooses_devices(folder, capsys, monkeypatch, device, reason):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    for use in (choose_device, lambda d: Run(device=d).torch_device,
                lambda d: load_transfer("violin", d), lambda d: SoundJudge(device=d),
                lambda d: ImageJudge(device=d)):
        with pytest.raises(ValueError, match=reason):
            use(device)
    for command, arguments in ((main, ["in.wav", "--style", "violin"]),
                               (train_main, ["ldm", "--profile", "smoke", "--out", "runs"]),
                               (evaluate_main, ["--profile", "smoke", "--out", "runs"])):
        assert command([*arguments, "--device", device]) == 2
        error = capsys.readouterr().err
        assert reason in error and error.count("\n") == 1
    assert choose_device("auto").type == "cpu"


# ---------------------------------------------------------------- names and places

def test_songs_of_one_name(folder, play):
    for cd in ("cd1", "cd2"):
        (folder / cd).mkdir()
        shutil.copy("in.wav", f"{cd}/song.wav")
    status, error = play("in.wav", "cd1/song.wav", "cd2/song.wav", "-o", folder)
    assert status == 2 and error.startswith("mst_transfer: cd2/song.wav: several results ")
    assert "also that of cd1/song.wav; play them by two calls" in error
    status, error = play("in.wav", "cd1/song.wav", "-o", "out.wav")
    assert status == 2 and error.endswith("-o should name a folder, new/ for a new one\n")
    assert not list(folder.glob("*violin*"))


def test_a_folder_that_is_not_there_yet(folder, play):
    assert play("in.wav", "-o", "new/deep/") == (0, "")
    assert files(folder / "new") == ["deep/in_violin.wav"]


def test_a_refused_content_leaves_no_folder(folder, play):
    (folder / "bad.wav").write_text("no sound")
    status, error = play("bad.wav", "-o", "new/deep/out.wav")
    assert status == 2 and error.count("\n") == 1
    status, error = play("in.wav", "-o", "new/deep/out.xyz")
    assert status == 2 and "the name should end in one of" in error
    assert not (folder / "new").exists()


def test_what_fails_halfway_leaves_no_folder(folder):
    for error in (ValueError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            with atomic_path(folder / "new/deep/out.wav") as part:
                part.touch()
                raise error
    assert not (folder / "new").exists()


@pytest.mark.parametrize("output, reason", [
    ("x" * 252 + ".wav", "the name is too long"), ("y" * 300 + "/a.wav", "the name is too long"),
    ("folder.wav", "is a folder")])
def test_a_place_that_cannot_be_written_is_found_first(folder, monkeypatch, networks, output,
                                                       reason):
    (folder / "folder.wav").mkdir()

    def never(*args):
        raise AssertionError("played")
    monkeypatch.setattr(sound, "restyle", never)
    with pytest.raises(WriteError, match=reason):
        sound.transfer_file("in.wav", output, networks, progress=False)
    assert files(folder) == ["in.wav"]


def test_names_in_latin_1(folder, play, capfd):
    os.mkdir(b"m\xfasica")
    shutil.copy("in.wav", b"m\xfasica/caf\xe9.wav")
    content = os.fsdecode(b"m\xfasica/caf\xe9.wav")
    assert play(content) == (0, "")
    assert play(content, "-o", os.fsdecode(b"m\xfasica/")) == (0, "")
    assert files(folder) == ["caf\xe9_violin.wav", "in.wav", "m\xfasica/caf\xe9.wav",
                             "m\xfasica/caf\xe9_violin.wav"]
    status, error = play(os.fsdecode(b"caf\xe9.mp3"))
    assert status == 2 and "there is no such recording" in error
    (folder / "songs/harp").mkdir(parents=True)
    shutil.copy("in.wav", b"songs/harp/caf\xe9.wav")
    assert build_main(["songs", "-o", "images"]) == 2
    said = capfd.readouterr()
    assert "codec" not in said.err + said.out


@pytest.mark.parametrize("name", ["content", "style"])
def test_a_folder_is_called_a_folder(folder, capsys, name):
    (folder / "songs").mkdir()
    names = {"content": "in.wav", "style": "violin"} | {name: "songs"}
    assert main([names["content"], "--style", names["style"]]) == 2
    assert capsys.readouterr().err == ("mst_transfer: songs: is a folder; name a recording in "
                                       "it\n")


def test_a_pipe_with_a_name(folder, play):
    os.mkfifo("fifo")
    data = (folder / "in.wav").read_bytes()
    threading.Thread(target=(folder / "fifo").write_bytes, args=[data]).start()
    assert play("fifo", "-o", "out.wav") == (0, "")
    assert sf.info("out.wav").frames == len(TUNE)
    read, write = os.pipe()
    def fill():
        with open(write, "wb") as f:
            f.write(data)
    threading.Thread(target=fill).start()
    assert play(f"/dev/fd/{read}", "-o", "other.wav") == (0, "")
    os.close(read)
    assert sf.info("other.wav").frames == len(TUNE)


def test_half_a_file_is_played_and_said(folder, play):
    data = (folder / "in.wav").read_bytes()
    (folder / "half.wav").write_bytes(data[:len(data) // 2])
    assert play("half.wav", "-o", "out.wav") == (0, "half.wav: cut short, 0.2 of 0.5 s can be "
                                                    "read\n")
    assert abs(sf.info("out.wav").frames - 10_000) < 20


def test_the_explorer_says_what_is_cut_short(folder):
    explorer = pytest.importorskip("mst.explorer")
    pytest.importorskip("ipywidgets")
    data = (folder / "in.wav").read_bytes()
    (folder / "half.wav").write_bytes(data[:len(data) // 2])
    assert len(explorer.make_player("in.wav")) == 2
    assert "cut short, 0.2 of 0.5 s" in explorer.make_player("half.wav")[2].value
    assert explorer.spectrogram((TUNE * 32768).astype("int16"))
    assert AUDIO_PRESETS["mst"].sample_rate == 22_050


# ---------------------------------------------------------------- stopped

STOPPED = """
import sys, time
from mst import commands, sound
def restyle(*args):
    yield next(real(*args))
    print("begun", flush=True)
    time.sleep(60)
real, sound.restyle = sound.restyle, restyle
sys.exit(commands.main(sys.argv[1:]))
"""


@needs_ffmpeg
def test_a_terminated_transfer_leaves_nothing(folder):
    convert("in.wav", "in.m4a")
    (folder / "tmp").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", STOPPED, "in.m4a", "--style", "violin", "-o", "new/out.wav",
         "--quiet"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"TMPDIR": str(folder / "tmp")})
    assert process.stdout.readline() == "begun\n"
    assert list((folder / "new").glob(".part*"))
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[1].startswith("mst_transfer: stopped")
    assert process.returncode == 130
    assert files(folder) == ["in.m4a", "in.wav"] and not (folder / "new").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_a_command(folder, capsys, number):
    def work(args):
        with atomic_path("new/out.txt") as part:
            part.touch()
            os.kill(os.getpid(), number)
            time.sleep(9)
    by_nohup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    before = signal.getsignal(number)
    try:
        assert run_command(commands.argparse.ArgumentParser("mst_x"), work, []) == 130
        assert files(folder) == ["in.wav"] and signal.getsignal(number) == before
    finally:
        signal.signal(signal.SIGHUP, by_nohup)
    assert capsys.readouterr().err == "mst_x: stopped; the same command goes on from here\n"
