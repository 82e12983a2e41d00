"""Do the plain loop and the library learn the same? Both train the report's model from one start,
as profile quick does; loss by loss."""
import matplotlib.pyplot as plt
import measure
import torch
from training import LIBRARY, make_steps

from mst.features import load_instrument_net
from mst.run import Run


def main(smoke):
    run = Run(preset="report", profile="smoke" if smoke else "quick", device="cpu")
    num_pairs, batch_size, steps, mean = (8, 4, 6, 2) if smoke else (1200, 16, 600, 50)
    pairs, step = make_steps(run, load_instrument_net().features, num_pairs)
    epochs = -(-steps * batch_size // num_pairs)
    order = torch.cat([torch.randperm(num_pairs, generator=torch.Generator().manual_seed(k))
                       for k in range(epochs)])
    batches = pairs[order[:steps * batch_size]].split(batch_size)
    losses = {
        name: torch.tensor([of(batch) for batch in batches])
        for name, of in (
            ("plain loop", step["plain loop"]),
            ("library", [of for part, of in step.items() if part in LIBRARY][-1]),
        )
    }
    means = {name: loss.view(-1, mean).mean(1) for name, loss in losses.items()}
    fig, ax = plt.subplots(figsize=(5, 2.4), layout="constrained")
    for (name, loss), line in zip(means.items(), ("C1-", "C0--")):
        ax.plot(torch.arange(1, len(loss) + 1) * mean, loss, line, label=name)
    ax.set(xlabel="steps", ylabel=f"loss, mean of {mean} steps"), ax.legend()
    results = measure.results(smoke)
    ratio = {
        of: loss["library"] / loss["plain loop"] for of, loss in (("step", losses), ("mean", means))
    }
    apart = {
        f"bench_curves_{of}_apart": f"{100 * (r - 1).abs().max():.2g}" for of, r in ratio.items()
    }
    rows = [[str((k + 1) * mean), *(f"{loss[k]:.4f}" for loss in means.values()), f"{r:.4f}"]
            for k, r in enumerate(ratio["mean"])]
    measure.finish(results, "curves", ["steps", *means, "ratio"], rows, fig, **apart,
                   bench_curves_steps=steps, bench_curves_mean=mean,
                   bench_curves_batch=batch_size)


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
