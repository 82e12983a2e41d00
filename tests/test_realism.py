"""Realism of sounds made here: what the measures see and what they must not, few clips, silence,
and pieces that a classifier could know by heart."""
import math
import warnings

import numpy as np
import pytest

from mst.realism import (
    BANDS, SAMPLE_RATE, band_levels, comb_contrast, distance_interval, frechet_distance,
    frechet_distance_at_infinity, harmonic_combs, kernel_distance, level_error, modulation,
    realism_scores, sharpness, two_sample_accuracy)

MEASURES = (sharpness, comb_contrast, modulation)
SECONDS = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE


def note(f0=220., harmonics=10, depth=0.):
    sound = sum(np.sin(2 * np.pi * f0 * k * SECONDS + k ** 2) / k for k in range(1, harmonics + 1))
    return ((1 + depth * np.sin(2 * np.pi * 6 * SECONDS)) * sound).astype(np.float32)


def noise(seed=0):
    return np.random.RandomState(seed).randn(len(SECONDS)).astype(np.float32)


@pytest.mark.parametrize("measure", (*MEASURES, band_levels))
@pytest.mark.parametrize("sound, message", [
    (np.zeros(SAMPLE_RATE - 1), "one second or more"), (np.zeros((2, SAMPLE_RATE)), "mono"),
    (np.zeros(0), "one second or more"), (np.full(SAMPLE_RATE, np.inf), "not finite")])
def test_what_is_no_sound_is_refused(measure, sound, message):
    with pytest.raises(ValueError, match=message):
        measure(sound)


@pytest.mark.parametrize("measure", MEASURES)
def test_silence_is_no_number_of_its_own(measure):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert measure(np.zeros(SAMPLE_RATE)) == 0.


@pytest.mark.parametrize("measure", (*MEASURES, band_levels))
@pytest.mark.parametrize("gain", (1e-4, 1e3))
def test_level_and_kind_of_number_do_not_matter(measure, gain):
    sound = note(depth=.3)
    np.testing.assert_allclose(measure(gain * sound.astype(np.float64)), measure(sound), rtol=1e-3,
                               atol=.02)


@pytest.mark.parametrize("f0", (110., 220., 330., 440., 880.))
def test_noise_lowers_sharpness_and_comb_step_by_step(f0):
    sounds = [note(f0) + level * noise() for level in (0, .03, .1, .3, 1., 3.)]
    for measure in (sharpness, comb_contrast):
        assert all(np.diff([measure(sound) for sound in sounds]) < 0)


def test_a_rest_is_no_haze():
    """Only loud frames count."""
    rest = note()
    rest[SAMPLE_RATE:2 * SAMPLE_RATE] = 1e-4 * noise()[:SAMPLE_RATE]
    assert sharpness(rest) > .85 * sharpness(note()) > sharpness(note() + .1 * noise())


def test_combs_are_balanced_and_cover_notes():
    combs = harmonic_combs()
    assert combs.shape[0] == 947
    np.testing.assert_allclose(combs.sum(1), 0, atol=1e-5)
    np.testing.assert_allclose(combs.clip(0).sum(1), 1, atol=1e-5)


def test_bands_add_up_and_an_equaliser_is_heard_by_them_first():
    np.testing.assert_allclose((10 ** (band_levels(noise()) / 10)).sum(), 1, atol=.02)
    spectrum = np.fft.rfft(note())
    hz = np.fft.rfftfreq(len(SECONDS), 1 / SAMPLE_RATE)
    darker = np.fft.irfft(spectrum / (1 + hz / 500), len(SECONDS))
    scores = realism_scores(darker, note())
    assert scores["level_error"] > 1
    assert abs(scores["sharpness_ratio"] - 1) < .2 and abs(scores["comb_ratio"] - 1) < .2


@pytest.mark.parametrize("k", range(8))
def test_a_tone_is_in_its_octave(k):
    levels = band_levels(np.sin(2 * np.pi * BANDS[k] * SECONDS))
    assert levels.argmax() == k and levels[k] > -.1 and (levels >= -80).all()


@pytest.mark.parametrize("hz, heard", [(.5, False), (3, True), (6, True), (12, True), (40, False)])
def test_modulation_between_2_and_20_hz_alone(hz, heard):
    sound = (1 + .5 * np.sin(2 * np.pi * hz * SECONDS)) * np.sin(2 * np.pi * 440 * SECONDS)
    assert (modulation(sound) > .3) == heard
    assert heard or modulation(sound) < .1


def test_a_silent_twin_has_no_ratio_and_a_silent_result_is_nothing():
    silence = np.zeros(SAMPLE_RATE, np.float32)
    scores = realism_scores(note(), silence)
    assert all(math.isnan(scores[f"{key}_ratio"]) for key in ("sharpness", "comb", "modulation"))
    assert scores["level_error"] == 0.
    scores = realism_scores(silence, note(depth=.2))
    assert scores["sharpness_ratio"] == scores["comb_ratio"] == scores["modulation_ratio"] == 0.
    assert scores["level_error"] > 40 and level_error(silence, silence) == 0.


