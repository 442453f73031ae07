"""Data as the engine reads it: every batch is a pure function of (seed, position)."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import cast

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
PLACED_AFTER = 16
"""Batches before data is placed on an accelerator: phases that run at every 16th step have run once."""
READERS = 4
"""Threads that read rows, and batches that are read ahead."""
BLOCK = 16_384
"""Rows whose order is computed at once."""

_Arriving = tuple[RowTensors, Tensor, "torch.cuda.Event | None"]


class DataStream:
    """The batches of a training run.

    Data that fits is kept on the device in its own type (images as uint8, once) and is normalised there. An accelerator
    computes the first ``PLACED_AFTER`` batches before that, so that the model, the optimizers' state and activations
    have their memory first. Other data is read ahead by rows in several threads, for CUDA into pinned memory, from
    which a stream of its own copies it.

    Args:
        data: the split source.
        batch_size: rows of one global batch.
        seed: the order follows from it.
        device: where batches are wanted.
        rows: of each global batch, those that are wanted; all by default.
        sharers: processes that share this device's memory.
        channels_last: the memory order of images, in which they are kept.
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
        channels_last: bool = False,
    ) -> None:
        if len(data.training) == 0:
            raise DataError("there are no rows to learn from.")
        self.data = data
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self._rows = rows
        self._sharers = sharers
        self._channels_last = channels_last and len(data.source.spec.shape) == 3
        self._codec = Codec(data.source.spec, device)
        self._block = lru_cache(maxsize=2)(self._numbers_of)
        self._ahead: dict[int, Future[_Arriving]] = {}
        self._readers: ThreadPoolExecutor | None = None
        self._resident: RowTensors | None = None
        self._batches_before_placing = 0 if device.type == "cpu" else PLACED_AFTER
        if device.type == "cpu":
            self._place()

    def batch_at(self, samples_seen: int) -> Batch:
        """The batch that follows ``samples_seen`` rows: each pass over the data is a permutation of its own."""
        if self._batches_before_placing:
            self._batches_before_placing -= 1
            if not self._batches_before_placing:
                self._place()
        if self._resident is None:
            rows, index = self._read(samples_seen)
        else:
            index = self._index_at(samples_seen)
            rows = self._resident.each(lambda tensor: tensor.index_select(0, index))
            if self._channels_last:
                rows = rows.each(_from_rows_of_pixels)
        return self._codec.batch(rows, index, samples_seen)

    def release(self) -> bool:
        """Give up the memory of data that is kept on an accelerator; return whether there was any."""
        if self._resident is None or self.device.type == "cpu":
            return False
        self._resident = None
        self._block.cache_clear()
        return True

    def close(self) -> None:
        """Stop reading ahead."""
        if self._readers is not None:
            self._readers.shutdown(cancel_futures=True)
            self._readers = None
            self._ahead = {}

    def _place(self) -> None:
        """Keep the data on the device, if it fits in a share of what is free."""
        spec = self.data.source.spec
        values = len(spec.fields) if spec.fields and spec.encoded else int(np.prod(spec.shape))
        size = len(self.data.source) * values * np.dtype(spec.units.dtype).itemsize
        if self.data.source.is_lazy or size > RESIDENT_SHARE * _free_memory(self.device) / self._sharers:
            return
        rows = self._rows_at(slice(None))
        if self._channels_last:
            rows = rows.each(_to_rows_of_pixels)
        self._resident = rows.each(lambda tensor: tensor.to(self.device))
        self._block.cache_clear()  # their numbers are wanted on the device now

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
        numbers = torch.from_numpy(training[order])
        # Where rows are read by number, the numbers are wanted on the CPU.
        return numbers if self._resident is None else _sent(numbers, self.device)

    def _read(self, position: int) -> tuple[RowTensors, Tensor]:
        """Rows that were read ahead, and their numbers, on the device."""
        if self._readers is None:
            self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="ganvae-data")
            self._copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        wanted = range(position, position + (READERS + 1) * self.batch_size, self.batch_size)
        self._ahead = {
            at: self._ahead.get(at) or self._readers.submit(self._fetch, self._index_at(at)) for at in wanted
        }
        rows, index, copied = self._ahead.pop(position).result()
        if copied is not None:
            computing = torch.cuda.current_stream(self.device)
            computing.wait_event(copied)
            for tensor in (*rows, index):
                if tensor is not None:
                    tensor.record_stream(computing)  # its memory is not reused before the step has read it
        return rows, index

    def _fetch(self, index: Tensor) -> _Arriving:
        rows = self._rows_at(index.numpy())
        if self._channels_last:
            rows = rows.each(lambda tensor: _from_rows_of_pixels(_to_rows_of_pixels(tensor)))
        if self._copies is None:
            return rows.each(lambda tensor: tensor.to(self.device)), index.to(self.device), None
        with torch.cuda.stream(self._copies):
            rows = rows.each(lambda tensor: _sent(tensor, self.device))
            index = _sent(index, self.device)
            return rows, index, cast(torch.cuda.Event, self._copies.record_event())

    def _rows_at(self, indices: Indices) -> RowTensors:
        """Rows of the source; their labels only if the model is given them."""
        return RowTensors.of(self.data.source.rows(indices), labels=self.data.conditional)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy on the device that the current stream makes; the CPU does not wait for it."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _to_rows_of_pixels(tensor: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W, C) in memory; others as they are."""
    return tensor.permute(0, 2, 3, 1).contiguous() if tensor.dim() == 4 else tensor


def _from_rows_of_pixels(tensor: Tensor) -> Tensor:
    """(N, H, W, C) -> (N, C, H, W), a view: channels last."""
    return tensor.permute(0, 3, 1, 2) if tensor.dim() == 4 else tensor


def _free_memory(device: torch.device) -> float:
    return float(torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory())
