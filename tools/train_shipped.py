"""Train what lies in data/pretrained/ again: `python tools/train_shipped.py [NAME ...]`, on a GPU where there is one.

Names: features (the report's feature network), judge, autoencoder, vocoder, ldm; all of them without a name. A training that
was stopped goes on after its last epoch. The corpus is that of profile full, rendered where it is missing.
"""
import sys
import time
from dataclasses import asdict
from datetime import date

import torch
from mst.autoencoder import (
    AUTOENCODER_FILE, FEATURE_FILE, SHIPPED_AUTOENCODER, load_autoencoder, save_autoencoder, train_feature_network, train_on_sound,
    training_clips)
from mst.ldm import LDM_FILE, save_ldm
from mst.run import Run, project_root
from mst.train_ldm import LDM_TRAINING_PRESETS, train_mst
from mst.vocoder import JUDGE_FILE, SHIPPED_VOCODER, VOCODER_FILE, save_vocoder, train_judge, train_vocoder


def card(run, history, training, seconds):
    """What the weights' file says of its training."""
    device = "cpu" if run.torch_device.type == "cpu" else torch.cuda.get_device_name()
    return {"training": asdict(training), "seed": run.seed, "device": device, "torch": torch.__version__, "date": str(date.today()),
            "minutes": round(sum(history["seconds"]) / 60), "scores": history.rows[-1] | {"wall_seconds": round(seconds)}}


def main(names):
    run, root = Run.start(profile="full", notebook="shipped weights"), project_root()
    clips = training_clips(run) if {"autoencoder", "vocoder"} & set(names) else None
    for name in names:
        start = time.monotonic()
        if name == "features":
            print(train_feature_network(run, root / FEATURE_FILE, epochs=3))
        elif name == "judge":
            print(train_judge(run, root / JUDGE_FILE, epochs=4))
        elif name == "autoencoder":
            config, training = SHIPPED_AUTOENCODER
            model, history = train_on_sound(run, config, training, "shipped-autoencoder", clips)
            save_autoencoder(root / AUTOENCODER_FILE, model, card(run, history, training, time.monotonic() - start))
        elif name == "vocoder":
            config, training = SHIPPED_VOCODER
            vocoder, history = train_vocoder(run, config, training, "shipped-vocoder", clips, load_autoencoder())
            save_vocoder(root / VOCODER_FILE, vocoder, card(run, history, training, time.monotonic() - start))
        elif name == "ldm":
            ldm, history = train_mst(run)
            curves = {k: [round(v, 4) for v in history[f"{k}_loss"]] for k in ("train", "valid")}
            save_ldm(root / LDM_FILE, ldm, load_autoencoder(),
                     card(run, history, LDM_TRAINING_PRESETS["mst"], time.monotonic() - start) | {"curves": curves})
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    known = ("features", "judge", "autoencoder", "vocoder", "ldm")
    if unknown := set(sys.argv[1:]) - set(known):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    main(sys.argv[1:] or known)
