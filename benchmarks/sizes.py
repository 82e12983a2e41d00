"""The report's own sizes (4.3, 4.4): its autoencoder and its diffusion model with its data, epochs,
batches and learning rates, as far as they get, beside profile quick.

Each trains for so many minutes at most. The same command goes on with the diffusion model, on the
autoencoder as far as that got; give it the minutes of 100 epochs to have it whole. The autoencoders
are those of the runs, the diffusion models have folders of their own.
"""
import argparse
import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import measure
from torch.utils.data import default_collate

from mst.autoencoder import Autoencoder, autoencoder_training, get_autoencoder
from mst.checkpoints import load_tensors, load_weights
from mst.files import csv_records
from mst.ldm import LDM, LDM_PRESETS
from mst.run import Run
from mst.train_ldm import (
    LDMLoss, ldm_training, pair_datasets, sensitivity, train_ldm, validation_losses)

TITLES = {"quick": "profile quick", "full": "the report's own"}
HEADER = ("network", "sizes", "epochs", "steps", "batch", "learning rate", "minutes", "loss",
          "with another style", "moves with style (%)", "with content (%)")


def train_for(minutes, function, *args):
    """Call; after so many minutes stop, as by Ctrl-C: a training then saves itself."""
    over = threading.Event()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a background job has not

    def stop():
        over.set()
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Timer(60 * minutes, stop)
    timer.start()
    try:
        function(*args)
    except KeyboardInterrupt as stopped:
        if not over.is_set():  # by hand
            raise
        print(stopped or "the time was over before the training began", flush=True)
    finally:
        timer.cancel()


@dataclass
class Training:
    """A training in a folder, of so many examples an epoch, and the loss to look at."""
    name: str
    profile: str
    folder: Path
    settings: object
    examples: int
    loss: str

    @property
    def epochs(self):
        """What its history has of each; an empty list before the first has ended."""
        path = self.folder / "history.csv"
        if not path.exists():
            return []
        header, *rows = (cells for _, cells in csv_records(path))
        return [dict(zip(header, map(float, cells))) for cells in rows]

    def load(self, model):
        """The best weights so far, in a model that is trained no more."""
        path = self.folder / "best.safetensors"
        load_weights(model, load_tensors(path)[0], path)
        return model.eval().requires_grad_(False)

    def texts(self):
        """Its columns of the table, without the last three; the loss is on validation data of its
        own profile."""
        epochs, batch = self.epochs, self.settings.batch_size
        return (self.name, TITLES.get(self.profile, self.profile),
                f"{len(epochs)} of {self.settings.epochs}",
                f"{len(epochs) * -(-self.examples // batch)}", f"{batch}",
                f"{self.settings.learning_rate:g}", f"{sum(e['seconds'] for e in epochs) / 60:.0f}",
                f"{min(e[self.loss] for e in epochs):.4f}")


def train_both(profile, minutes):
    """Both networks of a profile, the second on what the first has learned so far."""
    run = Run("report", profile, notebook="sizes")
    folder, settings = run.folder / "ldm-trained", ldm_training(run)
    if not (folder / "last.safetensors").exists():
        train_for(minutes, get_autoencoder, run)
    path = run.folder / "autoencoder-32x16"
    if not (path / "best.safetensors").exists():
        raise SystemExit(f"sizes: no epoch has ended in {path}; start again, with more minutes")
    images = load_tensors(path / "last.safetensors")[1]["config"]["images"][0]
    first = Training("autoencoder", profile, path, autoencoder_training(run), images, "valid_loss")
    train_for(minutes, train_ldm, run, settings, first.load(Autoencoder()))
    return first, Training("diffusion model", profile, folder, settings, settings.num_pairs,
                           "valid_diffusion")


def style_texts(first, second, run):
    """Losses on noise of a diffusion model, with the styles of its pairs and of other pairs, and
    how far its output moves at t = 100 with the style and with the content; on validation pairs of
    `run`."""
    ldm = second.load(LDM(LDM_PRESETS["report"], first.load(Autoencoder())))
    training = ldm_training(run)
    pairs = pair_datasets(run, training.num_pairs)[1]
    losses = [validation_losses(ldm, LDMLoss(training), pairs, change)["diffusion"]
              for change in (lambda style: style, lambda style: style.roll(1, 0))]
    (content, _), (style, _) = default_collate([pairs[k] for k in range(min(32, len(pairs)))])
    moves = sensitivity(ldm, content, style, 100, run.seed)
    return (*(f"{loss:.4f}" for loss in losses),
            *(f"{100 * moves[key]:.2g}" for key in ("style", "content")))


def plot(trainings):
    """Validation losses against the examples seen; a panel for each network."""
    fig, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
    for k, training in enumerate(trainings):
        epochs = training.epochs
        axes[k % 2].plot([e["epoch"] * training.examples for e in epochs],
                         [e[training.loss] for e in epochs], ".-",
                         label=TITLES.get(training.profile, training.profile))
        axes[k % 2].set(title=training.name, xscale="log", yscale=("log", "linear")[k % 2],
                        xlabel=("images", "pairs")[k % 2] + " seen",
                        ylabel=("loss", "loss on noise")[k % 2])
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


def main(smoke, minutes):
    profiles = ["smoke"] if smoke else list(TITLES)
    trainings = [training for profile in profiles for training in train_both(profile, minutes)]
    unfinished = [t.folder for t in trainings if not t.epochs]
    if unfinished:
        raise SystemExit(f"sizes: no epoch has ended in {unfinished[0]}; start again, with more "
                         "minutes")
    results, quick = measure.results(smoke), Run("report", profiles[0], notebook="sizes")
    rows = [(*training.texts(), *("-",) * 3) for training in trainings]
    for k in range(1, len(rows), 2):
        rows[k] = (*rows[k][:7], *style_texts(*trainings[k - 1:k + 1], quick))
    numbers = {f"bench_sizes_{training.profile}_{('autoencoder', 'ldm')[k % 2]}_{column}": text
               for k, (training, row) in enumerate(zip(trainings, rows))
               for column, text in zip(("epochs", "steps", "minutes", "loss", "other_style",
                                        "style", "content"), (*row[2:4], *row[6:])) if text != "-"}
    for k, name in enumerate(("autoencoder", "diffusion model")):
        losses = [float(row[7]) for row in rows[k::2]]
        print(f"{name}: loss, as a ratio to that of profile quick: {losses[-1] / losses[0]:.2f}")
    measure.finish(results, "sizes", HEADER, rows, plot(trainings), quick.torch_device, **numbers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60., help="of each training at most")
    parser.add_argument("--smoke", action="store_true", help="a trial of seconds; nothing is kept")
    options = parser.parse_args()
    main(options.smoke, options.minutes)
