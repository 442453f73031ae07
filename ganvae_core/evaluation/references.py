"""What figures of samples are compared with: other data as the ceiling, and simple models as floors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from ganvae_core.data.randomness import mixed_seed, purpose
from ganvae_core.evaluation.subject import Draw, ModelSubject

Ceiling = Literal["training", "held-out"]
REFERENCE = purpose("random numbers of references")
FITTED_ROWS = 5_000
"""Training rows that the floors are made from, at most."""
CEILING, NOISE = "real against real", "noise"


def references(subject: ModelSubject, ceiling: Ceiling = "training") -> Mapping[str, Draw]:
    """Draws by name, the ceiling first. All follow from the subject's seed.

    - ``real against real``: training rows in place of samples; held-out rows for metrics with that ``ceiling``.
    - ``one Gaussian``: with the mean and the covariance of training rows.
    - ``independent columns`` (``pixels`` of images): each entry of a training row, or each field of a table, from a
      row of its own.
    - ``the mean``: of training rows, again and again.
    - ``noise``: uniform within the data's range; standard normal where it has none.
    """

    @functools.cache
    def rows() -> Tensor:
        return torch.cat([batch.x.cpu() for batch in subject.training(FITTED_ROWS)])

    stand_in = subject.data.training if ceiling == "training" else subject.data.held_out

    @functools.cache
    def order() -> Tensor:
        return torch.randperm(len(stand_in), generator=_generator(subject.seed, 0))

    def real(start: int, count: int) -> Tensor:
        chosen = order()[(torch.arange(count) + start) % len(order())]
        return subject.rows_of(stand_in[chosen.numpy()]).x

    def gaussian(start: int, count: int) -> Tensor:
        flat = rows().flatten(1)
        centred = flat - flat.mean(0)
        # Sums of centred rows with normal weights have the rows' covariance, which need not be computed.
        weights = torch.randn(count, len(flat), generator=_generator(subject.seed, start))
        return _within(flat.mean(0) + weights @ centred / max(1, len(flat) - 1) ** 0.5, subject)

    def independent(start: int, count: int) -> Tensor:
        flat, generator = rows().flatten(1), _generator(subject.seed, start)
        if subject.spec.fields is None:
            chosen = torch.randint(len(flat), (count, flat.shape[1]), generator=generator)
            return flat.gather(0, chosen).view(count, *subject.spec.shape)
        parts = [flat[torch.randint(len(flat), (count,), generator=generator), field.start : field.start + field.width]
                 for field in subject.spec.fields]  # fmt: skip
        return torch.cat(parts, 1)

    def mean(start: int, count: int) -> Tensor:
        return rows().mean(0).expand(count, *subject.spec.shape)

    def noise(start: int, count: int) -> Tensor:
        generator, size = _generator(subject.seed, start), (count, *subject.spec.shape)
        if subject.spec.range is None:
            return torch.randn(size, generator=generator)
        low, high = subject.spec.range
        return low + (high - low) * torch.rand(size, generator=generator)

    what = "pixels" if len(subject.spec.shape) == 3 else "columns"
    return {CEILING: real, "one Gaussian": gaussian, f"independent {what}": independent, "the mean": mean,
            NOISE: noise}  # fmt: skip


def _generator(seed: int, start: int) -> torch.Generator:
    return torch.Generator().manual_seed(mixed_seed(seed, REFERENCE, start))


def _within(flat: Tensor, subject: ModelSubject) -> Tensor:
    x = flat.view(len(flat), *subject.spec.shape)
    return x if subject.spec.range is None else x.clamp(*subject.spec.range)
