"""What is read is never written, what is there is written anew only where `-o` names it, and a
link stays a link."""
import os

import numpy as np
import pytest
import soundfile as sf

from mst import commands
from mst.commands import evaluate_main, main, train_main
from mst.files import atomic_path, check_output
from mst.sound import load_transfer, transfer_file
from mst.takes import render_corpus


@pytest.fixture(scope="module")
def violin():
    return load_transfer("violin", "cpu")


@pytest.fixture
def folder(tmp_path, monkeypatch, violin):
    """A folder where one is, with a recording by six names, and a style."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "load_transfer", lambda *args, **options: violin)
    noise = .1 * np.random.default_rng(0).standard_normal(9000)
    sf.write("a.wav", noise, 22_050)
    sf.write("style.wav", noise[::-1], 22_050)
    (tmp_path / "sub").mkdir()
    os.link("a.wav", "hard.wav")
    os.symlink("a.wav", "soft.wav")
    os.symlink("soft.wav", "softer.wav")
    os.symlink(".", "here")
    return tmp_path


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


NAMES = ["a.wav", "./a.wav", "sub/../a.wav", "hard.wav", "soft.wav", "softer.wav", "here/a.wav"]


@pytest.mark.parametrize("output", NAMES)
def test_a_recording_that_is_read_is_not_written(folder, capsys, violin, output):
    before = bytes_of(folder)
    absolute = str(folder / output)
    for arguments in (["a.wav", "--style", "violin", "-o", output],
                      ["hard.wav", "--style", "violin", "-o", absolute],
                      ["style.wav", "--style", "a.wav", "-o", output],
                      ["style.wav", "--style", "harp", "--style", "softer.wav", "-o", output]):
        assert main([*arguments, "--quiet"]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and "would be lost" in lines[0]
        assert os.path.basename(output) in lines[0]
    with pytest.raises(ValueError, match="would be lost"):
        transfer_file("a.wav", output, violin, progress=False)
    assert bytes_of(folder) == before


def test_nor_one_that_comes_later_in_the_list(folder, capsys):
    sf.write("a_violin.wav", np.ones(100), 22_050)
    before = bytes_of(folder)
    assert main(["a.wav", "a_violin.wav", "--style", "violin", "--quiet"]) == 2
    assert "a_violin.wav" in capsys.readouterr().err and bytes_of(folder) == before


def test_a_result_that_is_there_is_kept_unless_named(folder, capsys):
    (folder / "a_violin.wav").write_text("my take")
    (folder / "sub" / "a_violin.wav").write_text("my take")
    for options in ([], ["-o", "sub"]):
        assert main(["a.wav", "--style", "violin", "--quiet", *options]) == 2
        assert "is there already; to write it anew, name it with -o" in capsys.readouterr().err
    assert main(["a.wav", "style.wav", "--style", "violin", "--quiet"]) == 2  # the other is played
    assert (folder / "a_violin.wav").read_text() == "my take" and sf.info("style_violin.wav").frames
    assert (folder / "sub" / "a_violin.wav").read_text() == "my take"
    assert main(["a.wav", "--style", "violin", "--quiet", "-o", "a_violin.wav"]) == 0
    assert sf.info("a_violin.wav").frames == 9000


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_written_through(folder, there):
    (folder / "disk").mkdir()
    if there:
        (folder / "disk" / "take").write_text("before")
    os.symlink("disk/take", "out.wav")
    assert main(["a.wav", "--style", "violin", "--quiet", "-o", "out.wav"]) == 0
    assert os.readlink("out.wav") == "disk/take" and sf.info("disk/take").frames == 9000
    assert sorted(os.listdir("disk")) == ["take"]


def test_a_link_that_leads_nowhere_else_is_refused_in_a_line(folder, capsys):
    os.symlink("b.wav", "c.wav")
    os.symlink("c.wav", "b.wav")
    assert main(["a.wav", "--style", "violin", "--quiet", "-o", "b.wav"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert os.readlink("b.wav") == "c.wav" and os.readlink("c.wav") == "b.wav"


def test_two_results_in_one_file_by_two_names(folder, capsys):
    (folder / "sub2").mkdir()
    os.symlink("../sub2/x.wav", "sub/a_violin.wav")
    os.symlink("../sub2/x.wav", "sub/style_violin.wav")
    assert main(["a.wav", "style.wav", "--style", "violin", "--quiet", "-o", "sub"]) == 2
    assert "several results" in capsys.readouterr().err and not os.listdir("sub2")


def test_tables_and_weights_go_through_links_too(tmp_path):
    (tmp_path / "real.csv").write_text("old")
    os.symlink("real.csv", tmp_path / "table.csv")
    with atomic_path(tmp_path / "table.csv") as part:
        part.write_text("new")
    assert os.readlink(tmp_path / "table.csv") == "real.csv"
    assert (tmp_path / "real.csv").read_text() == "new"
    check_output(tmp_path / "not there", tmp_path / "real.csv", tmp_path / "neither", "a\0b")


def test_what_comes_or_goes_by_redirection_is_not_written_over(tmp_path):
    """`mst_transfer - ... -o song.wav < song.wav`, and `mst_transfer song.wav -o - >> song.wav`."""
    song = tmp_path / "song.wav"
    song.touch()
    for stream, names in ((0, (song, "-")), (1, ("-", song))):
        before = os.dup(stream)
        with open(song, "r+") as file:
            os.dup2(file.fileno(), stream)
        try:
            with pytest.raises(ValueError, match="standard .* would be lost"):
                check_output(*names)
        finally:
            os.dup2(before, stream)
            os.close(before)
    check_output("-", "-", song)


def test_a_private_file_stays_private(tmp_path):
    private = tmp_path / "song.wav"
    private.touch(0o600)
    with atomic_path(private) as part:
        part.write_text("new")
    assert private.read_text() == "new" and private.stat().st_mode & 0o777 == 0o600


def test_weights_that_are_read_are_not_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(commands, "load_autoencoder", lambda path: None)
    (tmp_path / "ae.safetensors").write_text("weights")
    os.link("ae.safetensors", "same.safetensors")
    options = ["--profile", "smoke", "--out", str(tmp_path / "runs")]
    assert train_main(["ldm", "--autoencoder", "ae.safetensors", "-o", "same.safetensors",
                       *options]) == 2
    assert evaluate_main(["--ldm", "ae.safetensors", "--csv", "same.safetensors", *options]) == 2
    assert capsys.readouterr().err.count("would be lost") == 2
    assert (tmp_path / "same.safetensors").read_text() == "weights"
    assert not (tmp_path / "runs").exists()


def test_rendering_keeps_a_recording_of_the_same_name(tmp_path):
    from mst.run import shipped_file
    from mst.scores import SCORES, read_scores
    piece = read_scores(shipped_file(SCORES))[0].piece
    (tmp_path / "harp").mkdir()
    sf.write(tmp_path / "harp" / f"{piece}.flac", np.zeros(9000), 22_050)
    with pytest.raises(RuntimeError, match="a recording of yours has this name"):
        render_corpus(shipped_file(SCORES), tmp_path, ["harp"], [piece])
    assert sf.info(tmp_path / "harp" / f"{piece}.flac").frames == 9000
