"""Who plays etudes, recordings among those who play the same notes, and the pool that they fill."""
import random
import sys

import numpy as np
import pytest
import soundfile as sf
import torch

from mst.pool import (
    ALIGNED, ALONE, ETUDE, PERSONAS, Ensemble, EtudePool, NewEtudes, Performance, recorded_places)
from mst.players import (
    FONTS, FontSynth, Maker, SingleNotes, draw_timbre, find_makers, level_to, load_fluidsynth,
    persona, play_by_rule, tabled_makers)
from mst.recordings import UNHEARD_MAKERS, read_recordings
from mst.render import RENDER_RATE
from mst.run import Run, shipped_file
from mst.takes import HELD_OUT_TAKE, TAKES
from mst.twins import TwinImages
from test_render import needs_synthesizer

NOTE = torch.tensor([[.2, 1., 69, 90]])


@pytest.fixture
def corpus(tmp_path):
    """Two of the table's recordings, tones, of which one has an alignment; and single notes of
    pianos, and of harps, of which one is kept unheard."""
    rows = {row.path: row for row in read_recordings(shipped_file("data/recordings.csv"))}
    paths = [path for path in rows if "john-garner_bwv1002_mov8" in path
             and rows[path].kind == "performance" or "betts_schumann_traumerei" in path]
    notes = [path for path in rows if path.startswith(("samples/harp", "samples/piano"))
             and rows[path].pitch is not None]
    table = "file,midi_pitch,velocity_layer\n"
    for path in (*paths, *notes):
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "wb") as f:
            sf.write(f, .1 * np.sin(np.arange(40 * 2205) / 10), 2205, format="FLAC")
        if path in notes:
            list_of_notes = place.with_name("table.csv")
            text = list_of_notes.read_text() if list_of_notes.exists() else table
            row = rows[path]
            list_of_notes.write_text(f"{text}{place.name},{row.pitch:g},{row.layer}\n")
    folder = tmp_path / "alignments" / "violin" / "bach-violin"
    times = "".join(f"{k},{k + 1}\n" for k in range(1, 31))
    for name, text in (("alignments", f"start,end\n{times}"), ("notes", "pitch\n" + "69\n" * 30)):
        (folder / name).mkdir(parents=True)
        (folder / name / "john-garner_bwv1002_mov8.csv").write_text(text)
    return tmp_path


class Tones:
    """An ensemble of a piano and of a violin, which play one tone and its octave, the higher the
    higher the etude's number."""
    device, seconds = torch.device("cpu"), 10

    def notes(self, number):
        return NOTE

    def by_fonts(self, name, notes):
        return []

    def perform(self, name, notes, by_fonts, recording=None):
        hz = 200 + 20 * (int(name) if name.isdigit() else 0)
        times = torch.arange(self.seconds * RENDER_RATE) / RENDER_RATE
        sounds = torch.stack([torch.sin(2 * torch.pi * hz * k * times) for k in (1, 2)])
        names, kinds = ("piano", "violin"), ("four", "four")
        if recording:
            sounds = torch.cat([sounds, recording[1][None]])
            names, kinds = (*names, recording[0]), (*kinds, "real")
        return Performance(sounds, names, kinds)


def test_nobody_who_is_kept_unheard_plays(corpus):
    makers = tabled_makers(corpus)
    folders = {path.parent for maker in makers for _, path in maker.paths}
    assert not {corpus / "samples" / place for place, _ in UNHEARD_MAKERS.values()} & folders
    assert {folder.parent.name for folder in folders} >= {"piano"}
    assert TAKES[HELD_OUT_TAKE].soundfont not in FONTS


def test_every_loudness_is_a_maker(corpus):
    makers = tabled_makers(corpus)
    layers = {}
    for maker in makers:
        layers.setdefault(maker.paths[0][1].parent, set()).add(maker.name)
    assert max(map(len, layers.values())) > 1
    assert len({maker.name for maker in makers}) == len(makers)


def test_only_the_whole_profile_needs_npm(monkeypatch):
    monkeypatch.setattr("mst.players.named_makers", lambda folder: ["asked"])
    assert find_makers(Run(profile="smoke")) == find_makers(Run(profile="quick")) == []
    assert find_makers(Run(profile="full")) == ["asked"]


def test_without_the_library_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "fluidsynth", None)  # an ImportError
    with pytest.raises(FileNotFoundError, match="apt-get install") as told:
        load_fluidsynth()
    assert "\n" not in str(told.value)


@needs_synthesizer
def test_a_synthesizer_begins_a_piece_in_silence():
    synth = FontSynth()
    synth.play(torch.tensor([[0., 5., 60, 127]]), 1, "FluidR3_GM", 19)  # an organ that goes on
    sound = synth.play(torch.tensor([[.5, .6, 60, 90]]), 1, "FluidR3_GM", 0)
    assert np.abs(sound[:10_000]).max() < 1e-4 < 1e-2 < np.abs(sound).max()


