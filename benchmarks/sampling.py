"""Sampling: `mst.ddim.DDIM` against diffusers' DDIMScheduler around the same network, and
the time that is not the network's.

Both denoise the shipped model's latents of four clips, with the same noise, at the same steps;
their results must agree.
"""
import statistics
import time

import measure
import torch
from diffusers import DDIMScheduler

from mst.ddim import DDIM, style_denoiser
from mst.ldm import load_ldm


def diffusers_scheduler(ldm):
    """Theirs, with this model's noise schedule."""
    alphas, config = ldm.forward_diffusion.alphas_cumprod, ldm.config.diffusion
    betas = 1 - alphas / torch.cat([torch.ones(1), alphas[:-1]])
    scheduler = DDIMScheduler(
        num_train_timesteps=len(alphas),
        trained_betas=betas.tolist(),
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type={"v": "v_prediction", "noise": "epsilon"}[config.prediction],
    )
    scheduler.alphas_cumprod = alphas  # to the last bit
    return scheduler


@torch.no_grad()
def main(smoke):
    ldm, draw = load_ldm(), torch.Generator().manual_seed(0)
    content, noise = torch.randn(2, 4, 64, 16, 16, generator=draw)
    styles = ldm.encode_style(torch.rand(4, 1, 256, 128, generator=draw))
    scheduler, in_network, estimate = diffusers_scheduler(ldm), [], ldm.estimate

    def timed(*args):
        start = time.perf_counter()
        output = estimate(*args)
        in_network.append(time.perf_counter() - start)
        return output

    def theirs(steps):
        scheduler.set_timesteps(steps)
        z = noise
        for t in scheduler.timesteps:
            z = scheduler.step(estimate(z, t.expand(len(z)), styles, content), t, z).prev_sample
        return z

    def ours(steps):
        sampler = DDIM(ldm.forward_diffusion, steps)
        return sampler.sample(style_denoiser(ldm, styles, content), noise)

    rows, numbers = [], {}
    for steps in (1, 5) if smoke else (1, 5, 20, 50):
        a, b = ours(steps), theirs(steps)
        apart = ((a - b).norm() / b.norm()).item()
        assert apart < 1e-3, apart
        times = measure.interleaved({"diffusers": lambda: theirs(steps),
                                     "mst": lambda: ours(steps)}, 2 if smoke else 200 // steps + 5)
        ldm.estimate, shares = timed, []
        for _ in range(2 if smoke else 100 // steps + 5):
            in_network.clear()
            took = measure.seconds(ours, steps)
            shares.append(100 * (1 - sum(in_network) / took))
        del ldm.estimate
        ratio, outside = times["diffusers"] / times["mst"], statistics.median(shares)
        rows.append([str(steps), *(f"{1000 * t:.1f}" for t in times.values()), f"{ratio:.3f}",
                     f"{outside:.2f}", f"{apart:.0e}"])
        numbers |= {f"bench_sampling_ratio_{steps}": f"{ratio:.2f}",
                    f"bench_sampling_outside_{steps}": f"{outside:.1f}"}
    header = ["steps", "diffusers (ms)", "mst (ms)", "ratio", "outside the network (%)",
              "relative difference"]
    measure.finish(measure.results(smoke), "sampling", header, rows, **numbers)


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
