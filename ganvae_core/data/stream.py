"""Data as the engine reads it: every batch is a pure function of (seed, position)."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import Normaliser, as_tensor
from ganvae_core.data.memory import available_memory
from ganvae_core.data.randomness import mixed_seed, purpose
from ganvae_core.data.split import Split
from ganvae_core.errors import DataError
from ganvae_core.types import Batch

ORDER = purpose("order of the data")
RESIDENT_SHARE = 0.5
"""Data that takes less than this share of a device's free memory lives there as a whole."""


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
        return Batch(
            self._normaliser.x(raw), given, None, index.to(self.device, non_blocking=True), samples_seen
        )

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


def _free_memory(device: torch.device) -> float:
    return float(torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_memory())
