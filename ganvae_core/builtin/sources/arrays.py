"""Arrays: from .npy and .npz files, and from what a notebook has in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from ganvae_core.builtin.sources.dataset import from_dataset
from ganvae_core.builtin.sources.describe import describe
from ganvae_core.builtin.sources.labels import encode_labels
from ganvae_core.builtin.sources.npy import NPY_MAGIC, ZIP_MAGIC, Npz, read_npy
from ganvae_core.builtin.sources.paths import existing_file, readable
from ganvae_core.builtin.sources.storage import native
from ganvae_core.builtin.sources.stored import StoredSource
from ganvae_core.errors import DataError, did_you_mean
from ganvae_core.interfaces import Source

LABEL_KEYS = ("labels", "y", "targets")


@final
class Arrays(StoredSource):
    """An array in a .npy file, which is mapped into memory, or in an .npz.

    Args:
        path: the .npy or .npz file
        key: which array of an .npz; needed where it holds several
        labels: an array of the .npz, or a .npy file; default: one called labels, y or targets; empty for none
    """

    def __init__(self, *, path: str | None = None, key: str | None = None, labels: str | None = None) -> None:
        if path is None:
            raise DataError(
                "data.path is missing: the .npy or .npz file to read.", "for example  --data x.npy"
            )
        file = existing_file(path)
        with readable(file), file.open("rb") as stream:
            magic = stream.read(len(NPY_MAGIC))
        if magic == NPY_MAGIC:
            x, given = _from_npy(file, key, labels)
        elif magic.startswith(ZIP_MAGIC):
            x, given = _from_npz(file, key, labels)
        else:
            raise DataError(
                f"'{path}' is neither a .npy nor an .npz file (it begins with {magic!r}).",
                "write one:  np.save(FILE, x)   or   np.savez(FILE, x=x, labels=labels)",
            )
        described = describe(native(x), f"'{path}'")
        encoded = None if given is None else encode_labels(given, len(described.x), _labels_of(path, labels))
        super().__init__(described.x, described.spec, encoded, described.notes)


@final
class InMemory(StoredSource):
    """An array that a notebook has in memory, which is not copied."""

    def __init__(self, x: np.ndarray, labels: np.ndarray | None = None) -> None:
        described = describe(x, "the array")
        encoded = None if labels is None else encode_labels(labels, len(described.x), "labels=")
        super().__init__(described.x, described.spec, encoded, described.notes)


def as_source(x: object, labels: Any = None) -> Source:
    """Anything that holds rows as a source.

    Args:
        x: a source, an array or a tensor (N, ...), which is not copied, or a map-style dataset whose items
            are x or (x, label).
        labels: (N,) integers or strings.

    Raises:
        DataError: x is none of these, the values are unfit, or the labels do not match.
    """
    values = None if labels is None else as_array(labels)
    if isinstance(x, TensorDataset) and len(x.tensors) in (1, 2):
        first, *rest = x.tensors
        own = as_array(rest[0]) if rest else None
        return InMemory(as_array(first), own if values is None else values)
    if isinstance(x, Dataset) and not isinstance(x, IterableDataset):
        return from_dataset(x, values)
    if isinstance(x, Source):
        if values is not None:
            raise DataError("labels= goes with an array; a source brings its own.")
        return x
    if isinstance(x, np.ndarray | Tensor):
        return InMemory(as_array(x), values)
    raise DataError(
        f"data of type {type(x).__name__} cannot be read.",
        "it may be a NumPy array, a torch tensor, a map-style torch.utils.data.Dataset, or a ganvae Source",
    )


def as_array(values: Any) -> np.ndarray:
    """An array that shares the memory of an array or of a tensor on the CPU, or holds a list's values.

    Raises:
        DataError: a tensor is not a dense one of numbers that NumPy has.
    """
    if not isinstance(values, Tensor):
        return np.asarray(values)
    try:
        return values.detach().cpu().resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError) as error:
        raise DataError(
            f"a tensor of type {values.dtype} ({values.layout}) cannot be read as an array.",
            "give a dense one:  x.to_dense()   or another type:  x.float()",
        ) from error


def _from_npy(file: Path, key: str | None, labels: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    if key is not None:
        raise DataError(
            f"data.key: '{file}' is a .npy file, which holds a single array.", "leave data.key out"
        )
    return read_npy(file), read_npy(existing_file(labels)) if labels else None


def _from_npz(file: Path, key: str | None, labels: str | None) -> tuple[np.ndarray, np.ndarray | None]:
    archive = Npz(file)
    try:
        keys = archive.keys
        chosen = _chosen(file, keys, key, labels)
        x = archive.read(chosen)
        if labels is None:
            found = next((name for name in LABEL_KEYS if name in keys and name != chosen), None)
            return x, None if found is None else archive.read(found)
        if labels == "":
            return x, None
        return x, archive.read(labels) if labels in keys else read_npy(_label_file(labels, file, keys))
    finally:
        archive.close()


def _chosen(file: Path, keys: list[str], key: str | None, labels: str | None) -> str:
    listed = ", ".join(keys)
    if not keys:
        raise DataError(f"'{file}' holds no array.")
    if key is not None:
        if key not in keys:
            raise DataError(
                f"data.key: '{file}' has no array '{key}'.{did_you_mean(key, keys)}", f"arrays: {listed}"
            )
        return key
    data = [name for name in keys if name not in LABEL_KEYS and name != labels]
    if len(keys) > 1 and len(data) != 1:
        raise DataError(
            f"'{file}' holds several arrays: {listed}.", f"choose one:  data.key={(data or keys)[0]}"
        )
    return data[0] if data else keys[0]


def _label_file(labels: str, file: Path, keys: list[str]) -> Path:
    if not labels.endswith(".npy"):
        raise DataError(
            f"data.labels: '{file}' has no array '{labels}'.{did_you_mean(labels, keys)}",
            f"arrays: {', '.join(keys)}",
        )
    return existing_file(labels)


def _labels_of(path: str, labels: str | None) -> str:
    return f"'{labels}'" if labels else f"'{path}'"
