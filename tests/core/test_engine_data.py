"""The data stream: every batch is a pure function of (seed, position), and no row is held twice or lost."""

from __future__ import annotations

import itertools
import random
from typing import final

import numpy as np
import pytest
import torch
from toys import engine, images, regression, rows

import ganvae_core as gv
from ganvae_core.data import stream as engine_data
from ganvae_core.data.codec import Codec, as_tensor, batch_of, in_own_units
from ganvae_core.data.stream import DataStream
from ganvae_core.data.units import from_units
from ganvae_core.interfaces import Indices
from ganvae_core.types import Units

CPU = torch.device("cpu")
TO = torch.Tensor.to


def stream(
    x: np.ndarray, labels: np.ndarray | None = None, *, batch_size: int = 7, seed: int = 0
) -> DataStream:
    divided = gv.split(gv.as_source(x, labels), held_out=0.2, conditional=labels is not None)
    return DataStream(divided, batch_size, seed, CPU)


def indices(data: DataStream, batches: int) -> list[int]:
    """The rows of the first batches, in order."""
    size = data.batch_size
    return list(itertools.chain(*(data.batch_at(size * number).index.tolist() for number in range(batches))))


@pytest.mark.parametrize("batch_size", [1, 7, 8, 32])
def test_each_epoch_is_a_permutation_of_the_training_rows_and_batches_span_epochs(batch_size: int) -> None:
    data = stream(rows(40), batch_size=batch_size)  # 32 rows to learn from
    read = indices(data, batches=-(-32 * 5 // batch_size))
    training = data.data.training.tolist()
    epochs = [read[start : start + 32] for start in range(0, 32 * 5, 32)]
    assert all(sorted(epoch) == training for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5


def test_an_order_that_is_computed_in_blocks_is_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = indices(stream(rows(40)), 20)
    monkeypatch.setattr(engine_data, "BLOCK", 5)
    assert indices(stream(rows(40)), 20) == whole


def test_a_batch_as_large_as_the_data_takes_every_row_once() -> None:
    data = stream(rows(10), batch_size=8)
    assert sorted(data.batch_at(8).index.tolist()) == data.data.training.tolist()


def test_the_mean_of_bounded_data_is_that_of_training_rows_in_a_models_units() -> None:
    x = np.random.default_rng(0).integers(0, 256, (300, 1, 3, 3)).astype(np.uint8)
    divided = gv.split(gv.as_source(x), held_out=0.2)  # 240 rows to learn from: all of them are read
    assert divided.spec.mean == round(float((x[divided.training] / 255).mean()), 3)
    assert gv.split(gv.as_source(rows(40)), held_out=0.2).spec.mean is None  # unbounded


def test_held_out_rows_are_never_learned_from() -> None:
    data = stream(rows(40))
    assert not set(indices(data, 40)) & set(data.data.held_out.tolist())
    assert sorted([*data.data.training, *data.data.held_out]) == list(range(40))
    assert len(data.data.held_out) == 8


def test_row_numbers_of_long_sources_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvae_core.data.split.MOST_STORED", 30)
    data = stream(rows(40))
    training, held_out = data.data.training, data.data.held_out
    assert not isinstance(training, np.ndarray)
    assert (len(training), len(held_out)) == (32, 8)
    assert sorted([*training[:], *held_out[:]]) == list(range(40))
    assert sorted(held_out[:].tolist()) != list(range(8))
    assert training[np.array([[3, 9], [0, 3]])].tolist() == [
        [training[:][i] for i in row] for row in ([3, 9], [0, 3])
    ]
    assert sorted(indices(data, 32)[:32]) == sorted(training[:])
    again = gv.split(data.data.source, held_out=0.2)
    assert again.held_out[2:5].tolist() == held_out[:][2:5].tolist()
    assert gv.split(data.data.source, held_out=0.2, split_seed=1).held_out[:].tolist() != held_out[:].tolist()


def test_the_split_follows_from_its_own_seed_alone() -> None:
    source = gv.as_source(rows(40))
    first, again, other = (gv.split(source, split_seed=seed) for seed in (0, 0, 1))
    assert first.held_out.tolist() == again.held_out.tolist() != other.held_out.tolist()
    for seed in (0, 1):
        training = engine(regression(), data=source, seed=seed)
        assert training.data.held_out.tolist() == first.held_out.tolist()


def test_at_least_one_row_is_left_to_learn_from() -> None:
    source = gv.as_source(rows(1))
    assert len(gv.split(source, held_out=0.9).training) == 1
    assert len(gv.split(gv.as_source(rows(2)), held_out=0.99).training) == 1


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(gv.DataError, match="it is a share of the rows"):
        gv.split(gv.as_source(rows()), held_out=share)


def test_a_condition_is_asked_of_data_that_has_one() -> None:
    with pytest.raises(gv.DataError, match="no labels or other condition"):
        gv.split(gv.as_source(rows()), conditional=True)


@pytest.mark.parametrize("resident", [True, False])
def test_a_batch_does_not_depend_on_which_were_asked_for_before(
    resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not resident:
        monkeypatch.setattr(engine_data, "RESIDENT_SHARE", 0)
    in_order = stream(rows(40))
    positions = [7 * number for number in range(25)]
    expected = {position: in_order.batch_at(position) for position in positions}
    shuffled = positions * 2
    random.Random(0).shuffle(shuffled)
    jumping = stream(rows(40))
    for position in shuffled:
        batch = jumping.batch_at(position)
        assert torch.equal(batch.index, expected[position].index)
        assert torch.equal(batch.x, expected[position].x)
        assert batch.samples_seen == position
    in_order.close()
    jumping.close()


@pytest.mark.parametrize("kind", ["uint8 images", "float32 table", "float64 table", "int16 volumes"])
def test_data_in_memory_and_data_read_row_by_row_give_the_same_batches(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = {
        "uint8 images": images(),
        "float32 table": rows(),
        "float64 table": rows().astype(np.float64) * 1e6,
        "int16 volumes": images().reshape(40, 2, 4, 4, 2).astype(np.int16) - 100,
    }[kind]
    labels = np.arange(40) % 3
    resident = stream(x, labels)
    monkeypatch.setattr(engine_data, "RESIDENT_SHARE", 0)
    streamed = stream(x, labels)
    assert resident._resident is not None  # pyright: ignore[reportPrivateUsage]
    assert streamed._resident is None  # pyright: ignore[reportPrivateUsage]
    for position in range(0, 100, 7):
        one, other = resident.batch_at(position), streamed.batch_at(position)
        assert one.x.dtype == torch.float32
        assert torch.equal(one.x, other.x)
        assert one.condition is not None
        assert other.condition is not None
        assert torch.equal(one.condition, other.condition)
    streamed.close()
    assert streamed._readers is None  # pyright: ignore[reportPrivateUsage]


def test_reading_ahead_stops_with_the_fit_and_a_reader_that_fails_is_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_data, "RESIDENT_SHARE", 0)

    class Failing(gv.Source):
        spec = gv.as_source(rows()).spec
        read = 0

        def __len__(self) -> int:
            return 40

        def labels(self, indices: object = None) -> None:
            return None

        def rows(self, indices: object) -> gv.Rows:
            self.read += 1
            if self.read > 2:
                raise gv.DataError("row 3 is gone")
            return gv.Rows(rows()[indices])  # pyright: ignore[reportArgumentType, reportCallIssue]

    training = engine(regression(), data=Failing())
    with pytest.raises(gv.DataError, match="row 3 is gone"):
        training.fit()
    assert training._stream._readers is None  # pyright: ignore[reportPrivateUsage]


def test_reading_ahead_reads_each_batch_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_data, "RESIDENT_SHARE", 0)
    data = stream(rows())
    read: list[list[int]] = []
    source_rows = data.data.source.rows
    monkeypatch.setattr(data.data.source, "rows", lambda at: read.append(at.tolist()) or source_rows(at))
    used = [data.batch_at(7 * number).index.tolist() for number in range(5)]
    data.close()
    assert all(numbers in read for numbers in used)
    assert len(read) <= 5 + engine_data.READERS
    assert len({tuple(numbers) for numbers in read}) == len(read)


def test_an_accelerator_gets_the_data_after_some_batches_and_may_give_it_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_data, "PLACED_AFTER", 3)
    free = [1e9]
    monkeypatch.setattr(engine_data, "_free_memory", lambda device: free[0])
    divided, device = gv.split(gv.as_source(images())), torch.device("meta")
    reference = DataStream(divided, 7, 0, CPU)
    # Tensors of the device "meta" have no values, so the rows stay on the CPU here, as on any device but CUDA.
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, *to, **how: self if device in to else TO(self, *to, **how)
    )
    data = DataStream(divided, 7, 0, device)
    placed: list[bool] = []
    for number in range(6):
        batch = data.batch_at(7 * number)
        placed.append(data._resident is not None)  # pyright: ignore[reportPrivateUsage]
        assert torch.equal(batch.index, reference.batch_at(7 * number).index)
        assert torch.equal(batch.x, reference.batch_at(7 * number).x)
        if number == 3:
            assert data.release()
            assert not data.release()
    assert placed == [False, False, True, True, False, False]
    data.close()


def test_images_are_held_once_as_uint8_and_share_the_users_memory() -> None:
    x = images()
    resident = stream(x)._resident  # pyright: ignore[reportPrivateUsage]
    assert resident is not None
    assert resident[0].dtype == torch.uint8
    assert resident[0].data_ptr() == x.ctypes.data


def test_training_writes_nothing_into_the_users_data() -> None:
    for x in (images(), rows(), rows().astype(np.float64)):
        kept = x.copy()
        engine(regression(), data=x.reshape(40, -1)[:, :3] if x.ndim > 2 else x).fit()
        np.testing.assert_array_equal(x, kept)


def test_uint8_images_are_scaled_to_their_range() -> None:
    x = images()
    batch = stream(x).batch_at(0)
    np.testing.assert_array_equal(
        batch.x[:, 0].numpy(), x[batch.index.numpy()].astype(np.float32) / np.float32(255)
    )


def test_labels_become_one_hot_conditions_of_their_classes() -> None:
    labels = np.array(["ant", "bee", "cat"])[np.arange(40) % 3]
    batch = stream(rows(), labels).batch_at(0)
    assert batch.condition is not None
    assert batch.condition.dtype == torch.float32
    assert batch.condition.sum(1).tolist() == [1.0] * 7
    classes = np.array(["ant", "bee", "cat"])[batch.condition.argmax(1).numpy()]
    assert classes.tolist() == labels[batch.index.numpy()].tolist()


def test_labels_are_no_condition_unless_that_is_asked_for() -> None:
    data = gv.split(gv.as_source(rows(), np.arange(40) % 3))
    assert data.spec.condition is None
    assert DataStream(data, 8, 0, CPU).batch_at(0).condition is None
    batch = batch_of(data, np.arange(5), CPU)
    assert batch.condition is None
    assert batch.x.shape == (5, 3)
    labels = data.source.labels(np.arange(5))
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 0, 1]


