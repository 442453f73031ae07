"""What a notebook has in memory as a source, and memory itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ganvae_core.builtin.sources import storage
from ganvae_core.builtin.sources.arrays import as_source
from ganvae_core.builtin.sources.digits import Digits
from ganvae_core.data import memory
from ganvae_core.errors import DataError

RNG = np.random.default_rng(0)


class Items(Dataset[Any]):
    """A map-style dataset of given items, which counts how often they are read."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.reads = 0

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        self.reads += 1
        return self.items[index]


def labelled(count: int = 7) -> Items:
    x = torch.from_numpy(RNG.normal(size=(count, 1, 4, 4)).astype(np.float32)) * 3
    return Items([(x[row], "ab"[row % 2]) for row in range(count)])


def test_an_array_is_not_copied() -> None:
    x = RNG.integers(0, 256, (5, 3, 4, 4), dtype=np.uint8)
    source = as_source(x, labels=["b", "a", "b", "b", "a"])
    rows, labels = source.rows(slice(None)).x, source.labels(slice(None))
    assert np.shares_memory(rows, x)
    assert labels is not None
    assert labels.tolist() == [1, 0, 1, 1, 0]
    assert source.spec.classes == ("a", "b")


@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_tensor_is_not_copied(requires_grad: bool) -> None:
    x = torch.randn(5, 2, requires_grad=requires_grad)
    source = as_source(x, labels=torch.tensor([0, 1, 0, 1, 1]))
    rows = source.rows(slice(None)).x
    assert rows.ctypes.data == x.data_ptr()
    assert source.spec.modality == "points"
    assert source.spec.condition == (2,)


def test_a_source_is_itself() -> None:
    source = Digits()
    assert as_source(source) is source
    with pytest.raises(DataError, match="brings its own"):
        as_source(source, labels=[1])


@pytest.mark.parametrize("x", [[1, 2], "digits", None, object()])
def test_anything_else_is_answered_with_what_is_accepted(x: object) -> None:
    with pytest.raises(DataError, match="cannot be read") as caught:
        as_source(x)
    assert "torch.utils.data.Dataset" in caught.value.hints[0]


def test_a_stream_without_rows_by_number_is_refused() -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[int]:
            return iter([1])

    with pytest.raises(DataError, match="type Stream cannot be read"):
        as_source(Stream())


def test_tensors_that_numpy_has_no_type_for_are_refused() -> None:
    with pytest.raises(DataError, match="bfloat16"):
        as_source(torch.zeros(3, 2, dtype=torch.bfloat16))
    with pytest.raises(DataError, match="sparse"):
        as_source(torch.eye(3).to_sparse())


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 1], "2 labels for 3 rows"), (np.zeros((3, 2)), r"shape \(3, 2\)"), ([0, None, 1], "type object")],
)
def test_labels_that_do_not_match_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_source(np.zeros((3, 4, 4)), labels=labels)


def test_a_tensor_dataset_is_not_copied() -> None:
    x = torch.rand(6, 1, 3, 3)
    plain, with_labels = TensorDataset(x), TensorDataset(x, torch.arange(6))
    assert as_source(plain).rows(slice(None)).x.ctypes.data == x.data_ptr()
    assert as_source(plain).spec.classes is None
    assert as_source(with_labels).spec.classes == tuple("012345")


def test_a_dataset_is_read_once() -> None:
    dataset = labelled()
    source = as_source(dataset)
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    reads = dataset.reads
    assert np.shares_memory(x, source.rows(slice(2, 4)).x)
    assert dataset.reads == reads == len(dataset)
    assert np.array_equal(x, torch.stack([item for item, _ in dataset.items]).numpy())
    assert labels is not None
    assert labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert source.spec.units.offset == (x.min(),)


def test_a_dataset_larger_than_memory_is_read_into_a_file(
    monkeypatch: pytest.MonkeyPatch, is_mapped: Callable[[np.ndarray], bool]
) -> None:
    dataset = labelled()
    in_memory = as_source(dataset)
    monkeypatch.setattr(storage, "available_memory", lambda: 100)
    on_disk = as_source(dataset)
    assert on_disk.spec == in_memory.spec
    assert is_mapped(on_disk.rows(slice(None)).x)
    assert not is_mapped(in_memory.rows(slice(None)).x)
    for indices in (slice(None), slice(5, 1, -2), slice(-2, None), np.array([6, 0, 6])):
        one, other = on_disk.rows(indices), in_memory.rows(indices)
        assert np.array_equal(one.x, other.x)
        assert one.labels is not None
        assert other.labels is not None
        assert np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize("memory", [100, 10**9])
