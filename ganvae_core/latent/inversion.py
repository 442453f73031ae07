"""The code of a given row, found by optimisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import MatchedPrior
from ganvae_core.latent.traversal import blocks
from ganvae_core.model import Model

SCALE = 0.05
"""Standard deviation by which a point observation is compared with x, as a share of the data's span."""
SEARCH = 0.25
"""Share of the steps in which all starts take part; the best of each row goes on."""
DRAWS = 2_000


@dataclass(frozen=True, eq=False)
class Inversion:
    """Codes of given rows.

    Args:
        z: (B, *Z).
        x: (B, *X) what they decode to: means of the observation.
        error: (B,) root of the mean squared error over the entries that were compared.
    """

    z: Tensor
    x: Tensor
    error: Tensor


def invert(
    model: Model,
    x: Tensor,
    condition: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    starts: int = 8,
    steps: int = 300,
    lr: float = 0.1,
    prior_weight: float = 0.01,
    features: Callable[[Tensor], Tensor] | None = None,
    feature_weight: float = 1.0,
) -> Inversion:
    """The codes z that maximise log p(x|z) + prior_weight · log p(z), by Adam from several starts.

    Starts are draws of the prior, made with torch's default generator, and the encoder's code where there is an
    encoder. A point observation, which has no likelihood, is compared as a normal one of standard deviation
    ``SCALE`` of the data's span (Zhu et al. 2016; Creswell and Bharath 2016). Codes stay in the support of the prior:
    on the sphere, within the bounds, and categorical parts keep the class of their start.

    Args:
        model: in evaluation mode; its parameters get no gradient.
        x: (B, *X).
        condition: (B, *K).
        mask: (B, *X) bool, true where x is to be matched; everywhere by default.
        starts: draws of the prior for each row.
        steps: of the best start; the search among all starts takes a quarter of them.
        lr: learning rate, which falls to zero along half a cosine.
        prior_weight: of the prior's log-density, where the prior has a real support and its density costs no
            integration (``MatchedPrior``).
        features: (B, *X) -> (B, F) features whose squared distance is added to the loss.
        feature_weight: of this distance.

    Raises:
        ConfigurationError: there is neither a start nor an encoder, or no step.
    """
    if steps < 1 or starts < 0 or (starts == 0 and model.encoder is None):
        raise ConfigurationError("inversion takes at least one step, and a start where there is no encoder.")
    rows, device = len(x), x.device
    scale = _scale(x if mask is None else x[mask])
    weighs_prior = (
        prior_weight > 0 and model.prior.support == "real" and not isinstance(model.prior, MatchedPrior)
    )

    def loss(z: Tensor, repeats: int) -> Tensor:
        """(repeats · B,) of codes (repeats · B, *Z)."""
        given = _repeated(condition, repeats)
        target, seen = x.repeat(repeats, *[1] * (x.dim() - 1)), _repeated(mask, repeats)
        observed = model.decode(z, given)
        if model.observation.has_likelihood:
            total = -observed.log_prob(target, seen)
        else:
            squares = ((observed.mean - target) / scale).square()
            total = 0.5 * (squares if seen is None else squares.where(seen, 0)).flatten(1).sum(1)
        if weighs_prior:
            total = total - prior_weight * model.log_prior(z, given)
        if features is not None:
            made, wanted = features(observed.mean), features(target)
            total = total + feature_weight * (made - wanted).square().flatten(1).sum(1)
        return total

    with torch.no_grad():
        first = model.prior.sample(starts * rows, _repeated(condition, starts)) if starts else None
        if model.encoder is not None:
            visible = x if mask is None else x.where(mask, 0)
            encoded = model.encode(visible, condition).mean
            first = encoded if first is None else torch.cat([first, encoded])
        assert first is not None
        project, moves = _support(model, first)
    repeats = len(first) // rows
    search = max(1, round(SEARCH * steps)) if repeats > 1 else 0
    z, losses = _descend(lambda code: loss(code, repeats), first, search, lr, project, moves, decay=False)
    best = losses.unflatten(0, (repeats, rows)).argmin(0)
    z = z.unflatten(0, (repeats, rows))[best, torch.arange(rows, device=device)]
    z, _ = _descend(lambda code: loss(code, 1), z, steps, lr, project, moves, decay=True)
    with torch.no_grad():
        made = model(z, condition)
        error = squared_errors(made, x, mask).sqrt()
    return Inversion(z, made, error)


def squared_errors(made: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
    """(B,) means of the squared differences of rows (B, *X), over the entries where the mask is true."""
    squares = (made - x).square()
    compared = torch.ones_like(squares, dtype=torch.bool) if mask is None else mask
    return squares.where(compared, 0).flatten(1).sum(1) / compared.flatten(1).sum(1).clamp(min=1)


def _descend(
    loss: Callable[[Tensor], Tensor],
    z: Tensor,
    steps: int,
    lr: float,
    project: Callable[[Tensor], Tensor],
    moves: Tensor,
    *,
    decay: bool,
) -> tuple[Tensor, Tensor]:
    """Codes after some steps of Adam, the best that each has been, and their losses (B,).

    Each code's loss depends on itself alone, and Adam treats entries apart, so that codes do not affect each other.
    """
    z = z.detach().clone().requires_grad_(True)
    optimizer = torch.optim.Adam([z], lr)
    best, lowest = z.detach().clone(), z.new_full((len(z),), math.inf)
    for step in range(steps + 1):
        with torch.enable_grad():
            losses = loss(z)
            better = losses.detach() < lowest
            best[better], lowest[better] = z.detach()[better], losses.detach()[better]
            if step == steps:
                break
            (gradient,) = torch.autograd.grad(losses.sum(), z)
        z.grad = gradient * moves
        if decay:
            optimizer.param_groups[0]["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.step()
        with torch.no_grad():
            z.copy_(project(z))
    return best, lowest


def _support(model: Model, starts: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """A function that moves codes back into the support of the prior, and 1 for coordinates that may move."""
    prior, shape = model.prior, starts.shape[1:]
    moves = starts.new_ones(math.prod(shape))
    for start, classes in blocks(prior, len(moves)):
        if classes is not None:
            moves[start : start + classes] = 0
    if prior.support == "sphere":
        radius = prior.sample(1, _one_condition(model)).norm()

        def onto_sphere(z: Tensor) -> Tensor:
            flat = z.flatten(1)
            return (radius * flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-12)).reshape(z.shape)

        return onto_sphere, moves.reshape(shape)
    if prior.support in ("bounded", "mixed"):
        drawn = prior.sample(DRAWS, _one_condition(model, DRAWS))
        low, high = drawn.amin(0), drawn.amax(0)
        return lambda z: z.clamp(low, high), moves.reshape(shape)
    return lambda z: z, moves.reshape(shape)


def _one_condition(model: Model, count: int = 1) -> Tensor | None:
    return model.draw_conditions(count)


def _repeated(values: Tensor | None, repeats: int) -> Tensor | None:
    """(B, …) -> (repeats · B, …), all rows once, then again."""
    return None if values is None else values.repeat(repeats, *[1] * (values.dim() - 1))


def _scale(seen: Tensor) -> float:
    """The standard deviation by which points are compared, from the entries that were observed."""
    span = cast(float, (seen.max() - seen.min()).item()) if seen.numel() else 1.0
    return SCALE * (span or 1.0)
