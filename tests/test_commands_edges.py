"""The commands beside their ordinary work: formats, bad files, one bad recording among good ones,
and what is said when they are stopped."""
import argparse
import json

import numpy as np
import pytest
import soundfile as sf

from mst import commands
from mst.adapt import Adaptation
from mst.commands import (
    build_main, build_parser, download_main, download_parser, evaluate_main, evaluate_parser, main,
    output_path, parse_guidance, parse_shard, positive_int, run_command, train_main, train_parser,
    transfer_parser, whole_number)
from mst.ldm import LDM_FILE
from mst.rulers import PRINTED, RULERS, RulerCase
from mst.run import Run, shipped_file
from mst.sound import load_transfer, transfer_file


@pytest.fixture(scope="module")
def violin():
    """The shipped networks, to play on the violin."""
    return load_transfer("violin", "cpu")


def noise(n, channels=1):
    return (.1 * np.random.default_rng(0).standard_normal((n, channels))).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """A folder with half a second of sound, and files that are no such thing."""
    sf.write(tmp_path / "in.wav", noise(20_000, 2), 44_100)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound")
    sf.write(tmp_path / "bad.wav", np.array([.1, np.nan, .1]), 44_100, "FLOAT")
    sf.write(tmp_path / "six.wav", noise(100, 6), 44_100)
    return tmp_path


@pytest.mark.parametrize("name", ["out.wav", "out.flac", "out.ogg", "out.mp3"])
def test_a_result_has_the_rate_channels_and_length_of_its_content(folder, violin, name):
    transfer_file(folder / "in.wav", folder / name, violin, progress=False)
    written = sf.info(folder / name)
    assert (written.samplerate, written.channels) == (44_100, 2)
    # mp3 rounds up to its own blocks
    assert abs(written.frames - 20_000) <= (2400 if name == "out.mp3" else 0)


@pytest.mark.parametrize("name, reason", [
    ("no.wav", "no such"), ("empty.wav", "empty"), ("text.wav", "decoded"),
    ("bad.wav", "finite"), ("six.wav", "6 channels")])
def test_what_cannot_be_played_leaves_no_file(folder, violin, name, reason):
    before = sorted(folder.iterdir())
    with pytest.raises((ValueError, OSError, RuntimeError), match=reason):
        transfer_file(folder / name, folder / "never.wav", violin, progress=False)
    assert sorted(folder.iterdir()) == before


def test_an_unknown_suffix_names_the_known_ones(folder, violin):
    with pytest.raises(ValueError, match=r"\.flac"):
        transfer_file(folder / "in.wav", folder / "never.xyz", violin, progress=False)
    assert not (folder / "never.xyz").exists()


def test_no_recording_no_transfer(folder, capsys):
    assert main([str(folder / "no.wav"), "--style", "violin"]) == 2
    assert capsys.readouterr().err == (f"mst_transfer: {folder / 'no.wav'}: there is no such "
                                       "recording\n")