@final
class Gaps(gv.Source):
    """A table of which some entries are missing."""

    def __init__(self) -> None:
        self.x = rows().copy() + 5
        self.mask = np.random.default_rng(1).random(self.x.shape) < 0.7
        self.x[~self.mask] = np.nan

    @property
    def spec(self) -> gv.DataSpec:
        return gv.DataSpec((3,), None, "table", None, 40, units=Units((5.0,), (2.0,)))

    def __len__(self) -> int:
        return 40

    def rows(self, indices: Indices) -> gv.Rows:
        return gv.Rows(self.x[indices], mask=self.mask[indices])

    def labels(self, indices: Indices | None = None) -> None:
        return None


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_entries_that_were_not_observed_are_zero_and_masked(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_data, "RESIDENT_SHARE", share)
    source = Gaps()
    data = gv.split(source)
    streamed = DataStream(data, 8, 0, CPU)
    for batch in (streamed.batch_at(0), streamed.batch_at(8), batch_of(data, np.arange(8), CPU)):
        at = batch.index.numpy()
        assert batch.mask is not None
        assert np.array_equal(batch.mask.numpy(), source.mask[at])
        expected = np.where(source.mask[at], (source.x[at] - 5) / 2, 0)
        np.testing.assert_allclose(batch.x.numpy(), expected, rtol=1e-6)
    streamed.close()


