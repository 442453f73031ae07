"""What each dimension of a latent space does: ranked, and one at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from torch import Tensor

from ganvae_core.distributions import LOG_2_PI, DiagonalNormal
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import LatentPrior
from ganvae_core.model import Model

DRAWS = 2_000
"""Draws of the prior that quantiles are taken from."""
SHARES = (0.02, 0.98)
"""A continuous dimension goes from its 2nd to its 98th percentile under the prior."""
ROWS_AT_ONCE = 256
Measure = Literal["kl", "change"]


@dataclass(frozen=True, eq=False)
class Axis:
    """One dimension of flattened codes, or all of a categorical part.

    Args:
        start: its first position in a flattened code.
        values: (steps, width) what it is set to.
        discrete: whether the values are one-hot classes.
        score: nats, or the root of the mean squared change of x.
        measure: which of both.
        is_code: whether it belongs to a part of a composite prior that has a meaning beside noise, as InfoGAN's.
    """

    start: int
    values: Tensor
    discrete: bool
    score: float = 0.0
    measure: Measure = "change"
    is_code: bool = False

    @property
    def name(self) -> str:
        """``dimension 3``, ``code 72`` or ``classes 62–71``, counted from 0."""
        if self.discrete:
            return f"classes {self.start}–{self.start + self.values.shape[1] - 1}"
        return f"{'code' if self.is_code else 'dimension'} {self.start}"


@torch.no_grad()
def coordinate_kl(model: Model, x: Tensor, condition: Tensor | None = None) -> Tensor | None:
    """(D,) nats: the mean over rows x (B, *X) of KL(q(z_j|x) || N(0, 1)) for each coordinate of flattened codes.

    None where it cannot be had in closed form: the posterior is not a diagonal normal one, or the prior is not
    standard normal.

    Raises:
        ConfigurationError: the model has no encoder.
    """
    posterior = model.encode(x, condition)
    if not isinstance(posterior, DiagonalNormal) or not _is_standard_normal(model.prior, posterior.mean):
        return None
    log_variance = posterior.log_variance
    terms = 0.5 * (posterior.location.square() + log_variance.exp() - log_variance - 1)
    return terms.flatten(1).mean(0)


@torch.no_grad()
def output_change(
    model: Model, codes: Tensor, axes: Sequence[Axis], condition: Tensor | None = None
) -> Tensor:
    """(A,) for each axis, the root of the mean squared change of x from its first to its last value.

    Of a categorical axis it is the change from each class to the next one.

    Args:
        model: which decodes.
        codes: (B, *Z) at which the change is measured.
        axes: along which.
        condition: (B, *K).
    """
    changes: list[Tensor] = []
    for axis in axes:
        values = axis.values if axis.discrete else axis.values[[0, -1]]
        steps = traverse(model, codes, Axis(axis.start, values, axis.discrete), condition)  # (B, steps, *X)
        changes.append((steps[:, 1:] - steps[:, :-1]).square().mean().sqrt())
    return torch.stack(changes)


@torch.no_grad()
def axes(
    model: Model,
    codes: Tensor,
    *,
    steps: int = 10,
    x: Tensor | None = None,
    condition: Tensor | None = None,
    by: Measure | None = None,
) -> list[Axis]:
    """The axes of the latent space, those that matter most first.

    Categorical parts come before all others, and then codes that have a meaning beside noise, as InfoGAN's do.

    Values of a continuous axis lie between its 2nd and its 98th percentile under the prior, evenly spread by share.
    The prior is drawn from with torch's default generator.

    Args:
        model: whose latent space it is.
        codes: (B, *Z) at which the change of the output is measured.
        steps: values of a continuous axis, at least 2.
        x: (N, *X) rows by whose posterior dimensions are ranked; without them, or where the KL divergence of each
            dimension cannot be had, they are ranked by ``output_change``.
        condition: (B, *K) of the codes, and of x where there is any.
        by: ``kl`` or ``change``; by default KL where it can be had.

    Raises:
        ConfigurationError: fewer than two steps are asked for, or a ranking by KL that cannot be had.
    """
    if steps < 2:
        raise ConfigurationError(f"an axis has at least 2 steps, not {steps}.")
    found = _all_axes(model.prior, codes, steps, condition)
    nats = None
    if x is not None and model.encoder is not None and by != "change":
        nats = coordinate_kl(model, x, condition)
    if nats is None and by == "kl":
        raise ConfigurationError(
            "dimensions cannot be ranked by KL: that takes an encoder with a normal posterior, rows of data and a"
            " standard normal prior.",
            "rank them by the change of the output",
        )
    measure: Measure = "change" if nats is None else "kl"
    scores = output_change(model, codes, found, condition) if nats is None else nats
    scored = [
        replace(axis, score=float(score), measure=measure) for axis, score in zip(found, scores, strict=True)
    ]
    return sorted(scored, key=lambda axis: (not axis.discrete, not axis.is_code, -axis.score, axis.start))


@torch.no_grad()
def traverse(model: Model, codes: Tensor, axis: Axis, condition: Tensor | None = None) -> Tensor:
    """(B, steps, *X) means of the observation where one axis of codes (B, *Z) takes each of its values in turn."""
    steps, width = axis.values.shape
    swept = codes.flatten(1)[:, None].repeat(1, steps, 1)  # (B, steps, D)
    swept[:, :, axis.start : axis.start + width] = axis.values
    flat = swept.reshape(-1, *codes.shape[1:])
    given = None if condition is None else condition.repeat_interleave(steps, 0)
    parts = [
        model(part, None if given is None else given[start : start + ROWS_AT_ONCE])
        for start, part in zip(range(0, len(flat), ROWS_AT_ONCE), flat.split(ROWS_AT_ONCE), strict=True)
    ]
    return torch.cat(parts).unflatten(0, (len(codes), steps))


def _all_axes(prior: LatentPrior, codes: Tensor, steps: int, condition: Tensor | None) -> list[Axis]:
    size = math.prod(codes.shape[1:])
    given = None if condition is None else condition[torch.arange(DRAWS, device=codes.device) % len(codes)]
    drawn = prior.sample(DRAWS, given).flatten(1)
    shares = torch.linspace(*SHARES, steps, device=drawn.device, dtype=drawn.dtype)
    along = drawn.quantile(shares, dim=0)  # (steps, D)
    found: list[Axis] = []
    codes_of = _meaningful(prior)
    for start, width in blocks(prior, size):
        if width is not None:
            found.append(Axis(start, torch.eye(width, device=codes.device, dtype=codes.dtype), True))
        else:
            found.append(Axis(start, along[:, start : start + 1], False, is_code=start in codes_of))
    return found


def _meaningful(prior: LatentPrior) -> set[int]:
    """The coordinates of parts that have a meaning, where a composite prior has noise besides."""
    has_meaning = cast("Sequence[bool]", getattr(prior, "has_meaning", ()))
    sizes = cast("Sequence[int]", getattr(prior, "sizes", ()))
    found: set[int] = set()
    start = 0
    for meant, size in zip(has_meaning, sizes, strict=False):
        found |= set(range(start, start + size)) if meant else set()
        start += size
    return found if len(found) < start else set()


def blocks(prior: LatentPrior, size: int) -> list[tuple[int, int | None]]:
    """(start, classes) of each categorical part of a code, and (start, None) of each continuous coordinate."""
    parts = cast("Sequence[LatentPrior]", getattr(prior, "parts", None) or [prior])
    sizes = cast("Sequence[int]", getattr(prior, "sizes", None) or [size])
    found: list[tuple[int, int | None]] = []
    start = 0
    for part, width in zip(parts, sizes, strict=True):
        if part.support == "discrete":
            found.append((start, width))
        else:
            found += [(start + position, None) for position in range(width)]
        start += width
    return found


def _is_standard_normal(prior: LatentPrior, codes: Tensor) -> bool:
    """Whether the prior's density is that of N(0, I), compared at some codes."""
    if prior.support != "real":
        return False
    points = torch.linspace(-2, 2, 8 * codes[0].numel(), dtype=codes.dtype, device=codes.device)
    z = points.reshape(8, *codes.shape[1:])
    try:
        density = prior.log_prob(z)
    except ConfigurationError:  # a prior that needs a condition
        return False
    expected = -0.5 * (z.flatten(1).square() + LOG_2_PI).sum(1)
    return torch.allclose(density, expected, rtol=1e-4, atol=1e-4)
