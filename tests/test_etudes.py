"""Etudes by casts, and recordings beside casts that play the same notes."""
import numpy as np
import pytest
import soundfile as sf

from mst.etudes import FONTS, four_makers, fonts_of, real_performances
from mst.recordings import UNHEARD_MAKERS, read_recordings
from mst.run import Run, shipped_file
from mst.twins import TwinImages
from test_render import needs_synthesizer

ALIGNED, ALONE = "john-garner_bwv1002_mov8", "betts_schumann_traumerei"


@pytest.fixture
def corpus(tmp_path):
    """Two of the table's recordings, tones, of which one has an alignment; and single notes of two
    harps, of which one is kept unheard."""
    rows = {row.path: row for row in read_recordings(shipped_file("data/recordings.csv"))}
    paths = [path for path in rows if ALIGNED in path and rows[path].kind == "performance"
             or ALONE in path]
    makers = "samples/harp/etherealwinds", "samples/piano"
    notes = [path for path in rows if path.startswith(makers)]
    for path in (*paths, *notes):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        with open(tmp_path / path, "wb") as f:
            sf.write(f, .1 * np.sin(np.arange(8 * 22050) / 10), 22050, format="FLAC")
        (tmp_path / path).with_name("table.csv").touch()
    folder = tmp_path / "alignments" / "violin" / "bach-violin"
    for name, text in (("alignments", "start,end\n0.5,1\n1,2\n"), ("notes", "pitch\n69\n72\n")):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{ALIGNED}.csv").write_text(text)
    return tmp_path


def test_nobody_who_is_kept_unheard_is_in_a_cast(corpus):
    players = four_makers(FONTS, corpus)
    assert not {corpus / "samples" / place for place, _ in UNHEARD_MAKERS.values()} & {
        maker for makers in players.values() for maker, _ in makers}
    assert sum(maker not in FONTS for maker, _ in players["piano"]) > 1


def test_only_the_whole_profile_needs_npm():
    assert fonts_of(Run(profile="smoke")) == FONTS and "tonejs" in fonts_of(Run(profile="full"))


@needs_synthesizer
def test_a_recording_with_an_alignment_has_a_cast(corpus, monkeypatch):
    monkeypatch.setattr("mst.etudes.four_makers", lambda fonts, _: four_makers(fonts))
    monkeypatch.setattr(Run, "root", corpus)
    by_player = {next(iter(p)): p for p in real_performances(Run(profile="smoke"), corpus)}
    assert set(by_player) == {"recorded John Garner", "recorded Donald Betts"}
    assert len(by_player["recorded Donald Betts"]) == 1
    cast = by_player["recorded John Garner"]
    assert sum(map(len, cast.values())) == 1 + 2 * 4 + 3
    twins = TwinImages([{k: v for k, v in cast.items() if k in ("recorded John Garner", *FONTS)}])
    (name, recordings), = twins.pieces
    assert name == ALIGNED and ("recorded John Garner", "violin") in recordings