TABLES = {
    "float32": rows(),
    "float64 far from zero": rows().astype(np.float64) + 1e9,
    "int32": (rows() * 1000).astype(np.int32),
    "int64 far from zero": (rows() * 1000).astype(np.int64) + 10**12,
    "uint32 far from zero": (np.abs(rows()) * 1000).astype(np.uint32) + 4_000_000_000,
    "uint16": (np.abs(rows()) * 1000).astype(np.uint16),
    "big-endian": rows().astype(">f8"),
    "a constant column": np.concatenate([rows(), np.full((40, 1), 1234.5, np.float32)], 1),
}


@pytest.mark.parametrize("name", list(TABLES))
def test_a_table_is_standardised_and_comes_back_in_its_own_units(name: str) -> None:
    table = TABLES[name]
    source = gv.as_source(table)
    x = Codec(source.spec, CPU).x(as_tensor(source.rows(slice(None)).x))
    varying = table.std(0) > 0
    np.testing.assert_allclose(x.numpy().mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(x.numpy().std(0), varying.astype(float), atol=1e-3)
    back = in_own_units(x.numpy(), source.spec)
    assert back.dtype == np.dtype(source.spec.units.dtype)
    assert back.dtype == table.dtype.newbyteorder("=")
    # Between, values are float32 of the column's spread: seven digits of it, and whole numbers exactly.
    tolerance = (
        1e-6 * np.asarray(table.std(0), np.float64) * 5
        + 1e-6 * (table.dtype == np.float32) * np.abs(table).max()
    )
    assert (np.abs(back.astype(np.float64) - table.astype(np.float64)) <= tolerance).all()


def test_whole_numbers_are_rounded_and_kept_within_their_type() -> None:
    units = Units((0.0,), (255.0,), "uint8")
    made = from_units(np.array([[-0.2, 0.0, 0.5, 1.0, 1.7]], np.float32), units)
    assert made.dtype == np.uint8
    assert made.tolist() == [[0, 0, 128, 255, 255]]
    assert from_units(np.array([[0.2, 0.8]], np.float32), Units(dtype="bool")).tolist() == [[False, True]]


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((4, 3), np.float32)[::-1],
        rows()[:, ::-1],
        rows().astype(">f4"),
        rows().astype(np.uint16),
        images()[:, ::2, ::-2],
        np.asfortranarray(rows()),
        np.lib.stride_tricks.as_strided(rows(), (4, 3), (0, 4)),
    ],
    ids=[
        "rows reversed",
        "columns reversed",
        "big-endian",
        "uint16",
        "flipped images",
        "columns first",
        "repeated",
    ],
)
def test_arrays_in_any_order_of_memory_can_be_read(x: np.ndarray) -> None:
    np.testing.assert_array_equal(as_tensor(x).numpy(), x.astype(x.dtype.newbyteorder("=")))
    source = gv.as_source(x)
    divided = gv.split(source)
    batch = DataStream(divided, 2, 0, CPU).batch_at(0)
    assert torch.equal(batch.x, batch_of(divided, batch.index.numpy(), CPU).x)


def test_a_read_only_array_is_no_reason_to_copy_or_to_warn() -> None:
    x = rows()
    x.setflags(write=False)
    assert as_tensor(x).data_ptr() == x.ctypes.data
    engine(regression(), data=x, steps=1).fit()


def test_data_without_a_row_to_learn_from_is_refused() -> None:
    source = gv.as_source(rows(3))
    empty = gv.Split(source, np.array([], np.int64), np.arange(3))
    with pytest.raises(gv.DataError, match="no rows to learn from"):
        DataStream(empty, 2, 0, CPU)
