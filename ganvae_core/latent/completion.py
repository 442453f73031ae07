"""Missing entries of rows, drawn given those that were observed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import MatchedPrior, ObservedData, SequentialData
from ganvae_core.latent.inversion import invert
from ganvae_core.latent.linear import linear_conditionals
from ganvae_core.model import Model

Method = Literal["auto", "exact", "conditional", "optimise"]
METHODS: tuple[Method, ...] = get_args(Method)
WARM_UP = 0.5
"""Share of a chain's steps in which all of the encoder's codes are accepted."""
FIRST_SIZE = 0.2
WANTED_RATE = 0.57
"""Share of Langevin steps that are accepted (Roberts and Rosenthal 1998), to which their size is tuned."""
RATE_OF_SIZE = 0.1


class Completion(NamedTuple):
    """Rows whose missing entries are filled in.

    Args:
        x: (draws, B, *X) the rows; observed entries are as they were given.
        z: (draws, B, *Z) the codes that the others are decoded from.
    """

    x: Tensor
    z: Tensor


@torch.no_grad()
def complete(
    model: Model,
    x: Tensor,
    mask: Tensor,
    condition: Tensor | None = None,
    *,
    draws: int = 20,
    method: Method = "auto",
    steps: int = 100,
    noise: bool = False,
) -> Completion:
    """Rows whose missing entries are filled in, several times.

    The mean of the rows is the estimate with the least squared error. A single draw has more: with ``noise`` twice as
    much where the model is right. How far draws with noise spread is how uncertain a missing entry is: means leave out
    the noise of an entry given its code.

    ``exact`` draws codes from their closed-form distribution given the observed entries, where the prior is normal or a
    mixture of normals and the observation is normal around a linear function of codes (``linear_conditionals``).
    ``conditional`` begins with iterated conditional sampling: z from the encoder's posterior given the completed row,
    then the missing entries given z (Rezende et al. 2014, appendix F). After that the encoder's codes are accepted with
    the probability of Metropolis (Mattei and Frellsen 2018), and alternate with Langevin steps where the prior is over
    real codes, so that the limit of the chain is the model's own distribution of codes given the observed entries, and
    not the encoder's. Where the prior's density costs an integration (``MatchedPrior``) all are accepted. Where entries
    depend on those before them (``SequentialData``), missing ones are drawn along with each code, given those before
    them, and accepted by the probability of the observed ones after them. Texts do not end before an observed
    character, and the probability that they would is left out of the acceptance.
    ``optimise`` finds, from other starts for each draw, the codes that explain the observed entries best (``invert``),
    for any model. ``auto`` is the first of these that the model allows. Random numbers are torch's.

    Args:
        model: in evaluation mode.
        x: (B, *X); entries where the mask is false are not looked at.
        mask: (B, *X) bool, true where x was observed.
        condition: (B, *K).
        draws: completions of each row.
        method: how.
        steps: of the chain, or of the optimisation.
        noise: draw missing entries from the observation instead of taking its mean, also for the encoder.

    Raises:
        ConfigurationError: there is no such method, or this model has none of the densities that it needs; the mask
            has another shape.
    """
    if mask.shape != x.shape:
        raise ConfigurationError(f"the mask has shape {tuple(mask.shape)}, and the rows {tuple(x.shape)}.")
    if method not in METHODS:
        raise ConfigurationError(f"there is no method '{method}'.", f"methods: {', '.join(METHODS)}")
    has_chain = (
        model.encoder is not None and not model.encoder.deterministic and model.observation.has_likelihood
    )
    if method == "conditional" and not has_chain:
        raise ConfigurationError(
            "iterated conditional sampling takes an encoder whose posterior has a density, and an observation that has"
            " one.",
            "take  optimise, which any model can do",
        )
    rows, seen = _repeat(x.where(mask, 0), draws), _repeat(mask, draws)
    given = None if condition is None else _repeat(condition, draws)
    exact = linear_conditionals(model) if method in ("auto", "exact") and condition is None else None
    if method == "exact" and exact is None:
        raise ConfigurationError(
            "the conditional distribution is exact only for normal priors, or mixtures of them, and a normal"
            " observation around a linear function of codes.",
            "take  conditional  for a VAE, or  optimise",
        )
    if exact is not None:
        z = exact.draw(rows, seen)
        made = _filled(model.decode(z, given), rows, seen, noise=noise)
    elif method == "optimise" or not has_chain:
        z = invert(model, rows, given, mask=seen, starts=3, steps=steps).z
        made = _filled(model.decode(z, given), rows, seen, noise=noise)
    else:
        z, made = _chain(model, rows, seen, given, steps, noise=noise)
    return Completion(made.unflatten(0, (draws, len(x))), z.unflatten(0, (draws, len(x))))


@torch.no_grad()
def drawn_at(model: Model, z: Tensor, x: Tensor, mask: Tensor, condition: Tensor | None = None) -> Tensor:
    """(draws, B, *X) rows x (B, *X) whose missing entries are drawn from the observation at codes z (draws, B, *Z).

    With those that ``complete`` gives, completions by means become draws.
    """
    draws = len(z)
    given = None if condition is None else _repeat(condition, draws)
    made = _filled(model.decode(z.flatten(0, 1), given), _repeat(x, draws), _repeat(mask, draws), noise=True)
    return made.unflatten(0, (draws, len(x)))


@dataclass(frozen=True, eq=False)
class _Place:
    """Where chains are.

    Args:
        z: (B, *Z).
        log_density: (B,) nats, log p(observed entries, z).
        slope: (B, *Z) its gradient.
        full: (B, *X) the rows, completed by the mean for z, or by draws where entries depend on those before them.
    """

    z: Tensor
    log_density: Tensor
    slope: Tensor
    full: Tensor

    def stepped(self, new: _Place, log_ratio: Tensor) -> tuple[_Place, Tensor]:
        """The places after Metropolis' choice, and (B,) where the new one is accepted.

        Args:
            new: the proposals.
            log_ratio: (B,) log-density of proposing the old place from the new one, minus that of the way there.
        """
        accepted = torch.rand_like(log_ratio).log() < new.log_density - self.log_density + log_ratio
        pairs = (
            (self.z, new.z),
            (self.log_density, new.log_density),
            (self.slope, new.slope),
            (self.full, new.full),
        )
        return _Place(*(torch.where(_like(accepted, old), other, old) for old, other in pairs)), accepted


def _chain(
    model: Model, x: Tensor, mask: Tensor, condition: Tensor | None, steps: int, *, noise: bool
) -> tuple[Tensor, Tensor]:
    """(B, *Z) codes at the ends of as many chains, and (B, *X) the rows that are completed there."""
    has_density = not isinstance(model.prior, MatchedPrior)
    warm_up = math.ceil(WARM_UP * steps) if has_density else steps
    z = model.prior.sample(len(x), condition)
    for _ in range(warm_up):
        full = _filled(model.decode(z, condition), x, mask, noise=noise)
        z = model.encode(full, condition).rsample()
    if not has_density:
        return z, _filled(model.decode(z, condition), x, mask, noise=noise)

    def place(z: Tensor) -> _Place:
        with torch.enable_grad():
            z = z.detach().requires_grad_(True)
            observed = model.decode(z, condition)
            full = _filled(observed, x, mask, noise=False).detach()
            log_density = observed.log_prob(full, mask) + model.log_prior(z, condition)
            (slope,) = torch.autograd.grad(log_density.sum(), z)
        return _Place(z.detach(), log_density.detach(), slope, full)

    at = place(z)
    size = torch.full_like(at.log_density, FIRST_SIZE)
    for _ in range(steps - warm_up):
        there = model.encode(at.full, condition)
        new = place(there.rsample())
        back = model.encode(new.full, condition)
        at, _ = at.stepped(new, back.log_prob(at.z) - there.log_prob(new.z))
        if model.prior.support == "real":
            at, size = _langevin(place, at, size)
    if isinstance(observed := model.decode(at.z, condition), SequentialData):
        return at.z, at.full  # its missing entries were accepted together with the code
    return at.z, _filled(observed, x, mask, noise=noise)


def _langevin(place: Callable[[Tensor], _Place], at: _Place, size: Tensor) -> tuple[_Place, Tensor]:
    """A step along the slope with noise (Roberts and Tweedie 1996), and its next size (B,)."""
    of_codes = _like(size, at.z)
    new = place(at.z + of_codes.square() / 2 * at.slope + of_codes * torch.randn_like(at.z))
    there = new.z - at.z - of_codes.square() / 2 * at.slope
    back = at.z - new.z - of_codes.square() / 2 * new.slope
    log_ratio = ((there / of_codes).square() - (back / of_codes).square()).flatten(1).sum(1) / 2
    at, accepted = at.stepped(new, log_ratio)
    return at, size * (RATE_OF_SIZE * (accepted.to(size) - WANTED_RATE)).exp()


def _like(values: Tensor, like: Tensor) -> Tensor:
    """(B,) -> (B, 1, …)."""
    return values.reshape(-1, *[1] * (like.dim() - 1))


def _filled(observed: ObservedData, x: Tensor, mask: Tensor, *, noise: bool) -> Tensor:
    """(B, *X) x where the mask is true, and elsewhere draws or means of what is observed."""
    if isinstance(observed, SequentialData):
        return observed.filled(x, mask)
    return torch.where(mask, x, observed.sample() if noise else observed.mean)


def _repeat(values: Tensor, draws: int) -> Tensor:
    """(B, …) -> (draws · B, …)."""
    return values.repeat(draws, *[1] * (values.dim() - 1))
