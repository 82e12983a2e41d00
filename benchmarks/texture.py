"""Does a result sound more like what was asked for with the texture of `mst.texture`, its motion as
large as it is drawn or as all of it would be, with accents, by which postfilter (`sharpen`), and by
how many iterations for its phases? Real players in rooms, unheard styles, and rendered pieces, of
the development sets; every style is learned once, as `mst_transfer` learns it.

Content and style clip of the real players are put into a room each, as whoever records oneself at
home has one. Wants the folder that MST_CORPUS names, as `mst_download data/recordings.csv` fills
it, and over an hour. The report reads the table.
"""
from dataclasses import replace
from functools import partial
from unittest import mock

import measure
import torch

from mst.adapt import Adaptation
from mst.hearing import SoundJudge
from mst.ldm import load_ldm
from mst.players import persona
from mst.rulers import (
    RATE, RULERS, Player, ceiling_methods, measure_set, plain_methods, row_name, ruler_cell,
    twin_cases)
from mst.run import Run
from mst.scores import INSTRUMENTS
from mst.sets import known_vectors, real_sets, ruler_scores, ruler_sets, unheard_cases
from mst.sound import (
    CONTRAST, SoundTransfer, learn_styles, load_style, style_tokens, transfer_sound)
from mst.tagger import MusicTagger
from mst.texture import ACCENT, MOST, load_texture
from mst.vocoder import ITERATIONS, NEIGHBOURS, load_vocoder, sharpen

SHIPS = CONTRAST, NEIGHBOURS, ITERATIONS
WAYS = {  # is there a texture, how far its motion grows, accents, contrast, neighbours, iterations
    "plain": (False, MOST, 0., *SHIPS), "texture": (True, MOST, 0., *SHIPS),
    "accents": (False, MOST, ACCENT, *SHIPS),
    "texture as drawn, accents": (True, 1., ACCENT, *SHIPS),
    "texture, accents, .2 over 31 bins": (True, MOST, ACCENT, .2, 31, ITERATIONS),
    "texture, accents, 4 iterations": (True, MOST, ACCENT, CONTRAST, NEIGHBOURS, 4),
    "texture, accents": (True, MOST, ACCENT, *SHIPS)}
KEYS = ("heard", "into_violin", "as_asked", "onset_f1", "mfcc_style", "near", "lsd",
        "sharpness_ratio", "modulation_ratio", "distance")


def in_rooms(cases, seed):
    """The cases with content and style clip in rooms of their own; notes are known as before."""
    generator = torch.Generator().manual_seed(seed)
    def room(sound): return persona(torch.from_numpy(sound)[None], generator, 0.)[0].numpy()
    return [replace(case, content=room(case.content), style=room(case.style)) for case in cases]


def development_sets(run, folder):
    """Real players at eight places of each recording; unheard styles, and the rendered set, on
    twelve pieces."""
    if run.profile == "smoke":
        cases = ruler_sets(run, "dev", 1, 1, None)["rendered"][:3]
        return {"players in rooms": in_rooms(cases, run.seed)}
    cases = real_sets("dev", folder, 8, run.seed)["real players"]
    scores, fonts = ruler_scores("dev", 12, run), [Player(name) for name in INSTRUMENTS]
    return {"players in rooms": in_rooms(cases, run.seed + 11),
            "unheard styles": unheard_cases(scores, folder, run.seed),
            "rendered": twin_cases(scores, "fluid", fonts, fonts, run.seed)}


def play(cases, ldm, vocoder, texture, adaptation):
    """{way: [sound of each case]}."""
    sounds = {way: [] for way in WAYS}
    for case in cases:
        style = load_style(case.style)
        learned, tokens = learn_styles(ldm, [style], adaptation), style_tokens(ldm, style)
        for way, (textured, most, amount, contrast, bins, iterations) in WAYS.items():
            transfer = SoundTransfer(learned, vocoder, tokens,
                                     texture=texture if textured else None)
            with (mock.patch("mst.texture.MOST", most), mock.patch("mst.texture.ACCENT", amount),
                  mock.patch("mst.sound.CONTRAST", contrast),
                  mock.patch("mst.sound.ITERATIONS", iterations),
                  mock.patch("mst.vocoder.sharpen", partial(sharpen, bins=bins))):
                sounds[way].append(transfer_sound(case.content, RATE, transfer)[:, 0])
    return sounds


def main(smoke):
    run = Run(profile="smoke" if smoke else "quick")
    folder = measure.recordings("texture", "development", smoke)
    ldm, vocoder = load_ldm(), load_vocoder()
    texture = load_texture(ldm=ldm)
    tagger, judge, rows, shares = MusicTagger(), SoundJudge(), [], {}
    references = {name: plain_methods(vocoder)[name]
                  for name in ("another clip", "transcribe and render")}
    for name, cases in development_sets(run, folder).items():
        sounds = play(cases, ldm, vocoder, texture, Adaptation(steps=1) if smoke else Adaptation())
        methods = {way: lambda case, made=iter(made): next(made)  # asked once for every case
                   for way, made in sounds.items()}
        vectors = known_vectors(run, "dev", tagger) if name == "unheard styles" else None
        scores = measure_set(methods | references | ceiling_methods(vocoder, ldm), cases, tagger,
                             judge, vectors)
        recordings = [case.recording for case in cases]
        for way, by_measure in scores.items():
            if (way := row_name(way, cases)) is None:
                continue
            cells = [ruler_cell(by_measure.get(key), recordings, *RULERS[key][1:3], False)
                     for key in KEYS]
            rows.append((name, way, *cells))
        first, *_, last = WAYS
        shares[name] = last, scores[last]["onset_f1"].mean() / scores[first]["onset_f1"].mean()
    measure.finish(measure.results(smoke), "texture",
                   ("set", "way", *(RULERS[key][0] for key in KEYS)), rows)
    for name, (way, share) in shares.items():
        print(f"{name}: notes with {way}, as a ratio to the first way: {share:.2f}")


if __name__ == "__main__":
    main(measure.options(__doc__).smoke)
