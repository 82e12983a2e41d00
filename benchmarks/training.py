"""Training of the report's model: images a second of `mst.train_ldm` against the plain loop that
the report describes.

The plain loop decodes PNG, runs the frozen encoder and puts both images through the feature network
in every step, in 32 bits, with plain AdamW. What makes the library faster is added one thing at a
time. All start from the same weights and draw the same noise, so their losses can be compared step
by step. Twice: with the feature network of profile `quick`, and with one of VGGish's size, as in
profile `full` (untrained here: its weights are a download, its speed is the same). Last, where
there is a g++, what compiling would add.
"""
import shutil
import statistics
import time
from contextlib import nullcontext
from copy import copy, deepcopy

import measure
import torch
from torch.nn import functional as F

from mst.autoencoder import get_autoencoder, kl_regularization_loss
from mst.features import VGGishFeatureLoss, vggish_layers, load_instrument_net
from mst.data import read_image
from mst.run import Run
from mst.ldm import LDM, LDM_PRESETS
from mst.cache import CachedImages
from mst.train_ldm import LDMLoss, ldm_training, pair_datasets
from mst.processes import has_bf16, keep_memory

LIBRARY = ("plain loop", "images as bytes in memory", "latents and features kept", "channels last",
           "fused optimizer", "memory kept",
           "bfloat16")
PARTS = (*LIBRARY, "compiled")  # which the library does not do: what it would bring


def plain_objective(ldm, training, layers, content, style, generator):
    """Equations 9 to 12 as they stand."""
    t = (200 * torch.rand(len(content), generator=generator)).long()
    noise = torch.randn(len(content), 32, 16, 16, generator=generator)
    out = ldm(content, style, t, noise)

    def distance(x, y):
        losses = []
        for layer in layers:
            x, y = layer(x), layer(y)
            if isinstance(layer, torch.nn.ReLU):
                losses.append(F.mse_loss(x, y))
        return sum(losses) / len(losses)

    with torch.no_grad():
        perceptual, in_style = distance(content, out.image), distance(style, out.image)
    reconstruction = F.mse_loss(out.image,
                                content) + training.compression.perceptual_weight * perceptual
    kl = kl_regularization_loss(out.z_0)
    reconstruction = reconstruction + training.compression.kl_weight * kl
    return (training.diffusion_weight * F.mse_loss(out.noise_pred, noise)
            + training.reconstruction_weight * reconstruction
            + training.style_weight * in_style)


def make_step(parts, run, training, layers, kept, learned, paths):
    """A function from a batch of pairs' numbers to its loss, after one step of training with these
    parts of what makes it fast.

    All but "memory kept", which is for many steps: `compare` sees to it.
    """
    fast, bf16 = "latents and features kept" in parts, "bfloat16" in parts
    layout = torch.channels_last if "channels last" in parts else torch.contiguous_format
    torch.manual_seed(0)
    ldm = LDM(LDM_PRESETS["report"], get_autoencoder(run)[0]).to(memory_format=layout)
    fused = {"fused": True} if "fused optimizer" in parts else {}
    optimizer = torch.optim.AdamW([p for p in ldm.parameters() if p.requires_grad],
                                  training.learning_rate, **fused)
    generator = torch.Generator().manual_seed(0)
    loss_fn = LDMLoss(training, kept=learned.setdefault(bf16, copy(kept)))
    loss_fn.feature_loss = VGGishFeatureLoss(deepcopy(layers), training.compression.features)
    loss_fn.feature_loss.layers.to(memory_format=layout)
    if fast and loss_fn.kept.latents is None:
        loss_fn.kept.precompute(ldm.encoder, loss_fn.feature_loss, bf16)

    if "compiled" in parts:
        for module in (ldm.unet, ldm.style_encoder, ldm.decoder, loss_fn.feature_loss.layers):
            module.compile()

    def images(numbers):
        if len(parts) > 1:
            return kept[numbers]
        return torch.stack([torch.tensor(read_image(paths[n])[None, :, :128]).float() / 255
                            for n in numbers.tolist()])

    def step(batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            if fast:
                loss = loss_fn(ldm, batch, generator)["loss"]
            else:
                loss = plain_objective(ldm, training, loss_fn.feature_loss.layers,
                                       *map(images, batch.T), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()
    return step


def make_steps(run, layers, num_pairs):
    """The pairs as numbers [N, 2], and {part: its step, see `make_step`}, each part with those
    before it."""
    pairs, training = pair_datasets(run, num_pairs)[0], ldm_training(run)
    kept, learned, paths = CachedImages(pairs), {}, {}
    for (content, style), (a, i, b, j) in zip(kept.pairs[0].tolist(), pairs.pairs):
        paths |= {content: pairs.datasets[a].paths[i], style: pairs.datasets[b].paths[j]}
    possible = {"bfloat16": has_bf16("cpu"), "compiled": run.profile != "smoke"
                and bool(shutil.which("g++"))}
    parts = [part for part in PARTS if possible.get(part, True)]
    return kept.pairs[0], {part: make_step(parts[:k + 1], run, training, layers, kept, learned,
                                           paths) for k, part in enumerate(parts)}


def compare(run, layers, num_pairs, batch_size, steps):
    """{part: median seconds of a step}, and {part: losses of all steps}.

    The parts take turns, four steps each, whose first, which warms up what the others left, does
    not count.
    """
    pairs, step = make_steps(run, layers, num_pairs)
    times, losses = {part: [] for part in step}, {part: [] for part in step}
    for first in range(0, steps, 4):
        for part in step:
            with keep_memory(1000) if part in PARTS[PARTS.index("memory kept"):] else nullcontext():
                for k in range(first, first + 4):
                    batch = pairs[(torch.arange(batch_size) + k * batch_size) % num_pairs]
                    start = time.perf_counter()
                    losses[part].append(step[part](batch))
                    if k > first:
                        times[part].append(time.perf_counter() - start)
    return {part: statistics.median(t) for part, t in times.items()}, losses


def main(smoke):
    run = Run(preset="report", profile="smoke" if smoke else "quick", device="cpu")
    sizes = (8, 4, 4) if smoke else (64, 32, 16)
    networks = {"quarter": load_instrument_net().features, "full": vggish_layers()}
    rows, numbers = [], {}
    for name, layers in list(networks.items())[:1 if smoke else 2]:
        times, losses = compare(run, layers, *sizes)
        first, before = times["plain loop"], None
        for part, t in times.items():
            apart = max(abs(a / b - 1) for a, b in zip(losses[part], losses["plain loop"]))
            rows.append([name, part, f"{sizes[1] / t:.1f}", f"{(before or t) / t:.2f}",
                         f"{first / t:.2f}", f"{100 * apart:.2g}"])
            before = t
            if part in LIBRARY:
                ratio, at_most = first / t, apart
            else:
                numbers |= {f"bench_training_{part}_{name}": rows[-1][3]}
        numbers |= {f"bench_training_ratio_{name}": f"{ratio:.1f}",
                    f"bench_training_apart_{name}": f"{100 * at_most:.1g}"}
    header = ["features", "with", "images/s", "share", "ratio", "loss apart (%)"]
    numbers |= {"bench_training_steps": sizes[2], "bench_training_batch": sizes[1]}
    measure.finish(measure.results(smoke), "training", header, rows, **numbers)


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
