"""Shards of one work, built by several processes or on several machines, give the files of one
build."""
import shutil
from functools import partial

import pytest
from test_survive_data import (  # noqa: F401
    PIECES, SCORES, files, needs_synthesizer, processes, quietly, songs)

from mst.files import in_shard
from mst.images import build_dataset_folder_structure
from mst.takes import render_corpus
from mst.commands import build_main

SHARDS = [(i, 3) for i in (2, 1, 3)]


def one_by_one(work, output):
    for shard in SHARDS:
        work(output, shard=shard)


def at_once(work, output):
    jobs = [processes.Process(target=quietly, args=(work, output), kwargs={"shard": shard})
            for shard in SHARDS]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * len(SHARDS)


def merged(work, output):
    for shard in SHARDS:
        work(output.with_name(f"shard{shard[0]}"), shard=shard)
        shutil.copytree(output.with_name(f"shard{shard[0]}"), output, dirs_exist_ok=True)


ways = pytest.mark.parametrize("way", [one_by_one, at_once, merged])


@ways
def test_building(songs, tmp_path, way):  # noqa: F811
    work = partial(build_dataset_folder_structure, songs, workers=1)
    all_images = work(tmp_path / "all", balance=False)
    way(work, tmp_path / "shards")
    assert files(tmp_path / "shards") == files(tmp_path / "all")
    balanced = work(tmp_path / "balanced")
    assert work(tmp_path / "shards").images == balanced.images != all_images.images
    assert files(tmp_path / "shards") == files(tmp_path / "balanced")


@needs_synthesizer
@ways
def test_rendering(tmp_path, way):
    work = partial(render_corpus, SCORES, instruments=["harp"], pieces=PIECES, workers=1)
    work(tmp_path / "one")
    way(work, tmp_path / "shards")
    assert len(files(tmp_path / "one")) == len(PIECES)
    assert files(tmp_path / "shards") == files(tmp_path / "one")


@pytest.mark.parametrize("text", ["0/4", "5/4", "4", "a/b", "1/4/2", "-1/4"])
def test_no_such_shard(tmp_path, capsys, text):
    with pytest.raises(SystemExit, match="2"):
        build_main([str(tmp_path), f"--shard={text}"])
    assert f"argument --shard: '{text}' is no shard" in capsys.readouterr().err


@needs_synthesizer
def test_command(tmp_path):
    rows, pieces = SCORES.read_text().splitlines(), PIECES[::2]
    (tmp_path / "scores.csv").write_text(
        "\n".join([rows[0], *(row for row in rows if row.split(",")[0] in pieces)])
    )
    for folder, shards in (("one", [[]]), ("two", [["--shard", "1/2"], ["--shard", "2/2"]])):
        for shard in shards:
            assert build_main([str(tmp_path / folder / "sounds"), "-o",
                               str(tmp_path / folder / "images"),
                               "--scores", str(tmp_path / "scores.csv"), *shard]) == 0
    images = [{name for name in files(tmp_path / folder) if name.endswith(".png")}
              for folder in ("one", "two")]
    # both have something to do
    assert {in_shard(piece, (1, 2)) for piece in pieces} == {True, False}
    assert images[0] == images[1] and len(images[0]) == 3 * 4 * len(pieces)