@pytest.mark.parametrize("seed", range(8))
def test_any_instrument_of_rules_sounds(seed):
    timbre, generator = draw_timbre(random.Random(seed)), torch.Generator().manual_seed(seed)
    notes = torch.tensor([[0., .01, 0, 1], [.1, 3., 127, 127], [.2, .2, 60, 64]])
    sound = play_by_rule(notes, RENDER_RATE, timbre, generator)
    assert sound.shape == (RENDER_RATE,) and sound.isfinite().all() and sound.abs().max() > 1e-4
    assert play_by_rule(notes[:0], 100, timbre, generator).abs().max() == 0


def test_no_single_notes_no_makers():
    assert SingleNotes([]).makers == []


@pytest.mark.parametrize("seed", range(5))
def test_a_guitar_is_among_the_makers_and_nobody_twice(seed):
    names = ["piano"] * 4 + ["harp", "violin", "acoustic_guitar", "nylon_guitar", "flute", "organ"]
    ensemble = Ensemble.__new__(Ensemble)
    ensemble.bank = SingleNotes([])
    def drawn(names):
        ensemble.bank.makers = [Maker(str(k), name, (), False) for k, name in enumerate(names)]
        return ensemble.draw_makers(random.Random(seed))
    chosen = drawn(names)
    assert len({*chosen}) == 5 and {"flute", "organ"} & {names[k] for k in chosen[4:]}
    assert any("guitar" in names[k] for k in chosen)
    assert len({names[k].split("_")[-1] for k in chosen[:3]}) == 3
    assert drawn(["piano", "piano"]) in ([0], [1]) and drawn(["organ"]) == [0] and drawn([]) == []


def test_without_colour_a_persona_is_a_room_and_a_soft_limit(monkeypatch):
    monkeypatch.setattr("mst.players.draw_rooms", lambda count, hz, generator: torch.ones(1))
    sounds = torch.randn(40, 2205)
    def played(colour):
        return persona(sounds, torch.Generator().manual_seed(0), 0., colour)
    dry = torch.tanh(level_to(sounds))
    torch.testing.assert_close(played(0.), dry, atol=1e-5, rtol=0)
    assert not torch.allclose(played(1.), dry, atol=1e-2)


def test_recordings_in_places(corpus):
    places = {place.name: place for place in recorded_places(corpus, 20)}
    aligned = {name for name, place in places.items() if place.notes is not None}
    assert {name.split()[0] for name in aligned} == {"john-garner_bwv1002_mov8"}
    assert len(aligned) == 2  # of 40 s
    for place in places.values():
        assert len(place.sound) == 20 * RENDER_RATE


def test_recordings_stay_in_the_pool_and_etudes_go(corpus):
    places = recorded_places(corpus, Tones.seconds)
    aligned = sum(place.notes is not None for place in places)
    pool = EtudePool(Tones(), 8, size=2, begin=1, every=1, places=places, lengths=((128, 128),))
    pool.keep_up()
    kinds = pool.kinds.tolist()
    assert kinds.count(ETUDE) == 1 and kinds.count(ALIGNED) == aligned
    assert kinds.count(ALONE) == PERSONAS * (len(places) - aligned)
    pool.steps = 5
    before = pool.images.clone()
    pool.keep_up()
    assert pool.newest == 6 and pool.kinds.tolist().count(ETUDE) == 2
    rows = pool.rows[2:].tolist()
    assert torch.equal(before[min(rows):], pool.images[min(rows):])
    louder = [place._replace(sound=2 * place.sound) for place in places]
    others = [EtudePool(Tones(), 8, size=2, places=of, lengths=((128, 128),))
              for of in (places, louder, places[1:])]
    assert [other.digest() == pool.digest() for other in others] == [True, False, False]


def test_a_pool_goes_on_where_it_was():
    pool = EtudePool(Tones(), 8, size=3, begin=2, every=2)
    clock = NewEtudes(pool)
    for _ in range(5):
        pool.draw([0, 1], random.Random(0))
        clock.after_step(None)
    again = EtudePool(Tones(), 8, size=3, begin=2, every=2)
    NewEtudes(again).load_state(clock.state())
    for one, other in zip(pool.draw([0] * 8, random.Random(1)), again.draw([0] * 8,
                                                                          random.Random(1))):
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    assert torch.equal(pool.images, again.images)


def test_content_and_target_are_the_same_place():
    """Their tones are an octave apart, the style's is the target's."""
    pool = EtudePool(Tones(), 8, size=1, lengths=((128, 128),))
    content, target, style, names = pool.draw([0] * 16, random.Random(0), same=0.)
    def loudest(clips): return clips[:, 0].float().mean(2).argmax(1)
    assert torch.equal(loudest(target), loudest(style))
    for a, b, (one, other) in zip(loudest(content), loudest(target), names):
        assert {one, other} == {"piano", "violin"} and (a < b) == (other == "violin")


def test_the_pool_keeps_what_twins_keep():
    assert EtudePool(Tones(), 8, size=1).log_mel.config.max_db == TwinImages.range_db
