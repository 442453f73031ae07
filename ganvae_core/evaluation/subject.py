"""What metrics measure: a model with its data."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar, final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import as_tensor, batch_of
from ganvae_core.data.randomness import mixed_seed, purpose, seeded
from ganvae_core.data.split import RowNumbers, Split
from ganvae_core.evaluation.sampling import CHUNK, RowLimit, evenly, in_parts, sample_chunk
from ganvae_core.model import Model
from ganvae_core.training import Subject
from ganvae_core.types import Batch

T = TypeVar("T")
Draw = Callable[[int, int], Tensor]
"""Number of the first sample and how many -> (count, *X) within the data's range."""
ENCODING = purpose("random numbers of encoders and decoders while measuring")
KEPT_BYTES = 256 * 2**20
"""Batches, codes and reconstructions are kept for other metrics as long as they fit in this."""
MOST_SAMPLES = 10_000
NO_ROW = -1
"""The row number of samples, which are no rows of the source."""


@final
class ModelSubject(Subject):
    """A model and the data that it was trained on.

    Args:
        model: what is measured, in evaluation mode.
        data: a split source, as ``gv.split`` makes it.
        seed: samples follow from it.
        device: where the model is; by default that of its first parameter.
        rows_at_once: rows of a batch of data.
        sample_count: samples that are compared with as many held-out rows; by default as many as there are held-out
            rows, and ``MOST_SAMPLES`` at most.
        most_rows: held-out rows, training rows and samples that any metric is given; None for as many as it asks for.
    """

    def __init__(
        self,
        model: Model,
        data: Split,
        *,
        seed: int = 0,
        device: torch.device | None = None,
        rows_at_once: int = CHUNK,
        sample_count: int | None = None,
        most_rows: int | None = None,
    ) -> None:
        self.model = model
        self.data = data
        self.spec, self.source_spec = data.spec, data.source.spec
        self.seed = seed
        self.device = next(model.parameters()).device if device is None else device
        self.rows_at_once = rows_at_once
        compared = min(len(data.held_out), MOST_SAMPLES)
        self.sample_count = sample_count or (compared if most_rows is None else min(compared, most_rows))
        self._draw: Draw | None = None
        self.most_rows = most_rows
        self._limit = RowLimit(rows_at_once)
        self._batches: dict[Hashable, Batch] = {}
        self._values: dict[tuple[Hashable, int], Tensor] = {}  # by name, and the id of a cached batch
        self._made: dict[Hashable, Any] = {}
        self._room = KEPT_BYTES

    def held_out(self, most: int | None = None) -> Iterator[Batch]:
        """Batches of held-out rows, at most ``most`` of them, evenly spread."""
        return self._rows(self.data.held_out, most)

    def training(self, most: int | None = None) -> Iterator[Batch]:
        """Batches of training rows likewise."""
        return self._rows(self.data.training, most)

    def samples(self, count: int) -> Iterator[Batch]:
        """Batches of samples, ``count`` in all, which are draws or means as a person is shown them."""
        count = count if self.most_rows is None else min(count, self.most_rows)
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            yield self._batch(("samples", start, size), lambda: self._sampled(start, size))  # noqa: B023

    def with_samples(self, draw: Draw) -> ModelSubject:
        """The same data with samples of another origin than the model, such as one that figures are compared with.

        What was computed of the data is shared; the samples are freed with the new subject.
        """
        other = copy.copy(self)
        other._draw = draw
        other._batches = {key: batch for key, batch in self._batches.items() if batch.index[0] != NO_ROW}
        kept = {id(batch) for batch in other._batches.values()}
        other._values = {key: value for key, value in self._values.items() if key[1] in kept}
        return other

    def labels(self, batch: Batch) -> Tensor | None:
        """(B,) class numbers, or (B, *K) side information; of samples, the classes that they were made for."""
        if batch.index[0] == NO_ROW:
            given = batch.condition
            return given.argmax(1) if given is not None and self.spec.classes else given
        if self.source_spec.condition is None:
            return None
        labels = self.data.source.labels(batch.index.cpu().numpy())
        return None if labels is None else as_tensor(labels).to(self.device)

    def codes(self, batch: Batch) -> Tensor:
        """(B, *Z) means of the posterior.

        Raises:
            ConfigurationError: the model has no encoder.
        """

        def codes(rows: slice) -> Tensor:
            return self.model.encode(batch.x[rows], _rows_of(batch.condition, rows)).mean

        return self.of_batch("codes", batch, lambda: self._in_parts(codes, batch))

    def reconstructions(self, batch: Batch) -> Tensor:
        """(B, *X) means of the observation at the codes.

        Raises:
            ConfigurationError: the model has no encoder.
        """
        codes = self.codes(batch)

        def reconstructions(rows: slice) -> Tensor:
            return self.model.decode(codes[rows], _rows_of(batch.condition, rows)).mean

        return self.of_batch("reconstructions", batch, lambda: self._in_parts(reconstructions, batch))

    def halve_rows(self) -> None:
        """Give batches of half as many rows from now on, and free those that are kept, where memory runs out."""
        self.rows_at_once = self._limit.rows = -(-self.rows_at_once // 2)
        self._batches, self._values, self._room = {}, {}, KEPT_BYTES

    def rows_of(self, indices: np.ndarray) -> Batch:
        """Chosen rows of the source by their numbers (B,), as the model takes them; they are not kept."""
        return batch_of(self.data, indices, self.device)

    def _rows(self, indices: RowNumbers, most: int | None) -> Iterator[Batch]:
        limits = [limit for limit in (most, self.most_rows) if limit is not None]
        chosen = evenly(indices, min(limits)) if limits else indices
        for start in range(0, len(chosen), self.rows_at_once):
            part = chosen[start : start + self.rows_at_once]
            yield self._batch(("rows", part.tobytes()), lambda: batch_of(self.data, part, self.device))  # noqa: B023

    def _sampled(self, start: int, count: int) -> Batch:
        index = torch.full((count,), NO_ROW, device=self.device)
        if self._draw is not None:
            return Batch(self._draw(start, count).to(self.device), None, None, index, 0)
        made = sample_chunk(
            self.model,
            start,
            count,
            self.seed,
            self.device,
            noise=self.model.shown == "draw",
            limit=self._limit,
        )
        return Batch(made.x, made.condition, None, index, 0)

    def _batch(self, key: Hashable, make: Callable[[], Batch]) -> Batch:
        batch = self._batches.get(key)
        if batch is None:
            batch = make()
            if self._fits(batch.x, *([] if batch.mask is None else [batch.mask])):
                self._batches[key] = batch
        return batch

    def of_batch(self, name: Hashable, batch: Batch, compute: Callable[[], Tensor]) -> Tensor:
        """What ``compute`` gives for a batch, kept under ``name`` as long as there is room."""
        key = (name, id(batch))
        if key in self._values:
            return self._values[key]
        # The seed is for networks that draw in evaluation mode.
        with torch.no_grad(), seeded(self.device, mixed_seed(self.seed, ENCODING)):
            value = compute()
        # An id identifies a batch only as long as the batch exists.
        if any(batch is kept for kept in self._batches.values()) and self._fits(value):
            self._values[key] = value
        return value

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for all metrics."""
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _in_parts(self, compute: Callable[[slice], Tensor], batch: Batch) -> Tensor:
        """What ``compute`` gives for rows of a batch, fewer at once where memory is short."""
        parts = list(in_parts(compute, len(batch.x), self._limit))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _fits(self, *tensors: Tensor) -> bool:
        size = sum(tensor.nelement() * tensor.element_size() for tensor in tensors)
        if size > self._room:
            return False
        self._room -= size
        return True


def _rows_of(condition: Tensor | None, rows: slice) -> Tensor | None:
    return None if condition is None else condition[rows]
