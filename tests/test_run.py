"""A run's parameters and what it writes: `mst.run` at its edges."""
import json
import random
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import torch
from mst import run as module
from mst.run import (
    PARAMETERS, PROFILES, Run, check_result, image_arrays, print_table, project_root, show_images,
    tex_row, unknown_parameters)


@pytest.fixture
def example(tmp_path):
    return Run(profile="smoke", out=str(tmp_path), notebook="t")


def test_all_parameters_are_known():
    cell = "# Parameters\n" + "\n".join(f"{name} = 0" for name in PARAMETERS)
    assert unknown_parameters([cell]) == [] and unknown_parameters([]) == []


def test_unknown_parameters_of_all_injected_cells_in_order():
    cells = ["\n# Parameters\nz = 1\na = b = 2\n", "c = 1", "# Parameters\nz = 3\n"]
    assert unknown_parameters(cells) == ["a", "b", "z"]


def test_misspelt_parameter_stops_the_run(monkeypatch):
    shell = SimpleNamespace(user_ns={"In": ["", "# Parameters\nprofil = 'smoke'"]})
    monkeypatch.setattr(module, "get_ipython", lambda: shell, raising=False)
    with pytest.raises(ValueError, match="unknown parameter profil: known are preset, profile"):
        Run.start()


@pytest.mark.parametrize("parameters, message", [
    ({"preset": "mystery"}, "known are report, mst"), ({"profile": "huge"}, "smoke, quick, full"),
    ({"seed": "one"}, "whole number"), ({"seed": True}, "whole number"),
    ({"seed": 2**63}, "63 bits"), ({"device": "abacus"}, "unknown device"),
    ({"device": "meta"}, "unknown device"), ({"data": "a\0b"}, "cannot be the name of a folder")])
def test_wrong_parameter_is_named_with_what_is_known(monkeypatch, parameters, message):
    monkeypatch.delenv("MST_PROFILE", raising=False)
    with pytest.raises(ValueError, match=message):
        Run.start(**parameters)


def test_folder_of_own_recordings_must_be_there():
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        Run.start(data="no such folder")


def test_environment_overrides_the_profile(monkeypatch, capsys):
    monkeypatch.setenv("MST_PROFILE", "smoke")
    assert Run.start(profile="full", device="cpu", seed=3, notebook="n").profile == "smoke"
    assert capsys.readouterr().out == "n: preset mst, profile smoke, cpu, seed 3\n"


def test_start_seeds_all_three_generators():
    draws = []
    for _ in range(2):
        Run.start(profile="smoke", device="cpu", seed=-5)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]


def test_folders_of_profiles_and_own_recordings(example):
    root = project_root()
    assert example.root == root and Run(out="runs", data="a/b").data_path == root / "a" / "b"
    assert example.folder.name == "smoke" and example.folder.is_dir()
    assert Run(profile="smoke", out=example.out, data="a/b").folder.name == "smoke-b"


def test_the_report_is_long_only_where_asked_for():
    assert [Run("mst", p).report.profile for p in PROFILES] == ["smoke", "quick", "quick"]
    assert [Run("report", p).report.profile for p in PROFILES] == list(PROFILES)


def test_numbers_are_merged_and_cleared_of_numpy(example):
    example.record(a_b=1, c=2.5)
    example.record(c=np.float32(3), t=torch.tensor(2))
    path = example.folder / "numbers" / "t.json"
    assert json.loads(path.read_text()) == {"a_b": 1, "c": 3.0, "t": 2}


@pytest.mark.parametrize("name, value", [("Bad", 1), ("1a", 1), ("a-b", 1), ("a", float("inf")),
                                         ("a", -float("inf")), ("a", float("nan")), ("a", None),
                                         ("a", [1])])
def test_number_that_cannot_be_printed(example, name, value):
    with pytest.raises(ValueError, match="snake_case|finite"):
        check_result(name, value)
    with pytest.raises(ValueError, match="snake_case|finite"):
        example.record(**{name: value})
    assert not (example.folder / "numbers").exists()


def test_row_of_a_table_with_a_gap_is_refused(example):
    with pytest.raises(ValueError, match="table x: a row has 2 cells, not 1"):
        example.table("x", ["a"], [[1, 2]])
    assert not (example.folder / "tables").exists()


def test_table_in_both_forms(example):
    example.table("x", ["a", "b_c"], [[1, "5 %"], ["é, è", ""]])
    folder = example.folder / "tables"
    assert (folder / "x.tex").read_text() == (
        "a & b\\_c \\\\\n\\midrule\n1 & 5 \\% \\\\\né, è &  \\\\\n")
    assert (folder / "x.csv").read_bytes().decode() == 'a,b_c\r\n1,5 %\r\n"é, è",\r\n'


def test_every_character_of_tex_is_escaped():
    assert tex_row(["\\", "~^", "[", "&%$#_{}"]) == (
        r"\textbackslash{} & \textasciitilde{}\textasciicircum{} & {[} & \&\%\$\#\_\{\} \\")


def test_columns_line_up(capsys):
    print_table(["a", "bb"], [["long", "1"], ["b", "333"]])
    assert capsys.readouterr().out == "a      bb\nlong    1\nb     333\n"


def test_same_figure_same_bytes(example):
    saved = []
    for _ in range(2):
        fig, ax = plt.subplots(figsize=(2, 1))
        ax.plot([1, 2])
        example.save_figure(fig, "f")
        plt.close(fig)
        folder = example.folder / "figures"
        saved.append([(folder / name).read_bytes() for name in ("f.png", "f.pdf")])
    assert saved[0] == saved[1]


def test_grid_of_images():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, 1, 128, 128, generator=generator)
    fig = show_images(images, titles="abc", ncols=2)
    assert len(fig.axes) == 4 and [ax.get_title() for ax in fig.axes] == ["a", "b", "c", ""]
    assert np.array_equal(fig.axes[2].images[0].get_array(), images[2, 0])
    plt.close(fig)


def test_images_of_any_kind():
    for images in (torch.ones(1, 1, 4, 3, requires_grad=True), np.ones((1, 4, 3), np.uint8),
                   [[[1.] * 3] * 4], [torch.ones(1, 4, 3, dtype=torch.bfloat16)]):
        (array,) = image_arrays(images)
        assert array.shape == (4, 3) and array.dtype == np.float32 and array.all()
