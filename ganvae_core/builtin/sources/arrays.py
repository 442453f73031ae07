"""Arrays: from .npy and .npz files, and from what a notebook has in memory."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast, final

import numpy as np
from numpy.lib.npyio import NpzFile
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ganvae_core.builtin.sources.describe import Scale, describe
from ganvae_core.builtin.sources.paths import existing_file, readable, reason
from ganvae_core.builtin.sources.storage import allocate, native
from ganvae_core.builtin.sources.stored import StoredSource, encode_labels
from ganvae_core.data.frames import is_frame
from ganvae_core.errors import DataError, did_you_mean
from ganvae_core.interfaces import Source

_DATASET = "the dataset"

LABEL_KEYS = ("labels", "y", "targets")
NPY_MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK"


@final
class Arrays(StoredSource):
    """An array in a .npy file, which is mapped into memory, or in an .npz.

    Args:
        path: the .npy or .npz file
        key: which array of an .npz; needed where it holds several
        labels: an array of the .npz, or a .npy file; default: one called labels, y or targets; empty for none
        scale: how values become a model's: ``pixels`` are divided by 255, ``range`` maps the lowest and the highest to
            0 and 1, ``standardise`` makes mean 0 and deviation 1, ``none`` keeps them; by default the values decide
    """

    of_one_file = frozenset({"key", "labels"})

    def __init__(
        self,
        *,
        path: str | None = None,
        key: str | None = None,
        labels: str | None = None,
        scale: Scale = "auto",
    ) -> None:
        if path is None:
            raise DataError(
                "data.path is missing: the .npy or .npz file to read.", "for example  --data x.npy"
            )
        file = existing_file(path)
        if _is_npz(file):
            with readable(file), file.open("rb") as stream:
                with _whole(f"'{file}'"):
                    archive: NpzFile = np.load(stream, allow_pickle=False)
                key = _chosen(archive, path, key, labels)
                x, given = _read(archive, path, key), _labels(archive, path, key, labels)
        elif key is None:
            x, given = _read_npy(file), _read_npy(existing_file(labels)) if labels else None
        else:
            raise DataError(
                f"data.key: '{path}' is a .npy file, which holds a single array.", "leave data.key out"
            )
        described = describe(native(x), f"'{path}'", scale=scale)
        encoded = None if given is None else encode_labels(given, len(x), f"'{labels or path}'")
        super().__init__(*described, labels=encoded)


def as_source(x: object, labels: Any = None) -> Source:
    """Anything that holds rows as a source.

    Args:
        x: a source, an array or a tensor (N, ...), which is not copied, a data frame of pandas, polars or Arrow, or
            a map-style dataset whose items are x or (x, label). Masked entries of a ``numpy.ma`` array are missing
            values.
        labels: (N,) integers, strings or booleans.

    Raises:
        DataError: x is none of these, the values are unfit, or the labels do not match.
    """
    values = None if labels is None else as_array(labels)
    if isinstance(x, TensorDataset) and len(x.tensors) in (1, 2):
        x, *own = x.tensors
        values = as_array(own[0]) if own and values is None else values
    if isinstance(x, Dataset) and not isinstance(x, IterableDataset):
        return _from_dataset(x, values)
    if is_frame(x):
        if values is not None:
            raise DataError("labels= goes with an array; a data frame has them in a column.")
        from ganvae_core.builtin.sources.table import Table

        return Table(frame=x)
    if isinstance(x, Source):
        if values is not None:
            raise DataError("labels= goes with an array; a source brings its own.")
        return x
    if not isinstance(x, np.ndarray | Tensor):
        raise DataError(
            f"data of type {type(x).__name__} cannot be read.",
            "it may be a NumPy array, a torch tensor, a data frame, a map-style torch.utils.data.Dataset, or a Source",
        )
    described = describe(as_array(x), "the array")
    labels = None if values is None else encode_labels(values, len(described.x), "labels=")
    return StoredSource(*described, labels=labels)


def as_array(values: Any) -> np.ndarray:
    """An array that shares the memory of an array or of a tensor on the CPU, or holds a list's values.

    Raises:
        DataError: a tensor is not a dense one of numbers that NumPy has.
    """
    if not isinstance(values, Tensor):
        return np.asanyarray(values) if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    try:
        return values.detach().cpu().resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as error:
        raise DataError(
            f"a tensor of type {values.dtype} ({values.layout}) cannot be read as an array.",
            "give a dense one:  x.to_dense()   or another type:  x.float()",
        ) from error


def _from_dataset(dataset: Any, labels: np.ndarray | None) -> StoredSource:
    """The items of a map-style dataset, each x or (x, label), read once into memory or into a temporary file.

    ``labels`` (N,) take the place of the dataset's own.
    """
    count = len(dataset)
    if count == 0:
        raise DataError(f"{_DATASET} has no rows.")
    first, label = _item(dataset, 0)
    x = allocate((count, *first.shape), first.dtype)
    x[0], found = first, [label]
    for index in range(1, count):
        item, label = _item(dataset, index)
        if (item.shape, item.dtype) != (first.shape, first.dtype):
            raise DataError(
                f"item {index} of {_DATASET} is {item.dtype} of shape {item.shape},"
                f" and the first is {first.dtype} of shape {first.shape}."
            )
        x[index] = item
        found.append(label)
    described = describe(x, _DATASET)
    if labels is not None:
        return StoredSource(*described, labels=encode_labels(labels, count, "labels="))
    if any(label is None for label in found):
        return StoredSource(*described)
    plain = [_plain_label(label, index) for index, label in enumerate(found)]
    return StoredSource(*described, labels=encode_labels(np.asarray(plain), count, _DATASET))


def _item(dataset: Any, index: int) -> tuple[np.ndarray, Any]:
    """Item ``index`` as an array, and its label, or None."""
    item = dataset[index]
    parts = cast("Sequence[Any]", item if isinstance(item, tuple | list) else (item,))
    if len(parts) not in (1, 2):
        raise DataError(f"item {index} of {_DATASET} has {len(parts)} parts; x or (x, label) is expected.")
    x = as_array(parts[0])
    if x.dtype.kind not in "biuf":
        raise DataError(
            f"item {index} of {_DATASET} is of type {type(parts[0]).__name__}; numbers are expected."
        )
    return x, parts[1] if len(parts) == 2 else None


def _plain_label(value: Any, index: int) -> Any:
    label = as_array(value)
    if label.size != 1 or label.dtype.kind == "O":
        raise DataError(
            f"item {index} of {_DATASET} has a label of type {type(value).__name__},"
            " and not an integer or a string.",
            "give labels apart:  as_source(dataset, labels=labels)",
        )
    return label.item()


def _is_npz(file: Path) -> bool:
    """Whether a file is an .npz, and not a .npy.

    Raises:
        DataError: it is neither.
    """
    with readable(file), file.open("rb") as stream:
        magic = stream.read(len(NPY_MAGIC))
    if not magic.startswith((NPY_MAGIC, ZIP_MAGIC)):
        raise DataError(
            f"'{file}' is neither a .npy nor an .npz file (it begins with {magic!r}).",
            "write one:  np.save(FILE, x)   or   np.savez(FILE, x=x, labels=labels)",
        )
    return magic != NPY_MAGIC


@contextmanager
def _whole(where: str) -> Generator[None]:
    """Name the file where NumPy fails on a damaged one, which it does with nearly every kind of error."""
    try:
        yield
    except Exception as error:
        if "Object arrays" in str(error) or "Python objects" in str(error):
            raise DataError(
                f"{where} holds Python objects, which could run any code when loaded, and are refused.",
                "store numbers:  np.save(FILE, np.stack(rows))",
            ) from error
        raise DataError(f"{where} is truncated or damaged: {reason(error)}.") from error


def _read_npy(file: Path) -> np.ndarray:
    """The array of a .npy file, mapped and read-only."""
    with _whole(f"'{file}'"):
        return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _read(archive: NpzFile, path: str, key: str) -> np.ndarray:
    where = f"array '{key}' of '{path}'"
    with _whole(where):
        x: Any = archive[key]
    if not isinstance(x, np.ndarray):
        raise DataError(f"{where} is truncated or damaged: it does not begin like an array.")
    return x


def _chosen(archive: NpzFile, path: str, key: str | None, labels: str | None) -> str:
    keys = archive.files
    if not keys:
        raise DataError(f"'{path}' holds no array.")
    if key is not None:
        return _known(archive, path, "key", key)
    data = [name for name in keys if name not in LABEL_KEYS and name != labels]
    if len(keys) > 1 and len(data) != 1:
        raise DataError(
            f"'{path}' holds several arrays: {', '.join(keys)}.", f"choose one:  data.key={(data or keys)[0]}"
        )
    return data[0] if data else keys[0]


def _labels(archive: NpzFile, path: str, key: str, labels: str | None) -> np.ndarray | None:
    """The labels that go with an array: one of the conventional names, or the one that was asked for."""
    if labels is None:
        labels = next((name for name in LABEL_KEYS if name in archive.files and name != key), "")
    if not labels:
        return None
    if labels.endswith(".npy") and labels not in archive.files:
        return _read_npy(existing_file(labels))
    return _read(archive, path, _known(archive, path, "labels", labels))


def _known(archive: NpzFile, path: str, option: str, key: str) -> str:
    if key not in archive.files:
        raise DataError(
            f"data.{option}: '{path}' has no array '{key}'.{did_you_mean(key, archive.files)}",
            f"arrays: {', '.join(archive.files)}",
        )
    return key
