"""From the report's model to ours, one change at a time, and ours without one of its settings: all
trained anew, equally long, and heard with one and with 20 steps.

Writes data/ablation.csv, which notebook 05 and the report read. Interrupted, it goes on where it
was. Cases are of validation pieces, 3 s each. musicnn names the instrument (pairs without a harp),
the notes that basic-pitch hears are compared with those it hears in the twin (onsets, 50 ms), LSD
is to the twin; `moves` is the LSD between results that differ by the style clip alone, on images.
The first rows are what needs no model, and the best that the representation allows.
"""
from dataclasses import replace

import measure
import numpy as np

from mst.ablation import ablate, ablation
from mst.cases import rendered_recordings, sound_cases
from mst.ddim import make_transfer
from mst.evaluate import apply_method, through_autoencoder, through_images
from mst.hearing import SoundJudge, audio_lsd
from mst.ldm import load_ldm
from mst.notes import transcribe, transcription_scores
from mst.rulers import AUDIBLE
from mst.run import Run, print_table, project_root
from mst.tagger import MusicTagger, name_instruments
from mst.train_ldm import quick_scores
from mst.twins import ROUNDS, load_twins
from mst.vocoder import load_vocoder

EPOCHS, SEEDS, COLUMNS = 1, 2, ("lsd", "heard", "notes", "judged")


class Scorer:
    """Measures of models on sound, of cases from validation pieces."""

    def __init__(self, run, valid_set):
        self.run, self.valid_set, self.vocoder = run, valid_set, load_vocoder()
        cases = sound_cases(rendered_recordings(run, "val", 1), seed=run.seed)
        pieces = set(sorted(set(cases.pieces))[::2])
        kept = [i for i, piece in enumerate(cases.pieces) if piece in pieces]
        self.cases = cases.subset(kept[:4] if run.profile == "smoke" else kept)
        self.tagger, self.judge = MusicTagger(), SoundJudge()
        self.twin_notes = [transcribe(sound) for sound in self.cases.target.numpy()]
        pairs = zip(self.cases.content_instruments, self.cases.style_instruments)
        self.is_known = [{*pair} <= set(AUDIBLE) for pair in pairs]

    def __call__(self, ldm):
        """With one and with 20 steps, without guidance; `judged` is what the house judge hears."""
        scores = {"cases": len(self.cases),
                  "moves": quick_scores(ldm, self.valid_set, size=48)["moves"]}
        for suffix, steps in (("", 1), ("_20", 20)):
            transfer = make_transfer(ldm, num_inference_steps=steps, seed=self.run.seed)
            _, sounds = apply_method(through_images(transfer, self.vocoder), self.cases)
            scores |= {f"{name}{suffix}": v for name, v in self.measure(sounds.numpy()).items()}
        return scores

    def measure(self, sounds):
        """Means over all cases; `heard` over those that musicnn knows."""
        sounds, asked = list(sounds), self.cases.style_instruments
        named = name_instruments(self.tagger(sounds))
        judged = [self.judge.classes[k] for k in self.judge(sounds).argmax(1)]
        values = ([audio_lsd(*pair) for pair in zip(self.cases.target.numpy(), sounds)],
                  [a == b for a, b, is_known in zip(named, asked, self.is_known) if is_known],
                  [transcription_scores(notes, transcribe(sound))["onset_f1"]
                   for notes, sound in zip(self.twin_notes, sounds)],
                  [a == b for a, b in zip(judged, asked)])
        return {name: float(np.mean(v)) for name, v in zip(COLUMNS, values)}


def main(smoke):
    run = Run.start(profile="smoke" if smoke else "full", notebook="ablation")
    takes = (("plain",),) if smoke else ROUNDS[0][1][:3]
    train_set = load_twins(run, "train", takes)
    scorer = Scorer(run, load_twins(run, "val", takes if smoke else (("plain",), ("fluid",))))
    print(f"{len(train_set)} places, {len(scorer.cases)} cases of "
          f"{len(set(scorer.cases.pieces))} pieces, {sum(scorer.is_known)} without a harp")
    shipped = load_ldm()  # for its autoencoder
    ceiling = through_images(lambda content, style: through_autoencoder(shipped, content),
                             scorer.vocoder)
    twins = replace(scorer.cases, content=scorer.cases.target)
    rows = {"copy content": scorer.measure(scorer.cases.content.numpy()),
            "twin through autoencoder": scorer.measure(apply_method(ceiling, twins)[1].numpy())}
    print_table(("reference", *COLUMNS), [(name, *(f"{row[c]:.3f}" for c in COLUMNS))
                                          for name, row in rows.items()])
    path = run.folder / "ablation.csv" if smoke else project_root() / "data" / "ablation.csv"
    settings = ablation(1 if smoke else SEEDS)
    if smoke:
        names = "report", "averaged weights, clipped gradients", "as long again, with blends"
        settings = {name: settings[name] for name in names}
    trainings = ablate(run, path, 1 if smoke else EPOCHS, settings, train_set, scorer.valid_set,
                       scorer, rows)
    print_table(("setting", "LSD", "ratio to copying"),
                [(row["setting"], f"{row['lsd']:.2f}", f"{row['lsd'] / trainings[0]['lsd']:.2f}")
                 for row in trainings])


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
