"""The explorer's panel without a browser: bad uploads, presses at the wrong time, mixed styles."""
import io
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from conftest import ROOT
from PIL import Image

from mst.explorer import Explorer, count_windows, find_twin, spectrogram
from mst.ldm import load_ldm
from mst.sound import HOP, OVERLAP, RATE, STYLES, WINDOW
from mst.vocoder import load_vocoder

pytest.importorskip("ipywidgets")
LOADERS = {"load_ldm": cache(load_ldm), "load_vocoder": cache(load_vocoder)}


@pytest.fixture(scope="module")
def piece(tmp_path_factory):
    """A piece of the piano; its twin by the violin lies beside it."""
    folder = tmp_path_factory.mktemp("songs")
    for name in ("piano", "violin"):
        (folder / name).mkdir()
        (folder / name / "piece.flac").write_bytes((ROOT / STYLES / f"{name}.flac").read_bytes())
    return folder / "piano" / "piece.flac"


@pytest.fixture
def explorer(piece, monkeypatch):
    """A panel of its own for each test, with networks that are loaded once."""
    for name, load in LOADERS.items():
        monkeypatch.setattr(f"mst.explorer.{name}", load)
    return Explorer({"piece": piece}, "cpu")


def shown(explorer, view):
    """Picture and sound in a view."""
    return [widget.value for widget in explorer.views[view].children[1:]]


def frames(explorer, view):
    return sf.info(io.BytesIO(shown(explorer, view)[1])).frames


def play(explorer):
    explorer.start()
    explorer.thread.join()


def test_the_twin_is_there_only_for_another_instrument(explorer):
    assert [len(shown(explorer, view)) for view in explorer.views] == [2, 2, 0, 2]
    explorer.style.value = "piano"
    assert not shown(explorer, "twin")


def test_a_transfer(explorer):
    explorer.steps.value = 2
    play(explorer)
    assert frames(explorer, "output") == frames(explorer, "content")
    assert explorer.bar.value == pytest.approx(1, abs=1e-6)
    assert "real time" in explorer.message.value


def test_cancel_and_a_second_press_on_play(explorer):
    explorer.start()
    first = explorer.thread
    explorer.start()
    assert explorer.thread is first or not first.is_alive()
    explorer.cancelled.set()
    explorer.thread.join()
    assert (explorer.message.value, shown(explorer, "output")) == ("cancelled", [])
    assert (explorer.play.disabled, explorer.cancel.disabled) == (False, True)


def test_another_choice_takes_the_output_away(explorer):
    play(explorer)
    assert shown(explorer, "output")
    explorer.style.value = "harp"
    assert not shown(explorer, "output") and explorer.cancelled.is_set()


def test_a_mixture_has_no_twin_and_the_second_style_alone_is_shown(explorer):
    explorer.style.value, explorer.other.value = "harp", "violin"
    explorer.mix.value = .5
    assert not shown(explorer, "twin")
    explorer.mix.value = 1
    assert shown(explorer, "twin") and frames(explorer, "style") == frames(explorer, "twin")


def test_uploads_that_are_no_sound(explorer):
    for kind in ("content", "style"):
        explorer.add_uploads(kind, {"new": [{"name": "mine.wav", "content": b"no sound"}]})
        assert "cannot be decoded" in explorer.message.value
    play(explorer)
    assert "decoded" in explorer.message.value and not explorer.play.disabled
    assert Path(explorer.content.value).name == Path(explorer.style.value).name == "mine.wav"


def test_an_upload_stays_in_the_explorers_folder(explorer, piece):
    sound = piece.read_bytes()
    explorer.add_uploads("content", {"new": [{"name": "../../evil.flac", "content": sound}]})
    path = Path(explorer.content.value)
    assert path.parent == Path(explorer.folder.name) / "content" and path.read_bytes() == sound
    assert list(dict(explorer.content.options)) == ["piece", "evil.flac"]


def test_an_uploaded_style_joins_both_lists(explorer, piece):
    explorer.add_uploads("style", {"new": [{"name": "mine.flac", "content": piece.read_bytes()}]})
    assert all("mine.flac" in dict(styles.options) for styles in (explorer.style, explorer.other))
    assert explorer.other.value == "piano" and explorer.style.value.endswith("mine.flac")
    assert frames(explorer, "style") == frames(explorer, "content")


def test_messages_are_text_and_no_html(explorer):
    explorer.say("<b>a</b>")
    assert explorer.message.value == "&lt;b&gt;a&lt;/b&gt;"


def test_no_twin_of_what_is_not_a_rendered_piece(piece):
    assert find_twin("piano/x.flac", "banjo") is find_twin(piece, "piano") is None
    assert find_twin("banjo/x.flac", "piano") is None
    assert find_twin(piece.with_name("x.flac"), "violin") is None


@pytest.mark.parametrize("n", [1, 5, 2000, 30 * RATE])
def test_a_spectrogram_has_its_size_for_any_sound(n):
    picture = Image.open(io.BytesIO(spectrogram(np.zeros(n, np.float32), 60, 40)))
    assert picture.size == (60, 40)


@pytest.mark.parametrize("windows", [1, 2, 3])
def test_the_bar_counts_the_windows(tmp_path, windows):
    longest = (WINDOW + (windows - 1) * (WINDOW - OVERLAP)) * HOP
    for samples, expected in ((longest, windows), (longest + HOP, windows + 1)):
        sf.write(tmp_path / "sound.wav", np.zeros(samples), RATE)
        assert count_windows(tmp_path / "sound.wav") == expected
