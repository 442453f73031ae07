"""Data as the engine reads it: every batch is a pure function of (seed, position)."""

from __future__ import annotations

import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.engine.randomness import mixed_seed, purpose
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Source
from ganvae_core.memory import available_memory
from ganvae_core.types import Batch, DataSpec, Units

ORDER = purpose("order of the data")
SPLIT = purpose("held-out split")
RESIDENT_SHARE = 0.5
"""Data that takes less than this share of a device's free memory lives there as a whole."""

_INDEXABLE = {np.dtype(name) for name in ("uint8", "int8", "int16", "int32", "int64", "bool")} | {
    np.dtype(name) for name in ("float16", "float32", "float64")
}


@final
@dataclass(frozen=True)
class Split:
    """A source with its rows divided into those to learn from and those held out.

    Args:
        source: the data.
        training: sorted row numbers to learn from.
        held_out: sorted row numbers that training never sees.
        conditional: whether the model is given the source's condition.
    """

    source: Source
    training: np.ndarray
    held_out: np.ndarray
    conditional: bool = False

    @property
    def spec(self) -> DataSpec:
        """What components are told: the source's, without a condition unless it was asked for."""
        condition = self.source.spec.condition if self.conditional else None
        return replace(self.source.spec, condition=condition, count=len(self.training))


def split(source: Source, *, held_out: float = 0.1, split_seed: int = 0, conditional: bool = False) -> Split:
    """Hold out a share of the rows, chosen by ``split_seed`` alone, so that all runs hold out the same.

    Raises:
        DataError: the share is not in [0, 1), or the source has no condition to give.
    """
    if not 0 <= held_out < 1:
        raise DataError(f"data.held_out: {held_out} is not possible: it is a share of the rows, in [0, 1).")
    if conditional and source.spec.condition is None:
        raise DataError(
            "data.condition: this data has no labels or other condition to give.",
            "labels are sub-folders of images, labels in an .npz, or a column of a table:  data.label=COLUMN",
            "train without them:  data.condition=false",
        )
    count = len(source)
    chosen = round(count * held_out)
    if chosen == count:
        chosen = count - 1
    generator = torch.Generator().manual_seed(mixed_seed(split_seed, SPLIT))
    order = torch.randperm(count, generator=generator).numpy()
    return Split(source, np.sort(order[chosen:]), np.sort(order[:chosen]), conditional)


class Normaliser:
    """A source's own rows to what a model sees, on one device: ``x = (raw - offset) / scale`` in float32."""

    def __init__(self, spec: DataSpec, device: torch.device) -> None:
        exact = spec.units.dtype in ("bool", "int8", "uint8", "int16", "uint16", "float16", "float32")
        wide = not exact and device.type != "mps"  # float32 would lose some of their digits
        self._dtype = torch.float64 if wide else torch.float32
        self._offset = self._constant(spec.units.offset, 0.0, device)
        self._scale = self._constant(spec.units.scale, 1.0, device)
        self._identity = torch.eye(len(spec.classes), device=device) if spec.classes else None

    def x(self, raw: Tensor) -> Tensor:
        """(B, *X) raw on the device -> (B, *X) float32 within the data's range."""
        x = raw.to(self._dtype)
        if x is raw:  # never write into the source
            x = x if self._offset is None else x - self._offset
            x = x if self._scale is None else x / self._scale
        else:
            x = x if self._offset is None else x.sub_(self._offset)
            x = x if self._scale is None else x.div_(self._scale)
        return x.to(torch.float32)

    def _constant(
        self, values: tuple[float, ...], neutral: float, device: torch.device
    ) -> Tensor | float | None:
        """A number, or numbers to broadcast over the last axis, or None where they would change nothing."""
        if all(value == neutral for value in values):
            return None
        return values[0] if len(values) == 1 else torch.tensor(values, dtype=self._dtype, device=device)

    def condition(self, raw: Tensor | None) -> Tensor | None:
        """(B,) labels -> (B, classes) one-hot; other conditions as float32."""
        if raw is None:
            return None
        if self._identity is not None:
            return self._identity.index_select(0, raw.to(torch.int64))
        return raw.to(torch.float32)


