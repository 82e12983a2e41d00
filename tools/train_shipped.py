"""Train what lies in data/pretrained/ again: `python tools/train_shipped.py [NAME ...]`, on a GPU
where there is one.

Names: features (the report's feature network), judge, autoencoder, vocoder, ldm, texture, styles (a
clip for each of the four instruments); all of them without a name. A texture belongs to its ldm:
after a new one, train it, too. A training that was stopped goes on after its last epoch. The corpus
is that of profile full, rendered where it is missing.
"""
import sys
import time

from mst.autoencoder import (
    AUTOENCODER_FILE, SHIPPED_AUTOENCODER, load_autoencoder, save_autoencoder, train_on_sound,
    training_clips)
from mst.features import FEATURE_FILE, train_feature_network
from mst.sound import STYLES, save_style_clips
from mst.ldm import LDM_FILE
from mst.run import Run, project_root
from mst.texture import TEXTURE_FILE, train_shipped_texture
from mst.train_ldm import train_mst
from mst.training import training_card
from mst.hearing import JUDGE_FILE, train_judge
from mst.vocoder import SHIPPED_VOCODER, VOCODER_FILE, save_vocoder, train_vocoder


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
            save_autoencoder(root / AUTOENCODER_FILE, model, training_card(run, history, training))
        elif name == "vocoder":
            config, training = SHIPPED_VOCODER
            vocoder, history = train_vocoder(
                run, config, training, "shipped-vocoder", clips, load_autoencoder()
            )
            save_vocoder(root / VOCODER_FILE, vocoder, training_card(run, history, training))
        elif name == "ldm":
            train_mst(run, root / LDM_FILE)
        elif name == "texture":
            train_shipped_texture(run, root / TEXTURE_FILE)
        elif name == "styles":
            save_style_clips(run, root / STYLES)
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    known = ("features", "judge", "autoencoder", "vocoder", "ldm", "texture", "styles")
    if unknown := set(sys.argv[1:]) - set(known):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known are {', '.join(known)}")
    main(sys.argv[1:] or known)