@pytest.mark.parametrize("n, m, d", [(2, 2, 200), (30, 30, 200), (30, 300, 8), (300, 30, 8)])
def test_frechet_distance_is_finite_symmetric_and_sees_a_shift(n, m, d):
    rng = np.random.RandomState(0)
    x, y = rng.randn(n, d), rng.randn(m, d)
    assert math.isclose(frechet_distance(x, y), frechet_distance(y, x), rel_tol=1e-9)
    assert frechet_distance(x, x) < 1e-9
    shift = rng.randn(d)
    assert math.isclose(frechet_distance(x, x + shift), shift @ shift, rel_tol=1e-6)


def test_distances_do_not_care_for_order_or_units_of_kernels():
    rng = np.random.RandomState(0)
    x, y = rng.randn(20, 5), rng.randn(30, 5)
    assert math.isclose(kernel_distance(x, y), kernel_distance(x[::-1], y[::-1]), rel_tol=1e-9)
    assert math.isclose(kernel_distance(x, y), kernel_distance(1e4 + 3 * x, 1e4 + 3 * y),
                        rel_tol=1e-5)
    assert math.isfinite(kernel_distance(x, np.ones((4, 5))))  # a reference without any width


@pytest.mark.parametrize("distance", (frechet_distance, frechet_distance_at_infinity,
                                      kernel_distance))
@pytest.mark.parametrize("x, y, message", [
    (np.zeros((1, 3)), np.zeros((5, 3)), "two or more"),
    (np.zeros(3), np.zeros((5, 3)), r"\[N, D\]"),
    (np.zeros((5, 2)), np.zeros((5, 3)), "one D"),
    (np.full((5, 3), np.nan), np.zeros((5, 3)), "not finite")])
def test_what_are_no_vectors_is_refused(distance, x, y, message):
    with pytest.raises(ValueError, match=message):
        distance(x, y)


def test_extrapolation_asks_for_vectors_that_are_there_and_leaves_the_global_generator():
    rng, state = np.random.RandomState(0), np.random.get_state()[1].copy()
    x, y = rng.randn(50, 4), rng.randn(20, 4)
    with pytest.raises(ValueError, match="4 to 20"):
        frechet_distance_at_infinity(x, y, n=21)
    a, b = (frechet_distance_at_infinity(x, y, seed=1, n=15) for _ in range(2))
    assert a == b != frechet_distance_at_infinity(x, y, seed=2, n=15)
    two_sample_accuracy(x, y, list(range(50)), list(range(20)))
    assert (np.random.get_state()[1] == state).all()


def test_few_clips_do_not_look_far_to_the_kernel():
    few, many = [], []
    for seed in range(40):
        rng = np.random.RandomState(seed)
        reference = rng.randn(60, 200)
        few.append(kernel_distance(rng.randn(15, 200), reference))
        many.append(kernel_distance(rng.randn(60, 200), reference))
    for values in (few, many):
        assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(40)


def test_the_interval_of_a_distance_covers_it():
    rng = np.random.RandomState(0)
    x, y = rng.randn(60, 10) + .5, rng.randn(60, 10)
    low, high = distance_interval(kernel_distance, x, y, [f"piece {i // 4}" for i in range(60)])
    assert low < kernel_distance(x, y) < high and low > 0


def test_pieces_of_both_classes_stay_together():
    """Every piece in both classes, with a mark of its own for each clip that says nothing."""
    rng = np.random.RandomState(0)
    piece = rng.randn(10, 30).repeat(4, 0)
    names = [f"{i // 4}" for i in range(40)]
    a, b = (piece + .3 * rng.randn(40, 30) for _ in range(2))
    accuracy, low, high = two_sample_accuracy(a, b, names, names)
    assert abs(accuracy - .5) < .15 and low < accuracy < high
    assert two_sample_accuracy(a, b, names, names) == (accuracy, low, high)
    accuracy, low, high = two_sample_accuracy(a, b + 2, names, names)
    assert accuracy > .95 and high <= 1.


def test_accuracy_is_balanced():
    rng = np.random.RandomState(0)
    a, b = rng.randn(100, 5), rng.randn(12, 5)
    accuracy, *_ = two_sample_accuracy(a, b, list(range(100)), list(range(12)))
    assert abs(accuracy - .5) < .2  # calling all of them `a` would be right in 89 %


@pytest.mark.parametrize("groups_a, groups_b", [(["x"] * 6, list("abcdef")), (list("abcdef"), []),
                                                (list("abcdef"), list("abcde"))])
def test_too_few_pieces_or_names_are_refused(groups_a, groups_b):
    rng = np.random.RandomState(0)
    with pytest.raises(ValueError, match="two pieces or more"):
        two_sample_accuracy(rng.randn(6, 3), rng.randn(6, 3), groups_a, groups_b)
