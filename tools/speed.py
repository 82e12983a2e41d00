"""Measure the way from file to file: `python tools/speed.py`, on a machine that does nothing else.

Prints how many seconds of sound are made in a second, from a five-minute file at 20 steps and at
four, as ships; how long a file of 3 s takes, start-up included; and the most memory that an hour of
sound needs. `python tools/speed.py --minutes 1` is a trial: each file is at most so long.
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


def measured(content, *options):
    """Seconds, and GB of memory at most, that mst_transfer takes."""
    command = [str(Path(sys.executable).with_name("mst_transfer")), str(content), "--style",
               "violin", "-o",
               str(content.with_name("out.wav")), "--quiet", *options]
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
        for seconds, steps in ((3, 4), (3, 20), (five, 20), (five, 4), (hour, 4)):
            content = Path(folder) / "content.wav"
            write_music(content, seconds)
            took, memory = measured(content, "--steps", str(steps))
            print(f"{seconds:6g} s of sound, {steps:2} steps: {took:6.1f} s, start-up included; "
                  f"{seconds / took:5.1f} times real time; "
                  f"at most {memory:.2f} GB", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60, help="longest file (%(default)s)")
    main(parser.parse_args().minutes)
