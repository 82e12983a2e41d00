"""Measure the way from file to file: `python tools/speed.py`, on a machine that does nothing else.

Prints how many seconds of sound are made in a second, of 3 s, five minutes and an hour, in a style
that ships and in one that is learned first, start-up included; and the most memory that is needed,
also by an hour as the style. `python tools/speed.py --minutes 1` is a trial: each file is at most
so long.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile as sf

from mst.audio import AudioPreprocessor
from mst.run import project_root
from mst.sound import RATE, STYLES

KIB = 1024 if sys.platform != "darwin" else 1  # of the unit in which memory is counted


def write_music(path, seconds):
    """A recording of this length, written in pieces: clips of the four instruments, over and
    over."""
    clips = [AudioPreprocessor().load_audio(p)[0]
             for p in sorted((project_root() / STYLES).glob("*.flac"))]
    with sf.SoundFile(path, "w", RATE, 1) as f:
        while (missing := round(seconds * RATE) - f.frames) > 0:
            f.write(clips[f.frames // RATE % len(clips)][:missing])


def measured(content, style):
    """Seconds, and GB of memory at most, that mst_transfer takes."""
    command = [str(Path(sys.executable).with_name("mst_transfer")), str(content), "--style",
               str(style), "-o", str(content.with_name("out.wav")), "--quiet"]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"mst_transfer failed: {' '.join(command)}")
    assert sf.info(content).frames == sf.info(content.with_name("out.wav")).frames
    return time.perf_counter() - start, usage.ru_maxrss * KIB / 1e9


def main(minutes):
    five, hour = (60 * min(minutes, m) for m in (5, 60))
    with tempfile.TemporaryDirectory() as folder:
        paths = {seconds: Path(folder) / f"{seconds:g}.wav" for seconds in (3, five, hour)}
        for seconds, path in paths.items():
            write_music(path, seconds)
        own = project_root() / STYLES / "violin.flac"
        for seconds, style in ((3, "violin"), (3, own), (3, paths[hour]), (five, "violin"),
                               (five, own), (hour, "violin")):
            took, memory = measured(paths[seconds], style)
            named = {"violin": "that ships", own: "of 9 s"}.get(style, f"of {hour:g} s")
            print(f"{seconds:6g} s of sound, in a style {named:10}: {took:6.1f} s, start-up "
                  f"included; {seconds / took:5.1f} times real time; at most {memory:.2f} GB",
                  flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="longest file (%(default)s)")
    main(parser.parse_args().minutes)
