"""What survives training: a prior, a generator, its observation, an optional encoder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from ganvae_core.distributions import kl
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import (
    Encoder,
    Generator,
    LatentPrior,
    Observation,
    ObservedData,
    Posterior,
)
from ganvae_core.types import Shown


@final
@dataclass(frozen=True, eq=False)
class FoldedData(ObservedData):
    """What is observed for several draws a row.

    Args:
        folded: the distribution over (S · B, *X), from one forward.
        rows: (*S, B), to which the first axis of everything is unfolded.
    """

    folded: ObservedData
    rows: tuple[int, ...]

    @property
    def mean(self) -> Tensor:
        return self.folded.mean.unflatten(0, self.rows)

    def sample(self) -> Tensor:
        return self.folded.sample().unflatten(0, self.rows)

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, *X) -> (*S, B) nats: each draw is compared with the same rows."""
        draws = self.rows[:-1]
        mask = None if mask is None else _repeated(mask, draws)
        return self.folded.log_prob(_repeated(x, draws), mask).unflatten(0, self.rows)


@final
class Model(nn.Module):
    """A generative latent-variable model: z from the prior, x from the observation of ``generator(z)``.

    All methods keep the graph; use ``torch.no_grad()`` where no gradient is wanted. Codes may have leading sample axes,
    (*S, B, *Z): they are folded into the batch for one forward, with the condition (B, *K) repeated, and unfolded.

    Args:
        generator: codes to the parameters of the observation.
        prior: where codes come from.
        observation: what the generator's output means.
        encoder: data to codes, where there is one.
        conditions: (M, *K) conditions to draw from when ``sample`` is given none.
        condition_weights: (M,) how often each of them is drawn; equally by default.
        shown: whether a person is shown means of the observation or draws from it, where the observation leaves the
            choice; in a run it is what the view of the data says.

    Attributes:
        prior_waits: whether a further stage of the run is still to train the prior, so that samples mean nothing yet.
    """

    def __init__(
        self,
        generator: Generator,
        prior: LatentPrior,
        observation: Observation,
        encoder: Encoder | None = None,
        *,
        conditions: Tensor | None = None,
        condition_weights: Tensor | None = None,
        shown: Shown = "mean",
    ) -> None:
        super().__init__()
        self.generator = generator
        self.prior = prior
        self.observation = observation
        self.encoder = encoder
        self._shown: Shown = shown
        self.prior_waits = False
        self.conditions: Tensor | None
        self.condition_weights: Tensor | None
        if conditions is not None and condition_weights is None:
            condition_weights = torch.ones(len(conditions))
        self.register_buffer("conditions", conditions)
        self.register_buffer("condition_weights", condition_weights)

    @property
    def shown(self) -> Shown:
        """Whether a person is shown means of the observation or draws from it."""
        return self.observation.shown or self._shown

    def sample(self, count: int, condition: Tensor | None = None, *, noise: bool = False) -> Tensor:
        """(count, *X) means of the observation, for codes from the prior.

        Args:
            count: how many.
            condition: (count, *K); drawn from the training data's when a conditional model is given none.
            noise: draw from the observation instead of taking its mean; the gradient may end there.
        """
        condition = self.draw_conditions(count) if condition is None else condition
        observed = self.decode(self.prior.sample(count, condition), condition)
        return observed.sample() if noise else observed.mean

    def draw_conditions(self, count: int) -> Tensor | None:
        """(count, *K) conditions as frequent as in the training data, or None where the model takes none."""
        if self.conditions is None or self.condition_weights is None:
            return None
        return self.conditions[torch.multinomial(self.condition_weights, count, replacement=True)]

    def encode(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        """A posterior over (B, *Z) for x (B, *X); its ``mean`` is the code to use.

        Raises:
            ConfigurationError: the model has no encoder.
        """
        return _encoder_of(self)(x, condition)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> ObservedData:
        """A distribution over (*S, B, *X) for codes (*S, B, *Z).

        Raises:
            ConfigurationError: the generator cannot take the codes, and the prior has no ``latent_shape``.
        """
        try:
            return self._decode(z, condition, self._sample_axes(z))
        except (RuntimeError, ValueError, IndexError) as error:
            if getattr(self.prior, "latent_shape", None) is not None:
                raise
            raise ConfigurationError(
                f"codes of shape {tuple(z.shape)} cannot be decoded: {str(error).partition(chr(10))[0]}",
                f"several draws a row need a prior with a latent_shape, and {type(self.prior).__name__} has none",
            ) from error

    def log_prior(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(*S, B) nats: the prior's log-density of codes (*S, B, *Z)."""
        return self._log_prior(z, condition, self._sample_axes(z))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(*S, B, *X): the mean of the observation for codes (*S, B, *Z)."""
        return self.decode(z, condition).mean

    def reconstruct(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *X): the mean of the observation at the mean of the posterior."""
        return self.decode(self.encode(x, condition).mean, condition).mean

    def log_likelihood_bound(
        self,
        x: Tensor,
        condition: Tensor | None = None,
        *,
        samples: int = 1,
        mask: Tensor | None = None,
        rows_at_once: int | None = None,
    ) -> Tensor:
        """(B,) nats: a lower bound of log p(x), of the observed entries where there is a mask.

        With one sample the evidence lower bound, its KL in closed form where there is one (Kingma and Welling 2013);
        with more the importance-weighted bound (Burda et al. 2015), which is tighter.

        Args:
            x: (B, *X).
            condition: (B, *K).
            samples: draws of the posterior for each row.
            mask: (B, *X) bool, true where x was observed.
            rows_at_once: rows that the generator is given at once, each draw of a row being one; all by default. It
                changes the memory used and not the result. One draw of all rows is the least.
        """
        posterior = self.encode(x, condition)
        if samples == 1:
            z = posterior.rsample()
            log_likelihood = self._decode(z, condition, 0).log_prob(x, mask)
            return log_likelihood - kl(posterior, self.prior, z=z, condition=condition)
        z = posterior.rsample((samples,))
        draws_at_once = samples if rows_at_once is None else max(1, rows_at_once // len(x))
        log_likelihood = torch.cat(
            [self._decode(draws, condition, 1).log_prob(x, mask) for draws in z.split(draws_at_once)]
        )
        log_weights = (
            log_likelihood + self._log_prior(z, condition, 1) - posterior.log_prob(z)
        )  # (samples, B)
        return log_weights.logsumexp(0) - math.log(samples)

    def _decode(self, z: Tensor, condition: Tensor | None, sample_axes: int) -> ObservedData:
        if not sample_axes:
            return self.observation(self.generator(z, condition))
        folded, repeated = _folded(z, condition, sample_axes)
        return FoldedData(
            self.observation(self.generator(folded, repeated)), tuple(z.shape[: sample_axes + 1])
        )

    def _log_prior(self, z: Tensor, condition: Tensor | None, sample_axes: int) -> Tensor:
        if not sample_axes:
            return self.prior.log_prob(z, condition)
        folded, repeated = _folded(z, condition, sample_axes)
        return self.prior.log_prob(folded, repeated).unflatten(0, z.shape[: sample_axes + 1])

    def _sample_axes(self, z: Tensor) -> int:
        """The number of axes of z before (B, *Z); none where the prior has no ``latent_shape``."""
        shape: tuple[int, ...] | None = getattr(self.prior, "latent_shape", None)
        return 0 if shape is None else max(0, z.dim() - 1 - len(shape))


@final
class DecodeModule(nn.Module):
    """Codes to data, for ``torch.export`` and whatever else takes a module of tensors: the generator and observation.

    Args:
        model: whose generator and observation are shared.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.generator = model.generator
        self.observation = model.observation

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z), (B, *K)? -> (B, *X): the mean of the observation."""
        observed: ObservedData = self.observation(self.generator(z, condition))
        return observed.mean


@final
class EncodeModule(nn.Module):
    """Data to codes, for ``torch.export`` and whatever else takes a module of tensors: the encoder.

    Args:
        model: whose encoder is shared.

    Raises:
        ConfigurationError: the model has no encoder.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.encoder = _encoder_of(model)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *X), (B, *K)? -> (B, *Z): the mean of the posterior."""
        posterior: Posterior = self.encoder(x, condition)
        return posterior.mean


def _encoder_of(model: Model) -> Encoder:
    if model.encoder is None:
        raise ConfigurationError(
            "this model has no encoder, so it cannot encode.",
            "train one that has:  ganvae run --plugin vae",
        )
    return model.encoder


def _repeated(rows: Tensor, draws: tuple[int, ...]) -> Tensor:
    """(B, …) -> (S · B, …): the rows once for each draw."""
    return rows.expand(*draws, *rows.shape).flatten(0, len(draws))


def _folded(z: Tensor, condition: Tensor | None, sample_axes: int) -> tuple[Tensor, Tensor | None]:
    """(*S, B, *Z), (B, *K)? -> (S · B, *Z), (S · B, *K)?"""
    repeated = None if condition is None else _repeated(condition, tuple(z.shape[:sample_axes]))
    return z.flatten(0, sample_axes), repeated


def has_batch_norm(module: nn.Module) -> bool:
    """Whether the rows of a batch are normalised together somewhere in a module."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())  # pyright: ignore
