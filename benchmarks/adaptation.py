"""How much should a model learn of a style before it plays? Steps of `mst.adapt`, and shares of the
way, on the development sets of the rulers, from file to file.

Wants the folder that MST_CORPUS names, as `mst_download data/recordings.csv` fills it, and an
hour. The report reads table and figure.
"""

import matplotlib.pyplot as plt
import measure

from mst.adapt import Adaptation
from mst.commands import file_methods
from mst.hearing import SoundJudge
from mst.ldm import load_ldm
from mst.rulers import RULERS, ceiling_methods, measure_set, plain_methods, ruler_cell
from mst.run import Run
from mst.sets import known_vectors, ruler_sets
from mst.tagger import MusicTagger
from mst.texture import load_texture
from mst.vocoder import load_vocoder

SHIPS = Adaptation()
SETS = "rendered", "unheard styles", "real players"
KEYS = "heard", "near", "onset_f1", "lsd", "sharpness_ratio", "distance"


def adaptations(smoke):
    """What is tried, by name: numbers of steps, and for that which ships shares of the way."""
    steps = (0, 1) if smoke else (0, SHIPS.steps // 2, SHIPS.steps, 2 * SHIPS.steps)
    tried = {f"{k} steps": Adaptation(steps=k, pairs=2 if smoke else SHIPS.pairs) for k in steps}
    return tried | {f"share {share:g}": Adaptation(share=share)
                    for share in (() if smoke else (.25, 1.))}


def main(smoke):
    run = Run(profile="smoke" if smoke else "quick")
    folder = measure.recordings("adaptation", "development", smoke)
    ldm, vocoder, tagger, judge = load_ldm(), load_vocoder(), MusicTagger(), SoundJudge()
    sets = ruler_sets(run, "dev", run.pick(1, 4, 4), 3, folder)
    tried = adaptations(smoke)
    texture, methods = load_texture(ldm=ldm), {}
    for name, adaptation in tried.items():
        methods |= file_methods(ldm, vocoder, adaptation, {name: {"texture": texture}})
    references = {"another clip": plain_methods(vocoder)["another clip"]}
    references |= ceiling_methods(vocoder, ldm)
    rows, curves = [], {}
    for name in (name for name in SETS if name in sets):
        vectors = None
        if name == "unheard styles":
            vectors = known_vectors(run, "dev", tagger)
        scores = measure_set(methods | references, sets[name], tagger, judge, vectors)
        recordings = [case.recording for case in sets[name]]
        curves[name] = {way: {key: ruler_cell(scores[way].get(key), recordings, *RULERS[key][1:3],
                                              False) for key in KEYS} for way in tried}
        rows += [(name, way, *cells.values()) for way, cells in curves[name].items()]
    results = measure.results(smoke)
    fig, axes = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
    by_steps = [way for way in tried if "share" not in way]
    for ax, key in zip(axes, ("lsd", "onset_f1", "distance")):
        for name, by_way in curves.items():
            values = [float("nan" if by_way[way][key] == "-" else by_way[way][key])
                      for way in by_steps]
            ax.plot([tried[way].steps for way in by_steps], values, "o-", label=name)
        ax.set(xlabel="steps", ylabel=RULERS[key][0])
    axes[0].legend(fontsize=7)
    measure.finish(results, "adaptation", ("set", "way", *(RULERS[key][0] for key in KEYS)), rows,
                   fig)
    for name, by_way in curves.items():
        first, *_, last = (by_way[way]["lsd"] for way in by_steps)
        if first != "-":
            ratio = float(last) / float(first)
            print(f"{name}: LSD with {by_steps[-1]}, as a ratio to none: {ratio:.2f}")


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
