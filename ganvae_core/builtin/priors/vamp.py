"""The VampPrior: the posteriors of learned pseudo-inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from ganvae_core.builtin.option_checks import in_range, positive_sizes
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Encoder, LatentPrior, Posterior, Support
from ganvae_core.model import has_batch_norm
from ganvae_core.types import DataSpec


@final
class Vamp(LatentPrior):
    """p(z) = 1/K Σ q(z | u_k): a mixture of the encoder's posteriors of K pseudo-inputs, trained with the model.

    Tomczak and Welling, VAE with a VampPrior, 2018. In a conditional model each pseudo-input has a pseudo-condition,
    which is trained likewise; codes do not depend on the condition.

    Args:
        data: what the data is.
        latent_shape: *Z.
        encoder: that gives the posteriors; it stays the model's.
        condition_shape: *K, or None for an unconditional model.
        components: number of pseudo-inputs, K.

    Raises:
        ConfigurationError: the encoder's posteriors have no density, it has batch norm, or an option is out of
            its range.
    """

    support: Support = "real"

    def __init__(
        self,
        data: DataSpec,
        latent_shape: Sequence[int],
        encoder: Encoder,
        condition_shape: Sequence[int] | None = None,
        *,
        components: int = 200,
    ) -> None:
        super().__init__()
        if encoder.deterministic:
            raise ConfigurationError(
                "the prior 'vamp' is made of posteriors, and this encoder gives points without a density.",
                "set:  encoder.posterior=normal",
            )
        if has_batch_norm(encoder):
            raise ConfigurationError(
                "the prior 'vamp' passes pseudo-inputs through the encoder, whose batch norm would count them as data.",
                "turn it off:  encoder.batch_norm=false",
            )
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        in_range(least=1, components=components)
        self.components = components
        self.encoder = (encoder,)  # a tuple, so that its weights are not stored twice
        self.bounds = data.range
        self.inputs = nn.Parameter(torch.randn(components, *data.shape))
        self.conditions = None if condition_shape is None else nn.Parameter(
            torch.randn(components, *condition_shape) / math.sqrt(math.prod(condition_shape))
        )  # fmt: skip

    def posterior(self, chosen: Tensor | None = None) -> Posterior:
        """The posteriors of the K pseudo-inputs, over (K, *Z), or of chosen ones (N,), over (N, *Z)."""
        inputs = self.inputs if self.bounds is None else self._within(self.bounds)
        conditions = self.conditions
        if chosen is not None:
            inputs, conditions = inputs[chosen], None if conditions is None else conditions[chosen]
        return self.encoder[0](inputs, conditions)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        return self.posterior(torch.randint(self.components, (count,), device=self.inputs.device)).rsample()

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        each = z.unsqueeze(1).expand(-1, self.components, *self.latent_shape)  # (B, K, *Z)
        return self.posterior().log_prob(each).logsumexp(1) - math.log(self.components)

    def _within(self, bounds: tuple[float, float]) -> Tensor:
        low, high = bounds
        return low + (high - low) * self.inputs.sigmoid()
