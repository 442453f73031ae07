"""What survives training: a prior, a generator, its observation, an optional encoder."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from ganvae_core.distributions import kl
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Encoder, Generator, LatentPrior, Observation, ObservedData, Posterior


@final
class Model(nn.Module):
    """A generative latent-variable model: z from the prior, x from the observation of ``generator(z)``.

    All methods keep the graph; use ``torch.no_grad()`` where no gradient is wanted.

    Args:
        generator: codes to the parameters of the observation.
        prior: where codes come from.
        observation: what the generator's output means.
        encoder: data to codes, where there is one.
        conditions: (M, *K) conditions to draw from when ``sample`` is given none.
        condition_weights: (M,) how often each of them is drawn; equally by default.
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
    ) -> None:
        super().__init__()
        self.generator = generator
        self.prior = prior
        self.observation = observation
        self.encoder = encoder
        self.conditions: Tensor | None
        self.condition_weights: Tensor | None
        if conditions is not None and condition_weights is None:
            condition_weights = torch.ones(len(conditions))
        self.register_buffer("conditions", conditions)
        self.register_buffer("condition_weights", condition_weights)

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
        if self.encoder is None:
            raise ConfigurationError(
                "this model has no encoder, so it cannot encode.",
                "train one that has:  ganvae run --plugin vae",
            )
        return self.encoder(x, condition)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> ObservedData:
        """A distribution over (B, *X) for codes (B, *Z)."""
        return self.observation(self.generator(z, condition))

    def reconstruct(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *X): the mean of the observation at the mean of the posterior."""
        return self.decode(self.encode(x, condition).mean, condition).mean

    def log_likelihood_bound(self, x: Tensor, condition: Tensor | None = None, *, samples: int = 1) -> Tensor:
        """(B,) nats: a lower bound of log p(x).

        With one sample the evidence lower bound, its KL in closed form where there is one (Kingma and Welling 2013);
        with more the importance-weighted bound (Burda et al. 2015), which is tighter.
        """
        posterior = self.encode(x, condition)
        if samples == 1:
            z = posterior.rsample()
            log_likelihood = self.decode(z, condition).log_prob(x)
            return log_likelihood - kl(posterior, self.prior, z=z, condition=condition)
        log_weights: list[Tensor] = []
        for _ in range(samples):
            z = posterior.rsample()
            log_joint = self.decode(z, condition).log_prob(x) + self.prior.log_prob(z, condition)
            log_weights.append(log_joint - posterior.log_prob(z))
        return torch.stack(log_weights).logsumexp(0) - torch.tensor(float(samples)).log()