class DataStream:
    """The batches of a training run.

    Data that fits lives on the device in its own type (images as uint8, once) and is normalised there; other data
    is read by rows, one batch ahead of the step that needs it.

    Args:
        data: the split source.
        batch_size: rows of one global batch.
        seed: the order follows from it.
        device: where batches are wanted.
        rows: of each global batch, those that are wanted; all by default.
        sharers: processes that share this device's memory.
    """

    def __init__(
        self,
        data: Split,
        batch_size: int,
        seed: int,
        device: torch.device,
        *,
        rows: slice | None = None,
        sharers: int = 1,
    ) -> None:
        if len(data.training) == 0:
            raise DataError("there is not one row to learn from.")
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self._rows = rows
        self._sharers = sharers
        self._normaliser = Normaliser(data.source.spec, device)
        self._orders: dict[int, Tensor] = {}
        self._training = torch.from_numpy(data.training)
        self._ahead: tuple[int, Future[tuple[Tensor, Tensor | None]]] | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._resident: tuple[Tensor, Tensor | None] | None = None
        if self._fits():
            self._resident = self._load()

    def batch_at(self, samples_seen: int) -> Batch:
        """The batch that follows ``samples_seen`` rows: each pass over the data is a permutation of its own."""
        index = self._index_at(samples_seen)
        raw, condition = self._read(index, samples_seen)
        given = self._normaliser.condition(condition) if self.data.conditional else None
        return Batch(self._normaliser.x(raw), given, index.to(self.device, non_blocking=True), samples_seen)

    def close(self) -> None:
        """Stop reading ahead."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
            self._reader = None
            self._ahead = None

    def _index_at(self, position: int) -> Tensor:
        count = len(self._training)
        epoch, start = divmod(position, count)
        parts: list[Tensor] = []
        wanted = self.batch_size
        while wanted:
            part = self._order(epoch)[start : start + wanted]
            parts.append(part)
            wanted -= len(part)
            epoch, start = epoch + 1, 0
        index = parts[0] if len(parts) == 1 else torch.cat(parts)
        return index if self._rows is None else index[self._rows]

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            generator = torch.Generator().manual_seed(mixed_seed(self.seed, ORDER, epoch))
            permutation = torch.randperm(len(self._training), generator=generator)
            self._orders = {key: order for key, order in self._orders.items() if key == epoch - 1}
            # Where rows are read by number, the numbers are wanted on the CPU.
            place = self.device if self._resident is not None else torch.device("cpu")
            self._orders[epoch] = self._training[permutation].to(place)
        return self._orders[epoch]

    def _fits(self) -> bool:
        spec = self.data.source.spec
        size = len(self.data.source) * int(np.prod(spec.shape)) * np.dtype(spec.units.dtype).itemsize
        return size <= RESIDENT_SHARE * _free_memory(self.device) / self._sharers

    def _load(self) -> tuple[Tensor, Tensor | None]:
        x, condition = self.data.source.rows(slice(None))
        kept = condition if self.data.conditional else None
        return as_tensor(x).to(self.device), None if kept is None else as_tensor(kept).to(self.device)

    def _read(self, index: Tensor, position: int) -> tuple[Tensor, Tensor | None]:
        if self._resident is not None:
            x, condition = self._resident
            return x.index_select(0, index), None if condition is None else condition.index_select(0, index)
        return self._read_ahead(index, position)

    def _read_ahead(self, index: Tensor, position: int) -> tuple[Tensor, Tensor | None]:
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="ganvae-data")
        if self._ahead is not None and self._ahead[0] == position:
            x, condition = self._ahead[1].result()
        else:
            x, condition = self._fetch(index)
        following = position + self.batch_size
        self._ahead = (following, self._reader.submit(self._fetch, self._index_at(following)))
        moved = condition if condition is None else condition.to(self.device, non_blocking=True)
        return x.to(self.device, non_blocking=True), moved

    def _fetch(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        x, condition = self.data.source.rows(index.numpy())
        pin = self.device.type == "cuda"
        kept = None if condition is None or not self.data.conditional else as_tensor(condition)
        rows = as_tensor(x)
        if pin:
            return rows.pin_memory(), None if kept is None else kept.pin_memory()
        return rows, kept


def rows_of(
    data: Split, indices: np.ndarray, device: torch.device
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Chosen rows, normalised on the device: x, the condition that the model is given, and the labels if any."""
    normaliser = Normaliser(data.source.spec, device)
    raw, condition = data.source.rows(indices)
    x = normaliser.x(as_tensor(raw).to(device))
    moved = None if condition is None else as_tensor(condition).to(device)
    labels = moved if data.source.spec.classes else None
    return x, normaliser.condition(moved) if data.conditional else None, labels


def as_tensor(array: np.ndarray) -> Tensor:
    """The array as a tensor, sharing its memory where torch can index its type and its order."""
    if array.dtype not in _INDEXABLE:
        native = array.dtype.newbyteorder("=")
        exact = np.float32 if array.dtype.itemsize <= 2 else np.float64
        array = array.astype(native if native in _INDEXABLE else exact)
    if min(array.strides, default=0) < 0:
        array = array.copy()
    with warnings.catch_warnings():
        # A read-only array is only ever read: index_select copies the rows that it takes.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


def in_own_units(x: np.ndarray, units: Units) -> np.ndarray:
    """What a model makes (N, *X), back in the source's units and type."""
    scale = np.array(units.scale)
    scale[list(units.constant)] = 0.0
    raw = x.astype(np.float64) * scale + np.asarray(units.offset)
    if units.whole:
        raw[..., list(units.whole)] = np.rint(raw[..., list(units.whole)])
    kind = np.dtype(units.dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return np.clip(np.rint(raw), limits.min, limits.max).astype(kind)
    return raw >= 0.5 if kind.kind == "b" else raw.astype(kind)


def _free_memory(device: torch.device) -> float:
    return float(torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory())
