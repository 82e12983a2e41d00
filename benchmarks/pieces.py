"""All test pieces: the shipped model against copying the content, by a soundfont that it was
trained on and by one that it was not.

Notebook 06 takes every fourth test piece in profile quick, so its shares move by a percent with a
single case. Here are all.
"""
from dataclasses import replace

import measure
from tqdm.auto import tqdm

from mst.audio import LogMel
from mst.run import Run
from mst.takes import HELD_OUT_TAKE
from mst.ddim import make_transfer
from mst.cases import rendered_recordings, sound_cases
from mst.evaluate import MEASURES, apply_method, score_sounds, through_autoencoder, through_images
from mst.ldm import load_ldm
from mst.hearing import SoundJudge, bootstrap_interval
from mst.vocoder import load_vocoder


def main(smoke):
    run, ldm, vocoder, ear = Run(profile="smoke" if smoke
                                 else "full"), load_ldm(), load_vocoder(), SoundJudge()
    log_mel = LogMel(vocoder.config.audio)
    methods = {
        "copy content": lambda content, style: (log_mel(content), content),
        "preset mst": through_images(
            make_transfer(ldm, num_inference_steps=1, seed=run.seed, guidance_scale=None), vocoder
        ),
        "twin through autoencoder and vocoder": through_images(
            lambda content, style: through_autoencoder(ldm, content), vocoder
        ),
    }
    measures = {m: MEASURES[m] for m in ("lsd_image", "lsd_audio", "note_f1")}
    # of so many cases, one is less than a percent
    measures["is_target"] = *MEASURES["is_target"][:2], 1
    short, rows, numbers = dict(zip(methods, ("copy", "mst", "ceiling"))), [], {}
    for font, take in (("trained", "plain"), ("unheard", HELD_OUT_TAKE)):
        cases = sound_cases(rendered_recordings(run, "test", 1, take), seed=run.seed)
        if smoke:
            cases = cases.subset(list(range(4)))
        print(f"{font} font: {len(cases)} cases of {len(set(cases.pieces))} test pieces, seed "
              f"{run.seed}")
        numbers |= {"bench_pieces_cases": len(cases), "bench_pieces_pieces": len(set(cases.pieces))}
        found = {}
        for name, method in tqdm(methods.items(), disable=None, leave=False):
            of = replace(cases, content=cases.target) if name.startswith("twin") else cases
            found[name] = score_sounds(*apply_method(method, of), cases, ear, vocoder.config.audio)
        copied = found["copy content"]["lsd_audio"].mean()
        for name, s in found.items():
            row = [font, name]
            for m, (_, factor, digits) in measures.items():
                mean, *interval = (f"{factor * v:.{digits}f}"
                                   for v in (s[m].mean(), *bootstrap_interval(s[m], cases.pieces)))
                row.append(mean if m == "lsd_image" else f"{mean} [{', '.join(interval)}]")
            heard = dict(zip(("", "_low", "_high"), (mean, *interval)))  # the last measure
            numbers |= {
                f"bench_pieces_{font}_{short[name]}_is_target{which}": v
                for which, v in heard.items()
            }
            rows.append([*row, f"{s['lsd_audio'].mean() / copied:.2f}"])
        _, ours, ceiling = (s["note_f1"].mean() for s in found.values())
        numbers[f"bench_pieces_{font}_share"] = f"{100 * ours / ceiling:.0f}"
        print(f"note F1 of preset mst: {100 * ours / ceiling:.0f} % of the ceiling's. Heard as "
              "asked for:", end=" ")
        for name in sorted(set(cases.style_instruments)):
            asked = [name == style for style in cases.style_instruments]
            share = 100 * found["preset mst"]["is_target"][asked].mean()
            numbers[f"bench_pieces_{font}_{name}"] = f"{share:.0f}"
            print(f"{name} {share:.0f} %", end="\n" if name == max(cases.style_instruments)
                  else ", ")
    header = ["font", "method", *(title for title, *_ in measures.values()), "LSD ratio"]
    measure.finish(measure.results(smoke), "pieces", header, rows, **numbers)


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
