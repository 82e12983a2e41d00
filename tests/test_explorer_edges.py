"""The explorer's panel without a browser: bad uploads, presses at the wrong time, mixed styles."""
import io
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from conftest import ROOT
from PIL import Image

from mst.explorer import (
    KEPT, Explorer, count_windows, find_twin, name_recordings, piece_title, spectrogram)
from mst.ldm import load_ldm
from mst.run import shipped_file
from mst.scores import SCORES, read_scores
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


def test_a_panel_without_contents_waits_for_an_upload(explorer):
    panel = Explorer({}, "cpu")
    panel.start()
    assert panel.thread is None and "upload one" in panel.message.value


def shown(explorer, view):
    """Picture and sound in a view."""
    return [widget.value for widget in explorer.views[view].children[1:3]]


def heads(row):
    """The title of every view in a row, as HTML."""
    return [view.children[0].value for view in row]


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
    assert frames(explorer, "result") == frames(explorer, "content")
    assert explorer.bar.value == pytest.approx(1, abs=1e-6)
    assert "real time" in explorer.message.value and "of sound took" in explorer.message.value
    name = "1 piece as violin.flac"
    assert [path.name for path in explorer.results.iterdir()] == [name]
    assert f'download="{name}"' in explorer.views["result"].children[3].value


def test_results_are_kept_the_newest_first_and_so_many(explorer, monkeypatch):
    monkeypatch.setattr("mst.explorer.transfer_file", lambda content, path, *args, **options: (
        Path(path).write_bytes(Path(content).read_bytes()),
        {"seconds": 3., "times_real_time": 2.})[1])
    for seed in range(KEPT + 2):
        explorer.seed.value = seed
        play(explorer)
    assert len(explorer.kept.children) == KEPT
    assert f"{KEPT + 1}. piece as violin" in heads(explorer.kept.children)[0]
    assert f"{KEPT + 2}. piece as violin" in heads(explorer.views.values())[2]
    assert "1.5 s: 2.0 times" in explorer.message.value
    explorer.style.value = "harp"
    assert f"{KEPT + 2}. piece as violin" in heads(explorer.kept.children)[0]
    assert f"seed {KEPT + 1}" in explorer.kept.children[0].children[3].value
    explorer.mix.value = .25
    play(explorer)
    assert "piece as 75% harp, 25% piano" in heads(explorer.views.values())[2]


def test_results_stay_in_the_folder_that_is_named(piece, tmp_path, monkeypatch):
    for name, load in LOADERS.items():
        monkeypatch.setattr(f"mst.explorer.{name}", load)
    for expected in ("1 a b as violin.flac", "2 a b as violin.flac"):
        explorer = Explorer({"a/ b<": piece}, "cpu", tmp_path / "mine")
        explorer.strength.value = 0
        play(explorer)
        assert (tmp_path / "mine" / expected).is_file()
        assert "a/ b&lt; as violin" in heads(explorer.views.values())[2]


def test_all_pieces_have_titles():
    scores = read_scores(shipped_file(SCORES))
    titles = {piece_title(score.source) for score in scores}
    assert len(titles) > .9 * len(scores)
    assert not any("_" in title or title.endswith(".mxl") for title in titles)
    assert piece_title("ryansMammoth/LadusReel.abc") == "The Ladus, Reel"
    assert piece_title("oneills1850/0101-0200.abc#10000") == "Oneills 1850, 0101-0200"


def test_recordings_of_one_name_can_be_told_apart():
    paths = ["a/x_y.mp3", "b/x_y.mp3"]
    assert name_recordings(dict.fromkeys(paths, "cello")) == {
        "cello: x y": "a/x_y.mp3", "cello: x y (2)": "b/x_y.mp3"}


def test_cancel_and_a_second_press_on_play(explorer):
    explorer.start()
    first = explorer.thread
    explorer.start()
    assert explorer.thread is first or not first.is_alive()
    explorer.cancelled.set()
    explorer.thread.join()
    assert (explorer.message.value, shown(explorer, "result")) == ("cancelled", [])
    assert (explorer.play.disabled, explorer.cancel.disabled) == (False, True)


def test_another_choice_takes_the_output_away(explorer):
    play(explorer)
    assert shown(explorer, "result")
    explorer.style.value = "harp"
    assert not shown(explorer, "result") and explorer.cancelled.is_set()


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


def test_an_upload_is_shown_once_and_anew_if_it_is_written_over(explorer, piece, monkeypatch):
    made = []
    monkeypatch.setattr("mst.explorer.make_player", lambda path: made.append(path) or ())
    upload = {"new": [{"name": "mine.flac", "content": piece.read_bytes()}]}
    for kind in ("content", "style"):
        for _ in range(2):
            made.clear()
            explorer.add_uploads(kind, upload)
            assert [Path(path).name for path in made].count("mine.flac") == 1 + (kind == "style")
    with pytest.raises(TypeError):
        explorer.add_uploads("style", {"new": [{"name": "b.flac", "content": "no bytes"}]})
    made.clear()
    explorer.style.value = "harp"  # a choice is still shown
    assert made


def test_a_content_that_cannot_be_read_is_refused_before_a_style_is_learned(
        explorer, piece, monkeypatch):
    monkeypatch.setattr("mst.explorer.learn_styles", lambda *_, **options: pytest.fail("learned"))
    explorer.add_uploads("style", {"new": [{"name": "b.flac", "content": piece.read_bytes()}]})
    explorer.add_uploads("content", {"new": [{"name": "a.wav", "content": b"no sound"}]})
    play(explorer)
    assert "decoded" in explorer.message.value


def test_a_style_of_ones_own_is_learned_once_and_can_be_cancelled(explorer, piece, monkeypatch):
    told = []

    def learn(ldm, clips, seed, callback):
        callback(.5)
        told.append((len(clips), explorer.bar.value))
        return ldm
    monkeypatch.setattr("mst.explorer.learn_styles", learn)
    upload = {"new": [{"name": "mine.flac", "content": piece.read_bytes()}]}
    explorer.add_uploads("style", upload)
    own = explorer.style.value
    explorer.cancelled.clear()
    explorer.set_up_transfer().ready(), explorer.set_up_transfer().ready()
    assert told == [(1, .5)] and explorer.bar.value == 0
    explorer.mix.value = .5
    explorer.cancelled.clear()
    explorer.set_up_transfer().ready()
    explorer.style.value = "violin"
    explorer.cancelled.clear()
    assert explorer.set_up_transfer().ready() is explorer.networks[0]  # it ships
    assert explorer.set_up_transfer().texture is explorer.networks[2]
    explorer.style.value = own
    explorer.cancelled.clear()
    explorer.set_up_transfer().ready()
    assert len(told) == 1
    upload["new"][0]["content"] = (ROOT / STYLES / "harp.flac").read_bytes()
    explorer.add_uploads("style", upload)  # another file of the same name
    explorer.cancelled.set()
    explorer.play_transfer()
    assert explorer.message.value == "cancelled" and len(told) == 1


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