def test_one_that_cannot_be_read_does_not_stop_the_other(folder, capsys):
    contents = [str(folder / "text.wav"), str(folder / "in.wav")]
    assert main([*contents, "--style", "harp", "--style", "piano", "-o", str(folder),
                 "--quiet"]) == 2
    assert sorted(p.name for p in folder.iterdir() if "_" in p.name or "never" in p.name
                  or "part" in p.name) == ["in_harp_piano.wav"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("mst_transfer: ") and "decoded" in lines[0]


@pytest.mark.parametrize("content, output, reason", [
    ("text.wav", "a.wav", "decoded"), ("in.wav", "in.wav/a.wav", "in.wav"),
    ("in96.wav", "a.mp3", "cannot hold")])
def test_nothing_is_learned_for_what_cannot_be_played(folder, capsys, monkeypatch, content, output,
                                                      reason):
    monkeypatch.setattr("mst.sound.learn_styles", lambda *args: pytest.fail("learned"))
    sf.write(folder / "in96.wav", noise(20_000), 96_000)
    assert main([str(folder / content), "--style", str(folder / "in.wav"), "-o",
                 str(folder / output), "--quiet"]) == 2
    assert reason in capsys.readouterr().err


def test_a_style_that_nobody_knows_names_those_that_ship(folder, capsys):
    assert main([str(folder / "in.wav"), "--style", "guitar"]) == 2
    assert "guitar: there is no such recording, and no style" in (said := capsys.readouterr().err)
    assert "acoustic_guitar" in said and said.count("\n") == 1


@pytest.mark.parametrize("name, rate", [("a.ogg", 250_000), ("a.flac", 96_001)])
def test_rates_that_a_format_cannot_hold(folder, violin, name, rate):
    """libsndfile opens such a file, and fails, or dies, later."""
    sf.write(folder / "fast.wav", noise(rate // 4), rate)
    with pytest.raises(ValueError, match=f"{name}: cannot hold {rate} samples"):
        transfer_file(folder / "fast.wav", folder / name, violin, progress=False)
    assert not [p for p in folder.iterdir() if p.name.startswith((".part", "a."))]


@pytest.mark.parametrize("parser, arguments", [
    (transfer_parser, ["x", "--style", "harp"]), (download_parser, ["x"]), (build_parser, ["x"]),
    (train_parser, ["ldm"]), (evaluate_parser, [])])
def test_home_in_an_output(tmp_path, monkeypatch, parser, arguments):
    """`--output=~/new`, which a shell leaves as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    name = "csv" if parser is evaluate_parser else "output"
    args = parser().parse_args([*arguments, f"--{name}=~/new"])
    assert getattr(args, name) == str(tmp_path / "new")
    assert Run(out="~/runs", profile="smoke").folder == tmp_path / "runs" / "smoke"


def test_standard_input_is_read_once(folder, capsys):
    assert main(["-", "--style", "-", "-o", str(folder / "a.wav")]) == 2
    assert "standard input can be read once" in capsys.readouterr().err


def one_set(name):
    """What `evaluate_sets` tells of its first set, with one number."""
    rows, printed = ([("rendered", *"x" * len(keys), "x")] for keys in (RULERS, PRINTED))
    return rows, printed, {f"rulers_dev_{name}": "1"}


def test_an_evaluation_keeps_the_sets_that_were_finished(tmp_path, capsys, monkeypatch):
    def measure_one_set(run, split, folder, methods, keep):
        keep(*one_set("heard"))
        raise KeyboardInterrupt
    monkeypatch.setattr(commands, "evaluate_sets", measure_one_set)
    assert evaluate_main(["--profile", "smoke", "--out", str(tmp_path), "--csv",
                          str(tmp_path / "scores.csv")]) == 130
    assert "the sets that were finished are in" in capsys.readouterr().err
    for path in ("scores.csv", "smoke/tables/rulers_dev.csv", "smoke/tables/rulers_dev_all.csv"):
        assert "rendered,x" in (tmp_path / path).read_text()
    def stop(*args):
        raise KeyboardInterrupt
    monkeypatch.setattr(commands, "evaluate_sets", stop)
    assert evaluate_main(["--profile", "smoke", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "mst_evaluate: stopped; no set was finished\n"


def test_an_evaluation_is_apart_from_the_report_and_forgets_an_earlier_one(tmp_path, capsys,
                                                                           monkeypatch):
    monkeypatch.chdir(tmp_path)
    numbers = tmp_path / "evaluations" / "smoke" / "numbers" / "mst_evaluate.json"
    for name in ("a", "b"):
        monkeypatch.setattr(commands, "evaluate_sets",
                            lambda *rest, name=name: rest[-1](*one_set(name)))
        assert evaluate_main(["--profile", "smoke"]) == 0
        assert json.loads(numbers.read_text()) == {f"rulers_dev_{name}": "1"}
    assert not (tmp_path / "runs").exists()


def test_what_cannot_be_written_is_said_before_anything_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(commands, "evaluate_sets", lambda *args: pytest.fail("measured"))
    (tmp_path / "file").touch()
    asked = ["--profile", "smoke", "--out", str(tmp_path), "--csv"]
    assert evaluate_main([*asked, str(tmp_path / "file" / "x.csv")]) == 2
    assert "folder is a file" in (said := capsys.readouterr().err)
    assert said.count("\n") == 1
    assert train_main(["ldm", "--profile", "smoke", "--out", str(tmp_path), "-o",
                       str(tmp_path / "file" / "x.safetensors")]) == 2
    assert "folder is a file" in capsys.readouterr().err


def test_a_content_that_is_named_twice_is_refused(folder, capsys):
    """Also where both names are one object, as of one letter they are."""
    name = str(folder / "in.wav")
    assert main([name, name, "--style", "violin", "-o", str(folder / "one.wav")]) == 2
    assert "several results would go to" in capsys.readouterr().err


def test_fewer_attempts_than_none_are_refused(capsys):
    with pytest.raises(SystemExit):
        download_main(["nothing.csv", "--retries", "-1"])
    assert "--retries" in capsys.readouterr().err


def test_an_evaluation_of_another_model_says_that_no_texture_is_drawn(tmp_path, capsys,
                                                                      monkeypatch):
    """The one that ships belongs to the model that ships."""
    monkeypatch.setattr(commands, "evaluate_sets", lambda *args: None)
    asked = ["--profile", "smoke", "--out", str(tmp_path)]
    assert evaluate_main(asked) == 0 and "no texture" not in capsys.readouterr().out
    assert evaluate_main([*asked, "--ldm", str(shipped_file(LDM_FILE))]) == 0
    assert "no texture is drawn: the one that ships" in capsys.readouterr().out


def test_a_style_is_learned_once_for_all_ways(violin, monkeypatch):
    """And anew for another case; each way plays by its own numbers."""
    learned, played = [], []
    def learn(ldm, sounds, *rest):
        learned.append(len(sounds))
        return ldm
    def play(content, result, transfer, progress):
        played.append(transfer.sampler is None)
        sf.write(result, noise(100), 22_050)
    monkeypatch.setattr(commands, "learn_styles", learn)
    monkeypatch.setattr(commands, "transfer_file", play)
    methods = commands.file_methods(violin.ldm, violin.vocoder, Adaptation(),
                                    {"mean": {}, "walk": {"strength": .2}})
    sound = noise(66_150)[:, 0]
    for case in (RulerCase(sound, sound, "piano", "violin", name) for name in "ab"):
        assert all(len(method(case)) == 100 for method in methods.values())
    assert learned == [1, 1] and played == [True, False] * 2


def test_a_line_for_each_result_unless_quiet(folder, capsys, monkeypatch):
    monkeypatch.setattr(commands, "load_transfer", lambda *args, **kwargs: None)
    monkeypatch.setattr(commands, "transfer_file", lambda *args, **kwargs:
                        {"seconds": 1.25, "times_real_time": 8.04})
    arguments = [str(folder / "in.wav"), "--style", "violin", "-o", "out.wav"]
    assert main(arguments) == 0
    assert capsys.readouterr().err == "out.wav: 1.2 s, 8.0 times real time\n"
    assert main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_a_stopped_transfer_says_that_the_finished_ones_are_there(folder, capsys, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt
    monkeypatch.setattr(commands, "load_transfer", lambda *args, **kwargs: None)
    monkeypatch.setattr(commands, "transfer_file", stop)
    assert main([str(folder / "in.wav"), "--style", "violin"]) == 130
    assert capsys.readouterr().err == "mst_transfer: stopped; nothing was played\n"
    done = iter([{"seconds": 1., "times_real_time": 8.}])
    monkeypatch.setattr(commands, "transfer_file", lambda *args: next(done, None) or stop())
    for name in "ab":
        sf.write(folder / f"{name}.wav", noise(100), 44_100)
    assert main([str(folder / "a.wav"), str(folder / "b.wav"), "--style", "violin", "--quiet",
                 "-o", str(folder / "new") + "/"]) == 130
    assert capsys.readouterr().err == "mst_transfer: stopped; what was finished is there\n"
    monkeypatch.setattr(commands, "load_transfer", stop)  # while it reads the style
    assert main([str(folder / "in.wav"), "--style", "violin"]) == 130
    assert capsys.readouterr().err == "mst_transfer: stopped; nothing was played\n"


@pytest.mark.parametrize("error, status, line", [
    (None, 0, ""), (ValueError("too\nlong"), 2, "mst_x: too long\n"),
    (FloatingPointError("loss is nan"), 2, "mst_x: FloatingPointError: loss is nan\n"),
    (KeyboardInterrupt("stopped in epoch 2"), 130, "mst_x: stopped in epoch 2\n"),
    (KeyboardInterrupt(), 130, "mst_x: stopped; the same command goes on from here\n")])
def test_how_a_command_ends(capsys, error, status, line):
    def work(args):
        if error is not None:
            raise error
    assert run_command(argparse.ArgumentParser("mst_x"), work, []) == status
    assert capsys.readouterr().err == line


def test_a_mistake_of_ours_is_not_hidden_in_a_line():
    def work(args):
        raise KeyError("x")
    with pytest.raises(KeyError):
        run_command(argparse.ArgumentParser("mst_x"), work, [])


@pytest.mark.parametrize("command, arguments", [
    (download_main, ["nothing.csv"]), (download_main, ["urls.csv"]), (build_main, ["nothing"]),
    (build_main, [".", "--scores", "nothing.csv"]), (train_main, ["ldm", "-o", "ldm.pt"]),
    (train_main, ["vocoder", "--autoencoder", "nothing"]),
    (evaluate_main, ["--device", "abacus"])])
def test_what_cannot_be_done_ends_with_2(tmp_path, monkeypatch, capsys, command, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "urls.csv").write_text("instrument,title\n")
    if command in (train_main, evaluate_main):
        arguments = [*arguments, "--profile", "smoke", "--out", str(tmp_path / "runs")]
    assert command(arguments) == 2
    assert capsys.readouterr().err.strip()
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("parse, texts", [
    (positive_int, ["0", "-1", "1.5", "", "x"]), (parse_guidance, ["", "much"]),
    (whole_number, ["-1", "1.5", "", "x"]),
    (parse_shard, ["0/4", "5/4", "1", "1/2/3", "a/b", "1/0"])])
def test_arguments_that_are_refused(parse, texts):
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError, match=" is n"):
            parse(text)


def test_where_results_go(tmp_path):
    assert output_path("a.mp3", "-", ["harp"]) == output_path("-", "-", ["harp"]) == "-"
    assert output_path("x/a.b.mp3", None, ["harp"]) == "a.b_harp.wav"
    result = output_path("-", str(tmp_path), ["harp", "clips/b.wav"])
    assert result == str(tmp_path / "sound_harp_b.wav")
