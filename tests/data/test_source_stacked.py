"""Stacked images: which rows they are made of, what they are called, and that they are made when asked for."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from ganvae_core.builtin.sources.arrays import as_source
from ganvae_core.builtin.sources.digits import Digits
from ganvae_core.builtin.sources.drawn import MOST_CLASSES, Ring, Stacked
from ganvae_core.config.build import open_data
from ganvae_core.data import stream as engine_data
from ganvae_core.data.split import split
from ganvae_core.data.stream import DataStream
from ganvae_core.errors import ConfigurationError, DataError
from ganvae_core.plugins import installed_plugins

RARE = 1e-6
"""A statistical test fails for one seed in a million if rows are drawn as they should be; the seed is fixed."""


def grey(count: int = 40, side: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 1, side, side)).astype(np.uint8)


def small(labels: np.ndarray | None = None, **options: int) -> Stacked:
    return Stacked(source=as_source(grey(), labels), **{"count": 200, **options})


@pytest.mark.parametrize("indices", [slice(5, 60, 3), slice(None), np.array([199, 0, 7, 7])])
def test_rows_are_the_rows_of_the_source_that_they_name(indices: slice | np.ndarray) -> None:
    source = small(np.arange(40) % 3)
    x, labels = source.rows(indices).x, source.labels(indices)
    members = source.members(indices)
    assert labels is not None
    assert source.spec.classes is not None
    assert x.shape == (len(members), 3, 9, 9)
    assert x.dtype == np.uint8
    for row, label, three in zip(x, labels.tolist(), members.tolist(), strict=True):
        assert np.array_equal(row, grey()[three, 0])
        assert source.spec.classes[label] == "-".join(str(member % 3) for member in three)


def test_rows_are_a_function_of_their_numbers() -> None:
    source = small(np.arange(40) % 3)
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    assert labels is not None
    order = np.random.default_rng(1).permutation(200)
    shuffled = source.rows(order)
    assert shuffled.labels is not None
    assert np.array_equal(shuffled.x, x[order])
    assert np.array_equal(shuffled.labels, labels[order])
    assert len(source.rows(slice(0, 0)).x) == 0
    assert np.array_equal(small().rows(slice(None)).x, x), "labels change nothing but labels"
    assert not np.array_equal(small(seed=1).rows(slice(None)).x, x)


def test_labels_are_those_of_the_rows_and_read_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    images = as_source(grey(), np.arange(40) % 3)
    source = Stacked(source=images, count=200)
    rows = source.rows(slice(None)).labels
    assert rows is not None
    monkeypatch.setattr(images, "rows", lambda _: pytest.fail("images were read"))
    for indices in (None, slice(5, 60, 3), np.array([199, 0, 7, 7])):
        labels = source.labels(indices)
        assert labels is not None
        assert np.array_equal(labels, rows if indices is None else rows[indices])


def test_digits_are_what_is_stacked_by_default() -> None:
    source = Stacked()
    spec, digits = source.spec, Digits()
    assert len(source) == spec.count == 128_000
    assert (spec.shape, spec.modality, spec.range, spec.units) == (
        (3, 8, 8),
        "image",
        (0.0, 1.0),
        digits.spec.units,
    )
    assert spec.condition == (1_000,)
    assert spec.classes == tuple("-".join(three) for three in itertools.product("0123456789", repeat=3))
    x = source.rows(slice(100, 102)).x
    assert np.array_equal(x, digits.rows(source.members(slice(100, 102)).ravel()).x.reshape(2, 3, 8, 8))


def test_every_image_is_as_likely_in_every_channel_and_channels_are_independent() -> None:
    source = Stacked(seed=2)
    members = source.members(slice(None))
    share = RARE / 6
    for channel in range(3):
        counts = np.bincount(members[:, channel], minlength=1_797)
        assert counts.min() > 0
        assert stats.chisquare(counts).pvalue > share
    thirds = members // 599  # 1,797 images in three equal parts
    for one, other in itertools.combinations(range(3), 2):
        table = np.zeros((3, 3), np.int64)
        np.add.at(table, (thirds[:, one], thirds[:, other]), 1)
        assert stats.chi2_contingency(table).pvalue > share


def test_all_rows_together_are_never_in_memory() -> None:
    images = as_source(grey(100, 64))
    tracemalloc.start()
    try:
        source = Stacked(source=images, count=100_000)  # 1.2 GB, all in all
        x = source.rows(np.arange(64)).x
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert x.nbytes == 64 * 3 * 64 * 64
    assert peak < 20e6


@pytest.mark.parametrize("conditional", [False, True])
def test_batches_are_the_same_whether_rows_lie_on_the_device_or_are_made_on_the_way(
    monkeypatch: pytest.MonkeyPatch, conditional: bool
) -> None:
    data = split(small(np.arange(40) % 3), conditional=conditional)
    resident = DataStream(data, 16, 0, torch.device("cpu"))
    monkeypatch.setattr(engine_data, "_free_memory", lambda device: 0.0)
    made = DataStream(data, 16, 0, torch.device("cpu"))
    try:
        for position in range(0, 320, 16):
            one, other = resident.batch_at(position), made.batch_at(position)
            assert torch.equal(one.x, other.x)
            expected = data.source.rows(one.index.numpy()).x
            assert np.array_equal(one.x.numpy(), (expected / np.float32(255)).astype(np.float32))
            assert (one.condition is None) == (other.condition is None) == (not conditional)
            if one.condition is not None and other.condition is not None:
                assert torch.equal(one.condition, other.condition)
                assert one.condition.shape == (16, 27)
    finally:
        made.close()


def test_held_out_rows_are_never_learned_from() -> None:
    data = split(small())
    assert len(data.held_out) == 20
    assert not set(data.held_out) & set(data.training)


def test_images_without_labels_are_stacked_without() -> None:
    source = small()
    assert source.spec.condition is None
    assert source.spec.classes is None
    assert source.rows(slice(3)).labels is None


def test_classes_are_told_apart_as_long_as_their_combinations_are_not_too_many() -> None:
    kept = small(np.arange(40) % 16)
    assert kept.spec.condition == (MOST_CLASSES,) == (16**3,)
    assert not kept.notes
    dropped = small(np.arange(40) % 17)
    assert dropped.spec.condition is None
    assert dropped.spec.classes is None
    assert dropped.rows(slice(3)).labels is None
    assert "17 classes have 4,913 combinations" in dropped.notes[0]


def test_no_two_combinations_have_one_name() -> None:
    names = np.array(["a", "a-b", "b", "b"])[np.arange(40) % 4]
    classes = small(names).spec.classes
    assert classes is not None
    assert len(set(classes)) == len(classes) == 27
    assert "a | a-b | b" in classes


def test_images_of_any_scale_keep_it() -> None:
    images = (grey() / 127.5 - 1).astype(np.float32)
    spec = Stacked(source=as_source(images), count=10).spec
    assert (spec.range, spec.units) == ((-1.0, 1.0), as_source(images).spec.units)


def test_a_source_is_named_inside_of_the_source(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=grey(), labels=np.arange(40) % 2)
    inner = {"name": "array", "path": str(tmp_path / "x.npz")}
    choice, data = open_data(
        installed_plugins(), {"data": {"name": "stacked", "source": inner, "count": 50, "seed": 3}}
    )
    assert choice.id == "builtin/stacked"
    assert data.source.spec.shape == (3, 9, 9)
    assert data.source.spec.condition == (8,)
    assert np.array_equal(data.source.rows(slice(None)).x, small(count=50, seed=3).rows(slice(None)).x)
    _, by_default = open_data(installed_plugins(), {"data": "stacked"})
    assert by_default.source.spec.shape == (3, 8, 8)


def test_what_cannot_be_stacked_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"images of one channel can be stacked, and this source has points of shape \(2,\)"
    ):
        Stacked(source=Ring(count=10))
    with pytest.raises(
        DataError, match=r"images of one channel can be stacked, and this source has image of shape \(3,"
    ):
        Stacked(source=Stacked())
    with pytest.raises(ConfigurationError, match=r"data\.count: 0 is not possible"):
        small(count=0)
    with pytest.raises(ConfigurationError, match=r"data\.seed: -1 is not possible"):
        small(seed=-1)
    with pytest.raises(DataError, match=r"1,000,000,000,000,000 rows take .* GiB"):
        small(count=10**15)
