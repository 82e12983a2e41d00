"""Cost against work: seconds and memory of building, a training step, transfer and evaluation, as
each gets more to do.

Every point is a process of its own, so that its peak of memory is its own; the time is the median
of three runs, without start-up.
"""
import math
import resource
import statistics
import subprocess
import sys
import tempfile
from functools import partial

import matplotlib.pyplot as plt
import measure
import numpy as np
import torch

from mst.data import prepare_corpus
from mst.images import build_dataset_folder_structure
from mst.run import Run
from mst.sound import RATE, STEPS, STRENGTH, load_transfer, restyle
from mst.cases import rendered_recordings, sound_cases
from mst.evaluate import apply_method, score_sounds, through_images
from mst.ldm import LDM, LDM_PRESETS, load_ldm, transfer_mean
from mst.train_ldm import LDMLoss, ldm_training
from mst.processes import has_bf16, keep_memory
from mst.hearing import SoundJudge
from mst.vocoder import load_vocoder

KIB = 1024 if sys.platform != "darwin" else 1  # of the unit in which memory is counted


def building(profile, pieces):
    """The work returns how many images it made, as pieces are not equally long."""
    corpus = prepare_corpus(Run(preset="report", profile=profile))
    stems = set(corpus.pieces[:pieces])

    def build():
        with tempfile.TemporaryDirectory() as folder:
            made = build_dataset_folder_structure(
                corpus.recordings, folder, trim=False, balance=False, stems=stems
            )
        return sum(sum(counts.values()) for counts in made.images.values())
    return build


def training(profile, batch, frames=128, kept=1000):
    ldm = LDM(LDM_PRESETS["report"]).to(memory_format=torch.channels_last)
    loss_fn = LDMLoss(ldm_training(Run(profile=profile)))
    optimizer = torch.optim.AdamW([p for p in ldm.parameters() if p.requires_grad], fused=True)
    content, style = torch.rand(2, batch, 1, 128, frames)
    generator = torch.Generator().manual_seed(0)
    names = [""] * batch

    def step():
        with keep_memory(kept):  # as `Trainer.fit` does; 32 MB is what glibc does by itself
            with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16("cpu")):
                loss = loss_fn(ldm, ((content, names), (style, names)), generator)["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return step


def transferring(profile, seconds, steps=STEPS, strength=STRENGTH):
    transfer = load_transfer("violin", "cpu", num_inference_steps=steps, strength=strength)
    sound = .1 * np.random.default_rng(0).standard_normal((RATE, 1)).astype(np.float32)
    return lambda: [None
                    for _ in restyle(lambda: (sound for _ in range(seconds)), RATE, 1, transfer)]


def evaluating(profile, recordings):
    everything = rendered_recordings(Run(profile=profile), "test", 1)
    vocoder, ear = load_vocoder(), SoundJudge()
    contents = dict(list(sorted(everything.items(), key=lambda item: item[0].stem))[:recordings])
    cases = sound_cases(contents, everything)
    method = through_images(partial(transfer_mean, load_ldm()), vocoder)
    return lambda: score_sounds(*apply_method(method, cases), cases, ear, vocoder.config.audio)


# what, against what, how to prepare it, sizes
WORK = {
    "building": ("images", building, (2, 4, 8, 16, 28)),
    "training step": ("pairs in a batch", training, (2, 4, 8, 16, 32, 64, 128)),
    "without memory kept": ("pairs in a batch", lambda profile,
                            batch: training(profile, batch, kept=32), (32, 64, 128)),
    "training step, 8 pairs": ("frames of a clip", lambda profile,
                               frames: training(profile, 8, frames), (64, 128, 256, 512, 1024)),
    "transfer": ("seconds of sound", transferring, (4, 16, 64, 256)),
    "transfer of 12 s": ("steps", lambda profile, steps: transferring(profile, 12, steps, 1.),
                         (1, 5, 20, 50)),
    "evaluation": ("recordings, each to three others", evaluating, (1, 2, 4, 8, 16))}


def point(profile, name, size):
    """How much there was to do, seconds, and MB at most, of one work of one size; run in a process
    of its own."""
    work = WORK[name][1](profile, size)
    times = [measure.seconds(work) for _ in range(3)]
    done = work() if name == "building" else size
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1e6
    return done, statistics.median(times), memory


def draw(found):
    """Seconds above, memory below, a pair of panels for each work, four of them side by side."""
    columns, blocks = min(4, len(found)), -(-len(found) // 4)
    fig, axes = plt.subplots(2 * blocks, columns, figsize=(1.7 * columns, 2.9 * blocks),
                             layout="constrained", squeeze=False)
    for ax in axes[-2:, len(found) - 4 * (blocks - 1):].flat:
        ax.axis("off")
    for i, (name, points) in enumerate(found.items()):
        top, bottom = axes[i // 4 * 2:i // 4 * 2 + 2, i % 4]
        for k, ax in enumerate((top, bottom)):
            sizes, values = zip(*((size, point[k]) for size, point in points.items()))
            ax.loglog(sizes, values, "o-", ms=3)
            # in proportion
            ax.loglog(sizes, [values[-1] * size / sizes[-1] for size in sizes], ":", color="gray",
                      lw=1)
            ax.set_ylim(10 ** math.floor(math.log10(min(values))),
                        10 ** math.ceil(math.log10(max(values))))
            ax.minorticks_off()
            ax.set_xticks(sizes[::2], map(str, sizes[::2]))
            ax.tick_params(labelsize=7)
            if i % 4 == 0:
                ax.set_ylabel(("seconds", "MB at most")[k], fontsize=8)
        top.set_title(name, fontsize=8)
        bottom.set_xlabel(WORK[name][0], fontsize=7)
    return fig


def main(smoke):
    profile, found = "smoke" if smoke else "quick", {}
    for name, (_, _, sizes) in list(WORK.items())[1:2] if smoke else WORK.items():
        for size in sizes[:2] if smoke else sizes:
            command = [sys.executable, __file__, profile, name, str(size)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            size, *measured = done.stdout.splitlines()[-1].split()
            found.setdefault(name, {})[int(size)] = tuple(map(float, measured))
    run, rows = measure.results(smoke), []
    for name, points in found.items():
        *_, (a, (less, _)), (b, (more, memory)) = points.items()
        smallest, (seconds, _) = next(iter(points.items()))
        rows.append([name, WORK[name][0], f"{smallest} to {b}", f"{seconds:.2g} to {more:.2g}",
                     f"{more / less / (b / a):.2f}",
                     f"{math.log(more / less) / math.log(b / a):.2f}", f"{memory:.0f}"])
    points = [
        [name, str(size), f"{t:.4g}", f"{mb:.0f}"]
        for name, of in found.items()
        for size, (t, mb) in of.items()
    ]
    run.table("bench_cost_points", ["work", "size", "seconds", "MB"], points)
    header = ["work", "against", "size", "seconds", "ratio", "exponent", "MB"]
    measure.finish(run, "cost", header, rows, draw(found))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(*point(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    else:
        main(measure.options(__doc__).smoke)
