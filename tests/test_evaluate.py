"""Metrics and tables of the benchmark where something is missing or wrong: other shapes, no
numbers, unknown instruments, pairs without cases."""
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mst.autoencoder import raise_floor
from mst.cases import Cases
from mst.evaluate import (
    HEADER, MEASURES, ImageJudge, apply_method, apply_transfer, benchmark, benchmark_row, confusion,
    copy_content, copy_style, heard_as, image_mfcc, image_mfcc_distance, mean_text, nearest_names,
    one_noise, pair_means, pairs_of_styles, score_images, score_line, style_changes, style_movement)


@pytest.fixture
def cases():
    """Four cases: two contents, each with two styles."""
    images = torch.rand(4, 1, 128, 128, generator=torch.Generator().manual_seed(0))
    content = images[[0, 0, 1, 1]]
    return Cases(content, images, images.flip(0), ["harp", "harp", "piano", "piano"],
                 ["piano", "violin", "harp", "violin"], ["a", "a", "b", "b"], [1, 1, 2, 2])


@pytest.fixture(scope="module")
def judge():
    return ImageJudge()


@pytest.mark.parametrize("transfer, reason", [
    (lambda content, style: content[..., :8], "gave images of shape"),
    (lambda content, style: content[:1], "gave images of shape"),
    (lambda content, style: content / 0, "not finite"),
    (lambda content, style: content * math.nan, "not finite")])
def test_results_that_are_refused(cases, transfer, reason):
    with pytest.raises(ValueError, match=reason):
        apply_transfer(transfer, cases)


def test_results_are_kept_between_0_and_1_whatever_the_batches(cases):
    def stretch(content, style):
        return 4 * content - 2 * style
    whole = apply_transfer(stretch, cases)
    assert (whole.min(), whole.max()) == (0, 1)
    for batch_size in (1, 3, 9):
        assert torch.equal(apply_transfer(stretch, cases, batch_size), whole)


def test_copies(cases, judge):
    assert benchmark(copy_content, cases, judge)["lsd_content"].max() == 0
    assert benchmark(copy_style, cases, judge)["mfcc_style"] == pytest.approx(np.zeros(4), abs=1e-5)


def test_what_cannot_be_measured_is_left_out(cases, judge):
    scores = score_images(cases.content, cases, judge)
    assert {"lsd_target", "psnr_target", "is_target"} <= set(scores)
    untwinned = replace(cases, target=None, style_instruments=["banjo"] * 4)
    assert set(score_images(cases.content, untwinned, judge)) == {"lsd_content", "mfcc_style"}


def test_what_is_heard(cases):
    heard = heard_as(["piano", "harp", "organ", "piano"], cases)
    assert heard["is_target"].tolist() == [True, False, False, False]
    assert heard["is_content"].tolist() == [False, True, False, True]


def test_timbre_is_blind_to_level_and_steepness(cases):
    x = cases.content[:1]
    for y in (x, x * .5 + .5, x * .8):
        assert image_mfcc_distance(x, y).item() == pytest.approx(0, abs=1e-5)
    assert image_mfcc(cases.content).shape == (4, 12)


def test_a_raised_floor_is_0_and_the_loudest_stays():
    raised = raise_floor(torch.tensor([1., .6, .1]), 100.)
    assert raised.tolist() == pytest.approx([1., .5, 0.], abs=1e-6)


def test_noise_is_one_for_all_of_a_batch():
    noise = one_noise((3, 4, 2, 2), seed=1)
    assert torch.equal(noise[0], noise[2]) and torch.equal(noise[:1], one_noise((1, 4, 2, 2), 1))
    assert not torch.equal(noise, one_noise((3, 4, 2, 2), seed=2))


def test_rows_of_tables():
    values = np.array([1., 3., 5.])
    row = benchmark_row("x", {"lsd_content": values}, ["a", "b", "b"])
    assert row == ("x", "-", "3.00", "-", "-", "-")
    assert len(benchmark_row("x", {}, [])) == len(HEADER)
    line = score_line("x", {"lsd_audio": values, "is_target": np.array([0., 1., 1.])},
                      ["a", "b", "b"])
    assert (len(line), line[0], line[1], line[3]) == (1 + len(MEASURES), "x", "-", "-")
    assert line[2].startswith("3.00 [") and line[6].startswith("67 [")


@pytest.mark.parametrize("pieces, with_interval, has_interval", [
    (["a", "a", "a"], True, False), (["a", "b", "c"], False, False), (["a", "b", "c"], True, True)])
def test_an_interval_needs_pieces_and_a_wish(pieces, with_interval, has_interval):
    mean, *interval = mean_text(np.array([1., 3., 5.]), pieces, 100, 0, with_interval).split(" ", 1)
    assert mean == "300" and bool(interval) == has_interval


def test_means_of_pairs_and_pairs_without_cases(cases):
    table = pair_means(np.array([1., 2., 3., 4.]), cases, ["harp", "piano", "violin"])
    assert np.array_equal(table, [[np.nan, 1, 2], [3, np.nan, 4], [np.nan] * 3], equal_nan=True)


def test_confusion_has_no_number_for_a_class_without_cases():
    table = confusion(["a", "b", "b"], ["a", "a", "b"], ("a", "b", "c"))
    assert np.array_equal(table, [[.5, .5, 0], [0, 1, 0], [np.nan] * 3], equal_nan=True)


def test_pairs_that_differ_by_the_style(cases):
    assert pairs_of_styles(cases) == [(0, 1), (2, 3)]
    assert style_movement(cases.content, cases) == 0 < style_movement(cases.style, cases)
    assert style_changes(["a", "b", "a", "a"], cases) == .5
    alone = replace(cases, contents=[1, 2, 3, 4])
    assert math.isnan(style_movement(cases.content, alone))
    assert math.isnan(style_changes(list("abcd"), alone))


def test_a_method_is_applied_in_batches_and_keeps_the_order():
    n = 50
    sounds = torch.arange(float(n))[:, None].expand(n, 7)
    cases = Cases(sounds, -sounds, None, [], [], [], [])
    images, played = apply_method(lambda content, style: (content[:, None, None], style), cases)
    assert images.shape == (n, 1, 1, 7) and torch.equal(played, -sounds)


def test_nearest_by_angle_from_the_mean_of_all():
    references = {"x": np.array([[1., 0.]]), "y": np.array([[-1., 0.], [-1., .1]])}
    assert nearest_names(np.array([[1., .1], [-1., .2], [100., 0.]]), references) == ["x", "y", "x"]
