"""A normalising flow, trained by its likelihood."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, final

from torch import Tensor, nn

from ganvae_core.builtin.layers import check_condition
from ganvae_core.builtin.option_checks import in_range, one_of, positive_sizes
from ganvae_core.builtin.priors.standardised import StandardisedPrior
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Support


@final
class Flow(StandardisedPrior):
    """A normalising flow over flattened codes, by zuko: a normal distribution, transformed without loss of density.

    Each coordinate is transformed by a function whose parameters a masked network computes from other coordinates:
    ``spline``, a rational-quadratic spline (Durkan et al., Neural Spline Flows, 2019), or ``affine``, a shift and scale
    (Papamakarios et al., Masked Autoregressive Flow, 2017). Both are made for codes of mean 0 and deviation 1: an
    objective that trains the flow on other codes calls ``standardise`` in its phase's ``after``.

    It is trained by its likelihood on an autoencoder's codes (objective ``prior-likelihood``, a stage of its own),
    by the KL divergence of a VAE, or through its draws in a GAN.

    Args:
        latent_shape: *Z.
        condition_shape: *K, or None for an unconditional model.
        transform: spline or affine.
        transforms: number of them, one after the other.
        hidden: widths of the hidden layers of each masked network.
        bins: of each spline.
        coupling: transform half of the coordinates at a time, given the other half; false transforms each given all
            before it (autoregressive), which fits better and takes a pass for each coordinate to sample.

    Raises:
        ConfigurationError: an option is out of its range, or zuko is not installed.
    """

    support: Support = "real"

    def __init__(
        self,
        latent_shape: Sequence[int],
        condition_shape: Sequence[int] | None = None,
        *,
        transform: Literal["spline", "affine"] = "spline",
        transforms: int = 3,
        hidden: tuple[int, ...] = (64, 64),
        bins: int = 8,
        coupling: bool = True,
    ) -> None:
        super().__init__(latent_shape)
        flows = _zuko_flows()
        self.condition_shape = None if condition_shape is None else tuple(condition_shape)
        one_of("transform", transform, ("spline", "affine"))
        in_range(least=1, transforms=transforms, bins=bins)
        positive_sizes("hidden", hidden)
        size = math.prod(self.latent_shape)
        options: dict[str, Any] = {"bins": bins} if transform == "spline" else {}
        if coupling and size > 1:
            options["passes"] = 2
        self.flow: nn.Module = (flows.NSF if transform == "spline" else flows.MAF)(
            size,
            context=math.prod(self.condition_shape or (0,)),
            transforms=transforms,
            hidden_features=hidden,
            **options,
        )

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        standardised = self._made(condition).rsample(() if condition is not None else (count,))
        return (standardised * self.deviation() + self.mean).reshape(count, *self.latent_shape)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        deviation = self.deviation()
        standardised = (z.flatten(1) - self.mean) / deviation
        return self._made(condition).log_prob(standardised) - deviation.log().sum()

    def to_noise(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) codes -> (B, *Z) the normal noise that is transformed into them."""
        standardised = (z.flatten(1) - self.mean) / self.deviation()
        return self._made(condition).transform(standardised).reshape(z.shape)

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) normal noise -> (B, *Z) the codes that it is transformed into."""
        standardised = self._made(condition).transform.inv(noise.flatten(1))
        return (standardised * self.deviation() + self.mean).reshape(noise.shape)

    def _made(self, condition: Tensor | None) -> Any:
        check_condition(condition, self.condition_shape)
        return self.flow() if condition is None else self.flow(condition.flatten(1))


def _zuko_flows() -> Any:
    try:
        from zuko import flows
    except ImportError as error:
        raise ConfigurationError(
            "the prior 'flow' needs zuko, which is not installed.", "pip install 'ganvae[flows]'"
        ) from error
    return flows
