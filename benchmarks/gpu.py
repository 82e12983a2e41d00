"""On a GPU: images a second of a training step of the report's model, in bfloat16 with compile and
CUDA graphs against eager 32 bits.

Also what share that is of the arithmetic and of the memory traffic that the card reaches here, by a
large matrix product and a large copy:
operations are counted by PyTorch's flop counter, bytes as what every operation reads and writes.
"""
import statistics

import measure
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from mst.run import Run
from mst.ldm import LDM, LDM_PRESETS
from mst.cache import CachedImages
from mst.train_ldm import LDMLoss, ldm_training, pair_datasets


class ByteCounter(TorchDispatchMode):
    """Adds up the sizes of all tensors that operations read and write."""
    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        self.total += sum(t.nbytes for t in tree_leaves((args, kwargs, output))
                          if isinstance(t, torch.Tensor))
        return output


def median_seconds(function, repeats):
    """Of a function that works on the GPU."""
    def finished():
        function()
        torch.cuda.synchronize()
    return statistics.median([measure.seconds(finished) for _ in range(repeats + 3)][3:])


def make_step(kept, training, batch, fast):
    """A function that makes one step of training."""
    torch.manual_seed(0)
    ldm = LDM(LDM_PRESETS["report"]).cuda().to(memory_format=torch.channels_last)
    loss_fn, generator = LDMLoss(training, "cuda",
                                 kept=kept), torch.Generator("cuda").manual_seed(0)
    kept.precompute(ldm.encoder, loss_fn.feature_loss, fast)
    optimizer = torch.optim.AdamW([p for p in ldm.parameters() if p.requires_grad],
                                  training.learning_rate, fused=True)
    model = torch.compile(ldm, mode="reduce-overhead") if fast else ldm

    def step():
        torch.compiler.cudagraph_mark_step_begin()
        with torch.autocast("cuda", torch.bfloat16, enabled=fast):
            loss = loss_fn(model, batch, generator)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return step


def main(smoke):
    if not torch.cuda.is_available():
        return print("gpu: torch sees no GPU here, nothing is measured; ratio: none")
    run, size, repeats = Run(preset="report", profile="smoke" if smoke
                             else "quick"), 16 if smoke else 128, 3 if smoke else 30
    kept, training = CachedImages(pair_datasets(run, size)[0], device="cuda"), ldm_training(run)
    batch = kept.pairs[0].cuda()
    loading = median_seconds(lambda: (kept[batch[:, 0]], kept[batch[:, 1]], kept.pairs[0].cuda()),
                             repeats)
    square, rows, ratio = torch.randn(8192, 8192, device="cuda"), [], 1.
    bandwidth = 2 * square.nbytes / median_seconds(lambda: square.clone(), repeats)
    for name, fast in (("eager, 32 bits", False), ("compiled, CUDA graphs, bfloat16", True)):
        matrix = square.bfloat16() if fast else square
        arithmetic = 2 * 8192 ** 3 / median_seconds(lambda: matrix @ matrix, repeats)
        eager = make_step(kept, training, batch, False)
        with FlopCounterMode(display=False) as operations, ByteCounter() as traffic:
            eager()
        step = make_step(kept, training, batch, fast)
        t = median_seconds(step, repeats)
        ratio = rows[0][-1] / t if rows else 1.
        rows.append([name, f"{size / t:.0f}", f"{ratio:.1f}",
                     f"{100 * operations.get_total_flops() / t / arithmetic:.1f}",
                     f"{100 * traffic.total / t / bandwidth:.1f}", f"{100 * loading / t:.2f}", t])
    header = ["training", "images/s", "ratio", "of the arithmetic (%)",
              "of the memory traffic, eager (%)", "loading (%)"]
    measure.finish(measure.results(smoke), "gpu", header, [row[:-1] for row in rows],
                   device="cuda", bench_gpu_ratio=f"{ratio:.1f}")


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
