"""Batches, codes and samples of a model outside of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import batch_of
from ganvae_core.data.randomness import mixed_seed, purpose, seeded
from ganvae_core.data.split import RowNumbers, Split
from ganvae_core.errors import ConfigurationError, GanvaeError
from ganvae_core.interfaces import FittedPrior
from ganvae_core.model import Model
from ganvae_core.types import Batch

SAMPLING = purpose("random numbers of sampling")
CHUNK = 256
"""Samples that are drawn together, and rows that go through a network at once outside of training."""
FITTED_ROWS = 20_000

T = TypeVar("T")


@dataclass
class RowLimit:
    """Rows that go through a network at once; they are halved where memory runs out."""

    rows: int = CHUNK


def in_parts(compute: Callable[[slice], T], count: int, limit: RowLimit) -> Iterator[T]:
    """The results for parts of ``count`` rows, which are computed again with fewer rows where memory runs out.

    Args:
        compute: of a slice of the rows.
        count: of all rows.
        limit: of the rows of a part. It is lowered where they are too many.

    Raises:
        GanvaeError: a single row is too many.
    """
    start = 0
    while start < count:
        rows = slice(start, min(start + limit.rows, count))
        try:
            part = compute(rows)
        except torch.OutOfMemoryError as error:
            if rows.stop - rows.start == 1:
                raise GanvaeError(
                    "memory ran out with a single row.", "take another device:  --device cpu"
                ) from error
        else:
            yield part
            start = rows.stop
            continue
        # Outside of the except block: the traceback keeps tensors in memory.
        limit.rows = -(-(rows.stop - rows.start) // 2)


class Samples(NamedTuple):
    """Samples of a model.

    Attributes:
        x: (N, *X) within the data's range.
        condition: (N, *K) conditions of the samples, or None where the model takes none.
    """

    x: Tensor
    condition: Tensor | None


def batches(
    data: Split, indices: RowNumbers, device: torch.device | str = "cpu", *, rows_at_once: int = CHUNK
) -> Iterator[Batch]:
    """Rows as the model takes them, batch by batch.

    Args:
        data: the source and its division; ``gv.split`` makes one.
        indices: (N,) row numbers in the source: ``data.training``, ``data.held_out`` or any others.
        device: where the batches are wanted.
        rows_at_once: rows of a batch; the last one may have fewer.
    """
    for start in range(0, len(indices), rows_at_once):
        yield batch_of(data, indices[start : start + rows_at_once], torch.device(device))


def sample_rows(
    model: Model,
    count: int,
    seed: int,
    device: torch.device,
    condition: Tensor | None = None,
    *,
    noise: bool = False,
) -> Samples:
    """Samples on the CPU as a function of the seed: the first ten of a hundred are the ten of ten.

    Args:
        model: in evaluation mode.
        count: number of samples.
        seed: of the random numbers.
        device: where the model is.
        condition: (count, *K); None draws conditions as frequent as in the training data.
        noise: draw from the observation instead of taking its mean.

    Raises:
        ConfigurationError: the count is not positive, or differs from the number of conditions.
    """
    if count < 1:
        raise ConfigurationError(f"{count} samples cannot be drawn: it must be at least 1.")
    if condition is not None and len(condition) != count:
        raise ConfigurationError(
            f"there are {len(condition)} conditions for {count} samples; give one for each."
        )
    limit = RowLimit()
    x: Tensor | None = None
    conditions: list[Tensor] = []
    for start in range(0, count, CHUNK):
        given = None if condition is None else condition[start : start + CHUNK]
        part = sample_chunk(model, start, count - start, seed, device, given, noise=noise, limit=limit)
        if x is None:
            x = torch.empty(count, *part.x.shape[1:], dtype=part.x.dtype)
        x[start : start + CHUNK] = part.x
        if part.condition is not None:
            conditions.append(part.condition.cpu())
        del part  # the next one takes its memory, which is still in the cache
    assert x is not None
    return Samples(x, torch.cat(conditions) if conditions else None)


def sample_chunk(
    model: Model,
    start: int,
    count: int,
    seed: int,
    device: torch.device,
    condition: Tensor | None = None,
    *,
    noise: bool = False,
    limit: RowLimit | None = None,
) -> Samples:
    """The samples of a seed from number ``start`` on, a multiple of ``CHUNK``: at most ``CHUNK``, on the device.

    Their codes do not depend on ``limit``, which lowers the rows that the generator is given at once. Noise does.
    """
    limit = limit or RowLimit()
    with torch.no_grad(), seeded(device, mixed_seed(seed, SAMPLING, start)):
        codes, given = _codes_of_chunk(model, None if condition is None else condition.to(device))

        def observed(rows: slice) -> Tensor:
            made = model.decode(codes[rows], None if given is None else given[rows])
            return made.sample() if noise else made.mean

        parts = list(in_parts(observed, CHUNK, limit))
    x = parts[0] if len(parts) == 1 else torch.cat(parts)
    return Samples(x[:count], None if given is None else given[:count])


def sample_codes(
    model: Model, count: int, seed: int, device: torch.device, condition: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """(count, *Z) codes, and their conditions (count, *K) if any: those of which ``sample_rows`` makes its samples.

    Args:
        model: in evaluation mode.
        count: number of codes.
        seed: of the random numbers.
        device: where the model is.
        condition: (count, *K); None draws conditions as frequent as in the training data.
    """
    codes: list[Tensor] = []
    conditions: list[Tensor] = []
    for start in range(0, count, CHUNK):
        given = None if condition is None else condition[start : start + CHUNK].to(device)
        with torch.no_grad(), seeded(device, mixed_seed(seed, SAMPLING, start)):
            drawn, given = _codes_of_chunk(model, given)
        codes.append(drawn)
        conditions += [] if given is None else [given]
    return torch.cat(codes)[:count], torch.cat(conditions)[:count] if conditions else None


def _codes_of_chunk(model: Model, condition: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A whole chunk of codes and conditions, for any number of samples: draws depend on the number of rows."""
    if condition is None:
        condition = model.draw_conditions(CHUNK)
    elif len(condition) < CHUNK:
        last = condition[-1:].expand(CHUNK - len(condition), *condition.shape[1:])
        condition = torch.cat([condition, last])
    return model.prior.sample(CHUNK, condition), condition


