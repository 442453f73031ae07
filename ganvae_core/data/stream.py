"""Data as the engine reads it: every batch is a pure function of (seed, position)."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import Codec, RowTensors
from ganvae_core.data.memory import available_memory
from ganvae_core.data.randomness import mixed_seed, permuted, purpose
from ganvae_core.data.split import Split
from ganvae_core.errors import DataError
from ganvae_core.interfaces import Indices
from ganvae_core.types import Batch

ORDER = purpose("order of the data")
RESIDENT_SHARE = 0.5
"""Data below this share of a device's free memory is kept there as a whole."""
BLOCK = 16_384
"""Rows whose order is computed at once."""


class DataStream:
    """The batches of a training run.

    Data that fits is kept on the device in its own type (images as uint8, once) and is normalised there; other data
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
        self._codec = Codec(data.source.spec, device)
        self._block = lru_cache(maxsize=2)(self._numbers_of)
        self._ahead: tuple[int, Future[RowTensors]] | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._resident: RowTensors | None = None
        if self._fits():
            self._resident = self._rows_at(slice(None)).each(lambda tensor: tensor.to(self.device))

    def batch_at(self, samples_seen: int) -> Batch:
        """The batch that follows ``samples_seen`` rows: each pass over the data is a permutation of its own."""
        index = self._index_at(samples_seen)
        rows = self._read(index, samples_seen)
        index = index.to(self.device, non_blocking=True)
        return self._codec.batch(rows, index, samples_seen)

    def close(self) -> None:
        """Stop reading ahead."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
            self._reader = None
            self._ahead = None

    def _index_at(self, position: int) -> Tensor:
        parts: list[Tensor] = []
        wanted = self.batch_size
        while wanted:
            epoch, start = divmod(position, len(self.data.training))
            block, first = divmod(start, BLOCK)
            parts.append(self._block(epoch, block)[first : first + wanted])
            wanted -= len(parts[-1])
            position += len(parts[-1])
        index = parts[0] if len(parts) == 1 else torch.cat(parts)
        return index if self._rows is None else index[self._rows]

    def _numbers_of(self, epoch: int, block: int) -> Tensor:
        """Row numbers of one block of an epoch, in the epoch's order."""
        training = self.data.training
        positions = np.arange(block * BLOCK, min((block + 1) * BLOCK, len(training)))
        order = permuted(positions, len(training), mixed_seed(self.seed, ORDER, epoch))
        # Where rows are read by number, the numbers are wanted on the CPU.
        place = self.device if self._resident is not None else "cpu"
        return torch.from_numpy(training[order]).to(place)

    def _fits(self) -> bool:
        spec = self.data.source.spec
        size = len(self.data.source) * int(np.prod(spec.shape)) * np.dtype(spec.units.dtype).itemsize
        return size <= RESIDENT_SHARE * _free_memory(self.device) / self._sharers

    def _read(self, index: Tensor, position: int) -> RowTensors:
        if self._resident is not None:
            return self._resident.each(lambda tensor: tensor.index_select(0, index))
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, thread_name_prefix="ganvae-data")
        if self._ahead is not None and self._ahead[0] == position:
            rows = self._ahead[1].result()
        else:
            rows = self._fetch(index)
        following = position + self.batch_size
        self._ahead = (following, self._reader.submit(self._fetch, self._index_at(following)))
        return rows.each(lambda tensor: tensor.to(self.device, non_blocking=True))

    def _fetch(self, index: Tensor) -> RowTensors:
        rows = self._rows_at(index.numpy())
        return rows.each(lambda tensor: tensor.pin_memory()) if self.device.type == "cuda" else rows

    def _rows_at(self, indices: Indices) -> RowTensors:
        """Rows of the source; their labels only if the model is given them."""
        return RowTensors.of(self.data.source.rows(indices), labels=self.data.conditional)


def _free_memory(device: torch.device) -> float:
    return float(torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory())
