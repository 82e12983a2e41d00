"""Images that are damaged, splits of few recordings, folders of the user's, wrong pair files."""
from functools import partial

import numpy as np
import pytest
import soundfile as sf
from PIL import Image

from mst.data import SpectrogramPairDataset, parse_piece, prepare_corpus, read_image, split_by_piece
from mst.run import Run


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    "A folder of two instruments, five images each of noise."
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for instrument in ("harp", "lute"):
        (folder / instrument).mkdir()
        for k in range(5):
            pixels = rng.integers(0, 256, (128, 130), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / instrument / f"a_chunk{k}.png")
    return folder


@pytest.mark.parametrize("size, message", [((130, 64), "64 bands"), ((100, 128), "100 frames")])
def test_images_of_another_size(tmp_path, size, message):
    Image.new("L", size).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "a.png")


def test_a_torn_image(tmp_path, images):
    (tmp_path / "torn.png").write_bytes((images / "harp/a_chunk0.png").read_bytes()[:999])
    with pytest.raises(ValueError, match="build again"):
        read_image(tmp_path / "torn.png")


def test_an_image_of_another_format(tmp_path):
    Image.new("L", (130, 128)).save(tmp_path / "other.png", "BMP")
    with pytest.raises(ValueError, match="build again"):
        read_image(tmp_path / "other.png")


@pytest.mark.parametrize("piece, parts", [
    ("bwv253", ("bwv253", 0, float("inf"))), ("song@8:10", ("song", 8, 10)),
    ("a@1", ("a@1", 0, float("inf"))), ("a\nb@0:1", ("a\nb", 0, 1))])
def test_items_of_a_split(piece, parts):
    assert parse_piece(piece) == parts


@pytest.mark.parametrize("n", range(3, 9))
@pytest.mark.parametrize("seed", range(5))
def test_three_recordings_or_more_give_one_to_each_split(n, seed):
    splits = split_by_piece({"harp": {f"a{k}": 5 for k in range(n)},
                             "piano": {f"b{k}": 5 for k in range(3)}}, seed=seed)
    assert all(any(p[0] == i for p in splits[split]) for split in splits for i in "ab")


def test_recordings_that_two_instruments_share_and_one_has_few_of():
    """`x` is cut in time for the harp's sake, so the piano's other two are left to chance."""
    splits = split_by_piece({"harp": {"x": 10}, "piano": {"x": 20, "y": 10, "z": 5}})
    assert "x@18:20" in splits["test"]
    assert sorted(p for pieces in splits.values() for p in pieces if p[0] != "x") == ["y", "z"]


def make_sound(path, seconds, pitch):
    path.parent.mkdir(parents=True, exist_ok=True)
    n = np.arange(int(seconds * 22050))
    sf.write(path, 0.5 * np.sin(2 * np.pi * pitch * n / 22050), 22050)


@pytest.fixture
def mine(tmp_path):
    "A folder of the user's: one recording of a bell, three of a drone."
    make_sound(tmp_path / "mine/bell/ding.wav", 20, 880)
    for k in range(3):
        make_sound(tmp_path / f"mine/drone/om{k}.ogg", 10, 110 * (k + 1))
    return tmp_path / "mine"


@pytest.fixture
def run(tmp_path, mine, monkeypatch):
    monkeypatch.setattr(Run, "root", property(lambda self: tmp_path))
    return Run(profile="smoke", out=str(tmp_path), data=str(mine))


def test_a_folder_of_the_users_becomes_a_corpus_and_stays_as_it_is(run, mine):
    before = {p: p.stat().st_mtime_ns for p in mine.rglob("*")}
    corpus = prepare_corpus(run)
    assert prepare_corpus(run) == corpus
    assert {p: p.stat().st_mtime_ns for p in mine.rglob("*")} == before
    assert (corpus.images.parent, corpus.instruments) == (run.root / "data", ["bell", "drone"])
    # ding in blocks, om by piece
    assert all(len(corpus.dataset(split)) > 1 for split in corpus.splits)
    assert corpus.recording("bell", "ding@0:5").name == "ding.wav"
    with pytest.raises(FileNotFoundError, match="no recording of om0"):
        corpus.recording("bell", "om0")


def test_a_folder_of_the_users_without_anything_usable(run, mine):
    for path in mine.glob("*/*.*"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="none of the recordings can be used"):
        prepare_corpus(run)


@pytest.mark.parametrize("row, message", [
    ("harp,0,kazoo,0", "row 2: unknown label 'kazoo'"), ("harp,0,harp,5", "row 2: image 5 of harp"),
    ("harp,0,harp", "row 2"), ("harp,-1,harp,0", "row 2"),
    ("harp,x,harp,0", "is not label1")])
def test_a_row_of_a_pair_file_that_points_nowhere(images, tmp_path, row, message):
    (tmp_path / "bad.csv").write_text(f"harp,0,harp,0\r\n{row}\r\n")
    with pytest.raises(ValueError, match=message):
        SpectrogramPairDataset(images, tmp_path / "bad.csv")


def test_a_pair_file_that_is_not_there(images):
    with pytest.raises(FileNotFoundError, match="generate_pairings"):
        SpectrogramPairDataset(images, "nowhere.csv")


def test_drawing_again_writes_the_same_bytes(images, tmp_path):
    draw = partial(SpectrogramPairDataset.generate_pairings, images, num_pairs=500)
    draw(tmp_path / "one.csv"), draw(tmp_path / "two.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert len(SpectrogramPairDataset(images, tmp_path / "one.csv")) == 500


def test_pairs_need_two_instruments_with_images(tmp_path):
    (tmp_path / "piano").mkdir()
    draw = partial(SpectrogramPairDataset.generate_pairings, tmp_path, tmp_path / "pairs.csv")
    with pytest.raises(ValueError, match="at least two"):
        draw()
    (tmp_path / "harp").mkdir()
    with pytest.raises(ValueError, match="no images of harp"):
        draw()
    assert not (tmp_path / "pairs.csv").exists()
