"""What the papers' figures measure, against cases whose answer is known."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import classifiers
import datasets
import numpy as np
import pytest
import torch
from classifiers import DigitNet, Judges, digits_svm, mnist_cnn, train_digit_net
from datasets import binarised, real_source, resized
from evaluation import RealRows
from ganvae_metrics.distances import frechet_distance, mode_coverage
from measures import (
    MODES,
    agreement,
    clustering_accuracy,
    combination_coverage,
)
from sklearn.datasets import load_digits

OWN_QUALITY = 1 - math.exp(-4.5)
"""The share of a 2-D Gaussian within 3σ: what real points themselves reach."""


def coverage_of(points: np.ndarray, name: str) -> dict[str, float]:
    return mode_coverage(
        torch.from_numpy(points), torch.from_numpy(MODES[name].centres), MODES[name].deviation
    )


def distance_of(first: np.ndarray, second: np.ndarray) -> float:
    return frechet_distance(torch.from_numpy(first), torch.from_numpy(second))


@pytest.mark.parametrize(("name", "modes"), [("ring", 8), ("grid", 25)])
def test_real_points_reach_every_mode_and_989_in_a_thousand_lie_well(name: str, modes: int) -> None:
    found = coverage_of(RealRows(real_source({"name": name})).sample(50_000), name)
    assert found["modes"] == modes
    # Five standard errors of a share: a false alarm in about two million draws; the draw is fixed besides.
    assert found["high_quality"] == pytest.approx(
        100 * OWN_QUALITY, abs=500 * math.sqrt(OWN_QUALITY * 0.0111 / 50_000)
    )
    assert found["mode_kl"] < 1e-3


def test_a_mode_counts_from_one_point_within_three_sigma_on() -> None:
    centres, sigma = MODES["grid"].centres, MODES["grid"].deviation
    near = centres[3] + [2.9 * sigma, 0]
    far = centres[7] + [0, 3.1 * sigma]
    found = coverage_of(np.array([near, far, far, centres[0]]), "grid")
    assert found["modes"] == 2
    assert found["high_quality"] == 50
    assert found["mode_kl"] == pytest.approx(sum(q * math.log(25 * q) for q in (0.25, 0.5, 0.25)))


def test_a_point_that_is_no_number_lies_nowhere() -> None:
    found = coverage_of(np.full((4, 2), np.nan), "ring")
    assert (found["modes"], found["high_quality"]) == (0, 0)


def test_the_ring_has_eight_modes_at_radius_one() -> None:
    centres = MODES["ring"].centres
    assert np.linalg.norm(centres, axis=1) == pytest.approx(1)
    distances = [math.dist(a, b) for a, b in itertools.combinations(centres, 2)]
    assert min(distances) == pytest.approx(2 * math.sin(math.pi / 8))


def test_every_combination_once_is_uniform() -> None:
    every = np.array(list(itertools.product(range(10), repeat=3)))
    assert combination_coverage(every) == {"modes": 1000, "kl": 0}
    one = combination_coverage(np.tile([1, 2, 3], (50, 1)))
    assert one == {"modes": 1, "kl": pytest.approx(math.log(1000))}


def test_even_draws_of_combinations_have_the_divergence_that_is_told() -> None:
    digits = np.random.default_rng(0).integers(10, size=(26_000, 3))
    assert combination_coverage(digits)["kl"] == pytest.approx(999 / 52_000, rel=0.25)  # five standard errors


def test_agreement_is_a_percentage() -> None:
    assert agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 0, 4])) == 75


def test_clusters_are_matched_with_labels_one_to_one() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert clustering_accuracy((labels + 1) % 3, labels) == 100
    assert clustering_accuracy(np.zeros(6, int), labels) == pytest.approx(
        100 / 3
    )  # one cluster has one label
    assert clustering_accuracy(np.array([5, 5, 4, 4, 3, 1]), labels) == pytest.approx(500 / 6)


def with_moments(mean: np.ndarray, covariance: np.ndarray, count: int = 200) -> np.ndarray:
    """(count, F) features that have exactly these moments."""
    values = np.random.default_rng(len(mean)).normal(size=(count, len(mean)))
    values -= values.mean(0)
    white = values @ np.linalg.inv(np.linalg.cholesky(np.cov(values, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_the_frechet_distance_of_gaussians_with_common_axes() -> None:
    first, second = np.array([4.0, 1.0, 0.25]), np.array([1.0, 9.0, 0.25])
    mean = np.array([1.0, 0.0, -2.0])
    expected = 5 + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    found = distance_of(with_moments(np.zeros(3), np.diag(first)), with_moments(mean, np.diag(second)))
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_of_gaussians_with_other_axes() -> None:
    """In two dimensions tr √M = √(tr M + 2 √det M), so here M = S₁S₂ needs no square root."""
    first, second = np.array([[2.0, 0.8], [0.8, 1.0]]), np.array([[1.0, -0.4], [-0.4, 3.0]])
    product = first @ second
    overlap = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * overlap
    found = distance_of(with_moments(np.zeros(2), first), with_moments(np.zeros(2), second))
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_frechet_distance_to_itself_is_zero_even_where_features_never_vary() -> None:
    features = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    features[:, 2] = 1.0
    assert distance_of(features, features) == pytest.approx(0, abs=1e-9)


def test_images_are_cropped_and_given_a_border() -> None:
    images = np.arange(2 * 28 * 28).reshape(2, 1, 28, 28)
    larger = resized(images, 32)
    assert larger.shape == (2, 1, 32, 32)
    assert larger[:, :, :2].max() == 0
    assert (resized(larger, 28) == images).all()
    assert (resized(images, 28) == images).all()


def test_the_judge_of_digits_knows_digits() -> None:
    judge = digits_svm()
    x, labels = load_digits(return_X_y=True)
    assert judge.accuracy > 97
    assert judge.held_out == 450
    assert agreement(judge.predict(x.reshape(-1, 1, 8, 8).astype(np.uint8)), labels) > 99
    assert digits_svm().identity == judge.identity


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """The 8 × 8 digits, threefold and with a border, in place of MNIST."""
    x, labels = load_digits(return_X_y=True)
    images = np.pad(
        (x.reshape(-1, 1, 8, 8) * 15).astype(np.uint8).repeat(3, 2).repeat(3, 3), ((0,), (0,), (2,), (2,))
    )
    halves = {"train": slice(0, 1_200), "test": slice(1_200, None)}
    monkeypatch.setattr(classifiers, "mnist", lambda part: (images[halves[part]], labels[halves[part]]))


def test_a_judge_of_images_is_trained_once(
    small_mnist: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = Judges(tmp_path).get("mnist-cnn")
    assert trained.accuracy > 60  # three passes over 1,200 images; a guess has 10
    monkeypatch.setattr(classifiers, "train_digit_net", lambda *_, **__: pytest.fail("it was trained again"))
    loaded = mnist_cnn(tmp_path)
    assert loaded == type(loaded)(
        trained.accuracy, trained.held_out, trained.identity, loaded.predict, loaded.features
    )
    assert loaded.features is not None
    assert loaded.features(np.zeros((3, 1, 32, 32), np.uint8)).shape == (3, 128)


def test_a_judge_of_images_follows_from_its_data_alone() -> None:
    images = np.random.default_rng(0).integers(256, size=(40, 1, 28, 28)).astype(np.uint8)
    nets = [DigitNet(), DigitNet()]
    for net in nets:
        torch.rand(7)  # whatever was drawn before
        train_digit_net(net, images, np.arange(40) % 10, epochs=1)
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_images_are_binarised_by_one_draw_with_their_values_as_probabilities() -> None:
    images = np.repeat(np.array([0, 51, 255], np.uint8), 10_000)
    drawn = binarised(images)
    assert np.isin(drawn, (0, 255)).all()
    assert [part.mean() / 255 for part in drawn.reshape(3, -1)] == [0, pytest.approx(0.2, abs=0.02), 1]
    assert np.array_equal(drawn, binarised(images))
    assert not np.array_equal(drawn, binarised(images, seed=1))


def test_draws_of_binarised_images_follow_each_other_and_the_first_is_that_of_one_draw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = np.random.default_rng(0).integers(256, size=(30, 1, 28, 28)).astype(np.uint8)
    monkeypatch.setattr(datasets, "mnist", lambda part="train": (images, np.arange(30) % 10))
    try:
        source = datasets.in_memory({"name": "mnist", "binarised": True, "draws": 3})
        assert source is not None
        assert len(source) == 90
        rows = source.rows(np.arange(90))
        draws = rows.x.reshape(3, 30, 1, 28, 28)
        assert np.array_equal(draws[0], binarised(images))
        assert not np.array_equal(draws[1], draws[2])
        assert np.array_equal(rows.labels, np.tile(np.arange(30) % 10, 3))
        test = datasets.test_source({"name": "mnist", "binarised": True, "draws": 3})
        assert np.array_equal(test.rows(np.arange(30)).x, binarised(images, seed=1))
    finally:
        datasets._drawn_mnist.cache_clear()