def test_images_of_pillow_are_understood(monkeypatch: pytest.MonkeyPatch, memory: int) -> None:
    monkeypatch.setattr(storage, "available_memory", lambda: memory)
    pixels = RNG.integers(0, 256, (9, 5, 6, 3), dtype=np.uint8)
    source = as_source(Items([(Image.fromarray(image), torch.tensor(3)) for image in pixels]))
    assert source.spec.shape == (3, 5, 6)
    assert source.spec.units.scale == (255.0,)
    assert source.spec.classes == ("3",)
    assert np.array_equal(source.rows(slice(None)).x, pixels.transpose(0, 3, 1, 2))


def test_given_labels_take_the_place_of_a_datasets_own() -> None:
    assert as_source(labelled(3), labels=["x", "y", "z"]).spec.classes == ("x", "y", "z")
    boxes = Items([(np.zeros((2, 2)), {"box": row}) for row in range(2)])
    assert as_source(boxes, labels=[4, 5]).spec.classes == ("4", "5")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "no rows"),
        ([np.zeros(3), np.zeros(4)], r"item 1 of the dataset is float64 of shape \(4,\)"),
        ([np.zeros(3), np.zeros(3, np.uint8)], "item 1 of the dataset is uint8"),
        ([(np.zeros(3), 1, 2)], "item 0 of the dataset has 3 parts"),
        ([(np.zeros(3), {"box": 1})], "label of type dict"),
        ([(np.zeros(3), torch.zeros(4))], "label of type Tensor"),
        (["text"], "item 0 of the dataset is of type str"),
        ([np.zeros(3), np.full(3, np.nan)], "row 1, column 0 .* is nan"),
    ],
)
def test_a_dataset_that_is_no_rows_of_numbers_is_refused(items: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        as_source(Items(items))


def test_memory_is_ordinary_while_it_lasts_and_then_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(storage, "available_memory", lambda: 2000)
    assert storage.allocate((10, 100), np.uint8).base is None
    x = storage.allocate((10, 101), np.float32)
    assert x.base is not None
    x[:] = 7
    assert x.sum() == 7070
    assert list(tmp_path.iterdir()) == []  # the file has no name, and goes with the process


def test_what_fits_nowhere_is_refused_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "available_memory", lambda: 2000)
    for rows in (2**50, 2**70):
        with pytest.raises(DataError, match="fit neither in memory nor on the disk") as caught:
            storage.allocate((rows, 1024), np.uint8)
        assert "TMPDIR" in caught.value.hints[0]


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200000\n")
    monkeypatch.setattr(memory, "_CONTROL_GROUP", tmp_path)
    assert memory.available_memory() == 500000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_memory() > 10**7


def test_masked_entries_are_missing_and_no_values() -> None:
    x = np.ma.masked_less(np.array([[1.0, 2.0], [-999.0, 4.0], [3.0, 6.0]]), 0)
    source = as_source(x)
    rows = source.rows(slice(None))
    assert rows.mask is not None
    assert rows.mask.tolist() == [[True, True], [False, True], [True, True]]
    assert source.spec.units.offset == (2.0, 4.0)
    assert source.spec.units.scale[0] == 1.0


def test_masked_values_that_are_not_finite_are_no_error() -> None:
    x = np.ma.masked_invalid(np.array([[[np.nan, 2.0], [0.5, 4.0]]] * 3))
    assert as_source(x).spec.units.offset == (0.5,)


def test_labels_keep_their_type() -> None:
    x = np.zeros((4, 3))
    for labels, kind in (([7, 3, 7, 10], "int"), (["b", "a", "b", "a"], "text"), ([True, False] * 2, "bool")):
        spec = as_source(x, labels).spec
        assert spec.class_type == kind
        assert spec.class_values().tolist() == sorted(set(labels))
    assert as_source(x, np.array(["b", "a", "b", "a"], dtype=object)).spec.classes == ("a", "b")
