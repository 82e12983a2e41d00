"""The commands beside `mst_transfer`, as a shell runs them: from sound to images, and from a
training to a benchmark."""
import csv

import numpy as np
import pytest
import soundfile as sf
from conftest import run

from mst.rulers import NOT_PRINTED

COMMANDS = ("mst_download", "mst_build_dataset", "mst_train", "mst_evaluate")


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command):
    result = run([command, "--help"])
    assert result.returncode == 0 and "Example: " + command in result.stdout and not result.stderr


@pytest.mark.parametrize("arguments, reason", [
    (["mst_download", "nothing.csv"], "nothing.csv: no such file"),
    (["mst_build_dataset", "nothing", "-o", "images"], "nothing: no recordings"),
    (["mst_build_dataset", "sounds", "-o", "images", "--scores", "nothing.csv"],
     "nothing.csv: there is no such list of scores"),
    (["mst_train", "vocoder", "-o", "weights.pt"],
     "weights.pt: the name should end in .safetensors"),
    (["mst_train", "ldm", "--autoencoder", "nothing.safetensors"], "nothing.safetensors"),
    (["mst_train", "ldm", "--data", "nothing"], "nothing: there is no such folder"),
    (["mst_evaluate", "--vocoder", "nothing.safetensors", "--csv", "scores.csv"],
     "nothing.safetensors"),
    (["mst_evaluate", "--device", "abacus", "--csv", "scores.csv"], "unknown device 'abacus'")])
def test_one_line_says_what_is_wrong(tmp_path, arguments, reason):
    result = run(arguments, cwd=tmp_path, MST_PROFILE="smoke")
    lines = [line for line in result.stderr.splitlines() if "scores to sound" not in line]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert reason in lines[0], result.stderr
    assert lines[0].startswith(arguments[0]), result.stderr
    assert not list(tmp_path.iterdir())


def test_from_recordings_to_images(tmp_path):
    for instrument, pitch in (("oboe", 440), ("tuba", 110)):
        (tmp_path / "sounds" / instrument).mkdir(parents=True)
        tone = .3 * np.sin(2 * np.pi * pitch * np.arange(7 * 22_050) / 22_050)
        sf.write(tmp_path / "sounds" / instrument / "tone.flac", tone, 22_050)
    result = run(["mst_build_dataset", tmp_path / "sounds", "-o", tmp_path / "images", "--n-mels",
                  "64"])
    assert result.returncode == 0, result.stderr
    assert sorted(p.relative_to(tmp_path / "images").as_posix()
                  for p in (tmp_path / "images").rglob("*.png")) == [
        f"{instrument}/tone_chunk{k}.png" for instrument in ("oboe", "tuba") for k in (0, 1, 2)]


def test_from_a_training_to_a_benchmark(tmp_path):
    trained, table = tmp_path / "vocoder.safetensors", tmp_path / "scores.csv"
    result = run(["mst_train", "vocoder", "--profile", "smoke", "--epochs", "1", "--out",
                  tmp_path / "runs", "-o", trained])
    assert result.returncode == 0 and trained.is_file(), result.stderr
    result = run(["mst_evaluate", "--profile", "smoke", "--vocoder", trained, "--csv", table,
                  "--adapt", "2"])
    assert result.returncode == 0 and "rendered: 3 cases of 1 recordings" in result.stdout, \
        result.stderr
    header, *rows = csv.reader(table.read_text().splitlines())
    rendered = {row[1]: row for row in rows[:11]}
    assert list(rendered) == [
        "copy content", "another clip", "equaliser only", "transcribe and render", "mst",
        "mst without texture", "mst refined", "mst not adapted", "twin through autoencoder",
        "twin through vocoder", "twin"]
    notes = {name: float(row[header.index("notes")].split()[0]) for name, row in rendered.items()}
    assert notes["another clip"] < notes["copy content"] <= 1
    assert rendered["copy content"][header.index("heard as asked (%)")] == "0"
    assert all(name in result.stdout for name in rendered if name not in NOT_PRINTED)
