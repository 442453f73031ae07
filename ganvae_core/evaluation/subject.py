"""What metrics measure: a model with its data."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import as_tensor, batch_of
from ganvae_core.data.randomness import borrowed_randomness, mixed_seed, purpose
from ganvae_core.data.split import Split
from ganvae_core.evaluation.sampling import CHUNK, evenly, sample_chunk
from ganvae_core.model import Model
from ganvae_core.training import Subject
from ganvae_core.types import Batch

ENCODING = purpose("random numbers of encoders and decoders while measuring")
KEPT_BYTES = 256 * 2**20
"""Batches, codes and reconstructions are kept for other metrics as long as they fit in this."""
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
    """

    def __init__(
        self,
        model: Model,
        data: Split,
        *,
        seed: int = 0,
        device: torch.device | None = None,
        rows_at_once: int = CHUNK,
    ) -> None:
        self.model = model
        self.data = data
        self.spec, self.source_spec = data.spec, data.source.spec
        self.seed = seed
        self.device = next(model.parameters()).device if device is None else device
        self.rows_at_once = rows_at_once
        self._batches: dict[Hashable, Batch] = {}
        self._values: dict[tuple[str, int], Tensor] = {}  # by kind, and the id of a cached batch
        self._room = KEPT_BYTES

    def held_out(self, most: int | None = None) -> Iterator[Batch]:
        """Batches of held-out rows, at most ``most`` of them, evenly spread."""
        return self._rows(self.data.held_out, most)

    def training(self, most: int | None = None) -> Iterator[Batch]:
        """Batches of training rows likewise."""
        return self._rows(self.data.training, most)

    def samples(self, count: int) -> Iterator[Batch]:
        """Batches of samples, ``count`` in all, which are draws or means as a person is shown them."""
        for start in range(0, count, CHUNK):
            size = min(CHUNK, count - start)
            yield self._batch(("samples", start, size), lambda: self._sampled(start, size))  # noqa: B023

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
        return self._of("codes", batch, lambda: self.model.encode(batch.x, batch.condition).mean)

    def reconstructions(self, batch: Batch) -> Tensor:
        """(B, *X) means of the observation at the codes.

        Raises:
            ConfigurationError: the model has no encoder.
        """
        codes = self.codes(batch)
        return self._of("reconstructions", batch, lambda: self.model.decode(codes, batch.condition).mean)

    def _rows(self, indices: np.ndarray, most: int | None) -> Iterator[Batch]:
        chosen = indices if most is None else evenly(indices, most)
        for start in range(0, len(chosen), self.rows_at_once):
            part = chosen[start : start + self.rows_at_once]
            yield self._batch(("rows", part.tobytes()), lambda: batch_of(self.data, part, self.device))  # noqa: B023

    def _sampled(self, start: int, count: int) -> Batch:
        made = sample_chunk(
            self.model, start, count, self.seed, self.device, noise=self.model.shown == "draw"
        )
        return Batch(made.x, made.condition, None, torch.full((count,), NO_ROW, device=self.device), 0)

    def _batch(self, key: Hashable, make: Callable[[], Batch]) -> Batch:
        batch = self._batches.get(key)
        if batch is None:
            batch = make()
            if self._fits(batch.x):
                self._batches[key] = batch
        return batch

    def _of(self, what: str, batch: Batch, compute: Callable[[], Tensor]) -> Tensor:
        key = (what, id(batch))
        if key in self._values:
            return self._values[key]
        with torch.no_grad(), borrowed_randomness(self.device) as generator:
            generator.manual_seed(
                mixed_seed(self.seed, ENCODING)
            )  # for networks that draw in evaluation mode
            value = compute()
        # An id identifies a batch only as long as the batch exists.
        if any(batch is kept for kept in self._batches.values()) and self._fits(value):
            self._values[key] = value
        return value

    def _fits(self, tensor: Tensor) -> bool:
        size = tensor.nelement() * tensor.element_size()
        if size > self._room:
            return False
        self._room -= size
        return True
