"""Datasets and rendered scores outlive SIGKILL, full and read-only disks, folders that vanish, and
second programs."""
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from PIL import Image
from tqdm.auto import tqdm

from mst.files import WriteError, atomic_path, folder_lock
from mst.images import build_dataset_folder_structure
from mst.run import project_root
from mst.scores import read_scores
from mst.sound import transfer_file
from mst.takes import render_corpus

SCORES = project_root() / "data" / "scores.csv"
PIECES = [s.piece for s in read_scores(SCORES) if s.profile == "smoke"][:3]
needs_synthesizer = pytest.mark.skipif(not shutil.which("fluidsynth"), reason="needs fluidsynth")
# Copies of a process that has loaded everything, so that kills hit the work, and computed nothing:
# copied while threads that have used MKL, for Fourier transforms, are about to end, it hangs or
# worse.
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["mst.images", "mst.takes", "librosa.effects", "librosa.feature",
                                  "librosa.core.audio", "music21", "soxr"])
KILLS = [pytest.param(4, id="few"), pytest.param(50, id="many", marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Two recordings of each of three instruments, half a minute in all, and one that cannot be
    read."""
    folder = tmp_path_factory.mktemp("songs")
    for i, (instrument, name, seconds) in enumerate(
        [
            ("harp", "a", 13),
            ("harp", "b", 5),
            ("lute", "a", 16),
            ("lute", "c", 4),
            ("oboe", "a", 8),
            ("oboe", "d", 7),
        ]
    ):
        (folder / instrument).mkdir(exist_ok=True)
        n = seconds * 22_050
        sound = 0.3 * np.sin(np.arange(n) * 0.05 * (i + 1)) * np.random.default_rng(i).random(n)
        sf.write(folder / instrument / f"{name}.flac", sound, 22_050)
    (folder / "oboe" / "torn.flac").write_bytes(b"fLaC" + bytes(99))
    return folder


def files(folder):
    "All files with their contents, hidden ones too, but for locks."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file() and p.suffix != ".lock"}


def not_halved(left, whole):
    return all(whole.get(name, data) == data for name, data in left.items() if "/." not in name)


def quietly(function, *args, **kwargs):
    "What a process of its own does."
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1), os.dup2(devnull, 2)
    tqdm.set_lock(threading.RLock())  # not its semaphore, which the killed would leave
    function(*args, **kwargs)


def start(work, output):
    process = processes.Process(target=quietly, args=(work, output), daemon=True)
    process.start()
    return process


def killed_and_resumed(work, folder, kills):
    """`work(output)` is killed at random moments, and resumed until it ends, as often as it takes
    for so many kills."""
    draw, killed, rounds = random.Random(0), 0, 0
    for undisturbed in ("whole", "again"):  # the first one loads everything
        begin = time.monotonic()
        process = start(work, folder / undisturbed)
        process.join()
        assert process.exitcode == 0
    seconds, whole = time.monotonic() - begin, files(folder / "whole")
    assert whole and files(folder / "again") == whole
    while killed < kills:
        shutil.rmtree(folder / "cut", ignore_errors=True)
        process = start(work, folder / "cut")
        process.join(draw.uniform(0.3, 1) * seconds)
        while process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
            assert not_halved(files(folder / "cut"), whole)
            process = start(work, folder / "cut")
            process.join(draw.uniform(0.3, 1.2) * seconds)
            assert killed < 20 * kills, "it gets nowhere"
        assert process.exitcode == 0
        assert files(folder / "cut") == whole
        rounds += 1
    print(f"{killed} kills in {rounds} rounds, {seconds:.2f} s uninterrupted")


@pytest.mark.parametrize("kills", KILLS)
def test_building(songs, tmp_path, kills):
    killed_and_resumed(partial(build_dataset_folder_structure, songs, workers=2), tmp_path, kills)


@needs_synthesizer
@pytest.mark.parametrize("kills", KILLS)
def test_rendering(tmp_path, kills):
    killed_and_resumed(partial(render_corpus, SCORES, instruments=("piano", "harp"), pieces=PIECES,
                               workers=2), tmp_path, kills)


def begin(path, seconds):
    with atomic_path(path) as part:
        part.touch()
        time.sleep(seconds)


def test_what_the_killed_had_begun(tmp_path):
    """It goes when somebody writes in that folder, but not while another is writing there, who may
    have begun it."""
    def parts():
        return list(tmp_path.glob(".part-*"))
    def finish():
        start(partial(begin, seconds=0), tmp_path / "c.txt").join()
    writers = [start(partial(begin, seconds=600), tmp_path / name) for name in ("a.txt", "b.txt")]
    limit = time.monotonic() + 10
    while len(parts()) < 2 and time.monotonic() < limit:
        time.sleep(0.01)
    for n, writer in zip((2, 0), writers):
        writer.kill(), writer.join()
        finish()
        assert len(parts()) == n and (tmp_path / "c.txt").exists()


def on_small_disk(function, disk, *args):
    """What `function(disk, *args)` of this file prints, where `disk` is a disk of a megabyte in
    memory; skipped where none may be mounted."""
    mount = 'mount -t tmpfs -o size=1m small "$0" && exec "$@"'
    def small(*command):
        return (subprocess.run(["unshare", "-rm", "sh", "-c", mount, disk, *map(str, command)],
                               cwd=Path(__file__).parent,
                                            capture_output=True, text=True))
    if not shutil.which("unshare") or small("true").returncode:
        pytest.skip("no disk can be mounted here")
    code = ("import sys; from test_survive_data import *; "
            f"{function.__name__}(*map(Path, sys.argv[1:]))")
    done = small(sys.executable, "-c", code, disk, *args)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("skipped")]


def attempt(work, *args, **kwargs):
    "Print why `work` failed."
    try:
        work(*args, **kwargs)
    except Exception as error:
        print(f"{type(error).__name__}: {error}")


def fill(disk, but):
    "Leave only so many bytes free."
    room = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - but))


def full_disk(disk, songs, whole):
    for work, expected, room in ((partial(build_dataset_folder_structure, songs), "images", 80_000),
                                 (partial(render_corpus, SCORES, instruments=["harp"],
                                          pieces=PIECES), "sounds", 290_000)):
        fill(disk, room)
        attempt(work, disk / expected)
        left, want = files(disk / expected), files(whole / expected)
        print(bool(left) and not set(want) <= set(left), not_halved(left, want))
        print(any("part" in name for name in left))
        (disk / "filler").unlink()
        work(disk / expected)
        print(files(disk / expected) == want)
        shutil.rmtree(disk / expected)


@needs_synthesizer
def test_full_disk(songs, tmp_path):
    (tmp_path / "disk").mkdir()
    build_dataset_folder_structure(songs, tmp_path / "whole" / "images")
    render_corpus(SCORES, tmp_path / "whole" / "sounds", ["harp"], PIECES)
    building, *built, rendering, halved, left, rendered = on_small_disk(
        full_disk, tmp_path / "disk", songs, tmp_path / "whole"
    )
    assert built == [halved, left, rendered] == ["True True", "False", "True"]
    for line, suffix in ((building, "(png|json)"), (rendering, "flac")):
        assert re.fullmatch(rf"WriteError: {tmp_path}/disk/\w+/\w+/\.?\w+\.{suffix}: not written, "
                            r"the disk is full; make room and start "
                            "again, what is finished stays", line), line


def write_sound(path):
    with atomic_path(path) as part, sf.SoundFile(part, "w", 22_050, 1) as f:
        f.write(np.zeros(400_000))


def full_disk_for_sound(disk, song):
    for room in (80_000, 0):
        fill(disk, room)
        attempt(write_sound, disk / "a.wav")
        attempt(transfer_file, song, disk / "a.wav", None)  # a transfer that is never asked
        (disk / "filler").unlink()
    print(os.listdir(disk))


def test_a_disk_that_is_full_of_sound(tmp_path):
    """From the beginning, or soon: libsndfile itself says "System error"."""
    (tmp_path / "disk").mkdir()
    sf.write(tmp_path / "song.wav", np.random.RandomState(0).uniform(-.5, .5, 22_050), 22_050)
    first, other, *full, left = on_small_disk(full_disk_for_sound, tmp_path / "disk",
                                              tmp_path / "song.wav")
    expected = f"WriteError: {tmp_path}/disk/a.wav: not written, the disk is full; "
    assert all(line.startswith(expected) for line in (first, *full)), (first, full)
    assert left == "[]" and other.startswith("AttributeError")


def read_only(disk, songs):
    attempt(build_dataset_folder_structure, songs, disk / "images")
    build_dataset_folder_structure(songs, disk / "made")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    whole = files(disk)
    attempt(build_dataset_folder_structure, songs, disk / "other")
    attempt(render_corpus, SCORES, disk / "sounds", ["harp"], PIECES[:1])
    with folder_lock(disk / "made", "reading"), folder_lock(disk / "new", "reading"):
        print("read")
    build_dataset_folder_structure(songs, disk / "made")  # nothing is left to do
    print(files(disk) == whole)


@needs_synthesizer
def test_read_only(songs, tmp_path):
    (tmp_path / "disk").mkdir()
    told = "not written, the disk is read-only; choose another folder"
    assert on_small_disk(read_only, tmp_path / "disk", songs) == [
        f"WriteError: {tmp_path}/disk/other/harp: {told}",
        f"WriteError: {tmp_path}/disk/sounds/harp/{PIECES[0]}.flac: {told}", "read",
        "True"]


def test_folder_removed_meanwhile(songs, tmp_path, monkeypatch):
    "Between two images, the folder of one instrument goes."
    build_dataset_folder_structure(songs, tmp_path / "whole")
    saved, save = [], Image.Image.save
    def remove_once(image, path, **options):
        saved.append(path)
        if len(saved) == 3:
            shutil.rmtree(path.parent)
        save(image, path, **options)
    monkeypatch.setattr(Image.Image, "save", remove_once)
    with pytest.raises(WriteError,
                       match="/cut/harp/a_chunk2.png: not written, it or its folder was removed "
                             "meanwhile"):
        build_dataset_folder_structure(songs, tmp_path / "cut", workers=1)
    build_dataset_folder_structure(songs, tmp_path / "cut")
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.parametrize("mels", [64, 128])
def test_second_build_waits(songs, tmp_path, mels):
    """Also one with other settings: its images replace those of the first, and none of the first
    stays."""
    command = [sys.executable, "-c",
               "import sys; from mst.images import build_dataset_folder_structure as build; "
               "build(*sys.argv[1:3], n_mels=int(sys.argv[3]))", songs, tmp_path / "images"]
    with folder_lock(tmp_path / "images", "a test"):
        two = [subprocess.Popen(list(map(str, [*command, n])), stdout=subprocess.PIPE, text=True)
               for n in (128, mels)]
        for process in two:
            assert process.stdout.readline() == (
                f"{tmp_path}/images: building waits for another process that is at work in this "
                "folder\n")
        assert not [name for name in files(tmp_path / "images")]
    assert [process.wait() for process in two] == [0, 0]
    heights = {Image.open(p).height for p in (tmp_path / "images").rglob("*.png")}
    assert len(heights) == 1 and heights <= {128, mels}
    build_dataset_folder_structure(songs, tmp_path / "one", n_mels=heights.pop())
    assert files(tmp_path / "images") == files(tmp_path / "one")