def can_sample(model: Model) -> bool:
    """Whether the prior is ready: it does not wait for a further stage or, as a ``FittedPrior``, for its fit."""
    return not model.prior_waits and (not isinstance(model.prior, FittedPrior) or model.prior.fitted)


def fit_prior(model: Model, data: Split, device: torch.device) -> float:
    """Fit the model's prior to ``FITTED_ROWS`` codes or fewer: draws from posteriors of training rows.

    Where rows are few, several codes are drawn for each: a single draw does not show how wide its posterior is.

    Returns:
        Mean of log p(z) over these codes, in nats.
    """
    prior, encoder = model.prior, model.encoder
    assert isinstance(prior, FittedPrior)
    assert encoder is not None
    indices = evenly(data.training, FITTED_ROWS)
    draws = 1 if encoder.deterministic else max(1, FITTED_ROWS // len(indices))

    def encoded(rows: slice) -> tuple[Tensor, Tensor | None]:
        batch = batch_of(data, indices[rows], device)
        codes = model.encode(batch.x, batch.condition).rsample((draws,))  # (draws, B, *Z)
        condition = batch.condition
        return codes.flatten(0, 1), None if condition is None else torch.cat([condition] * draws)

    with torch.no_grad():
        parts = list(in_parts(encoded, len(indices), RowLimit()))
    codes = torch.cat([codes for codes, _ in parts])
    conditions = [condition for _, condition in parts if condition is not None]
    condition = torch.cat(conditions) if conditions else None
    prior.fit(codes, condition)
    with torch.no_grad():
        return prior.log_prob(codes, condition).mean().item()


def evenly(indices: RowNumbers, count: int) -> np.ndarray:
    """At most ``count`` of the indices, evenly spread over them."""
    if len(indices) <= count:
        return indices[:]
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(np.int64)]
