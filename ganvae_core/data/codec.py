"""Rows of a source to inputs of a model, and back."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.fields import FieldCodec, rows_of_fields
from ganvae_core.data.split import Split
from ganvae_core.data.units import from_units
from ganvae_core.types import Batch, DataSpec, Rows

_INDEXABLE = {np.dtype(name) for name in ("uint8", "int8", "int16", "int32", "int64", "bool")} | {
    np.dtype(name) for name in ("float16", "float32", "float64")
}


class RowTensors(NamedTuple):
    """Rows of a source as tensors: x (B, *X), labels (B,) or (B, *K), mask (B, *X)."""

    x: Tensor
    labels: Tensor | None
    mask: Tensor | None

    @classmethod
    def of(cls, rows: Rows, labels: bool = True) -> RowTensors:
        """Tensors that share the arrays' memory where torch can index them."""
        given = rows.labels if labels else None
        return cls(
            as_tensor(rows.x),
            None if given is None else as_tensor(given),
            None if rows.mask is None else as_tensor(rows.mask),
        )

    def each(self, change: Callable[[Tensor], Tensor]) -> RowTensors:
        """A function of each tensor."""
        labels = None if self.labels is None else change(self.labels)
        return RowTensors(change(self.x), labels, None if self.mask is None else change(self.mask))


class Codec:
    """Rows of a source to inputs of a model, on one device: ``(raw - offset) / scale`` in torch's default type.

    Training, encoding, metrics and pictures all use it. ``in_own_units`` is the way back.
    """

    def __init__(self, spec: DataSpec, device: torch.device) -> None:
        self.device = device
        exact = spec.units.dtype in ("bool", "int8", "uint8", "int16", "uint16", "float16", "float32")
        wide = not exact and device.type != "mps"  # float32 would lose some of their digits
        self._dtype = torch.float64 if wide else torch.float32
        self._units = spec.units
        self._offset = self._constant(spec.units.offset, 0.0)
        self._scale = self._constant(spec.units.scale, 1.0)
        self._identity = torch.eye(len(spec.classes), device=device) if spec.classes else None
        self._fields = FieldCodec(spec.fields, device) if spec.fields and spec.encoded else None
        self._condition = FieldCodec(spec.condition_fields, device) if spec.condition_fields else None

    def encode(self, rows: Rows, indices: np.ndarray, *, labels: bool) -> Batch:
        """Rows of a source as the model is given them.

        Args:
            rows: in the source's own types.
            indices: (B,) their numbers.
            labels: whether the model is given the labels.
        """
        tensors = RowTensors.of(rows, labels).each(lambda tensor: tensor.to(self.device))
        return self.batch(tensors, torch.as_tensor(indices, device=self.device), 0)

    def batch(self, rows: RowTensors, index: Tensor, samples_seen: int) -> Batch:
        """A batch of rows that are on the device already."""
        mask = rows.mask if self._fields is None else self._fields.mask(rows.mask)
        return Batch(self.x(rows.x, mask), self.condition(rows.labels), mask, index, samples_seen)

    def x(self, raw: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, *X) raw on the device -> (B, *X) within the data's range, and zero where the mask is false."""
        if self._fields is not None:
            return self._fields.x(raw)
        x = raw.to(self._dtype)
        if x is raw:  # never write into the source
            x = x if self._offset is None else x - self._offset
            x = x if self._scale is None else x / self._scale
        else:  # a copy already: no further one
            x = x if self._offset is None else x.sub_(self._offset)
            x = x if self._scale is None else x.div_(self._scale)
        x = x.to(torch.get_default_dtype())
        return x if mask is None else x.where(mask, 0.0)

    def _constant(self, values: tuple[float, ...], neutral: float) -> Tensor | float | None:
        """A number, or numbers along an axis of x; None for the identity."""
        if all(value == neutral for value in values):
            return None
        if len(values) == 1:
            return values[0]
        return torch.tensor(values, dtype=self._dtype, device=self.device).reshape(self._units.shape(values))

    def condition(self, raw: Tensor | None) -> Tensor | None:
        """(B,) labels -> (B, classes) one-hot; fields as in x; other conditions as numbers in torch's default type."""
        if raw is None:
            return None
        if self._condition is not None:
            return self._condition.x(raw)
        if self._identity is not None:
            return self._identity.index_select(0, raw.to(torch.int64))
        return raw.to(torch.get_default_dtype())


def batch_of(data: Split, indices: np.ndarray, device: torch.device) -> Batch:
    """Chosen rows as the model is given them."""
    rows = data.source.rows(indices)
    return Codec(data.source.spec, device).encode(rows, indices, labels=data.conditional)


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


def in_own_units(x: np.ndarray, spec: DataSpec) -> np.ndarray:
    """Outputs of a model (N, *X), in the source's units and type; of a table with fields (N, fields)."""
    return rows_of_fields(x, spec.fields) if spec.fields and spec.encoded else from_units(x, spec.units)
