"""Penalties on the gradient of a critic's logits with respect to what it judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ganvae_core import losses


@dataclass(frozen=True)
class Penalties:
    """The weight of each penalty; 0 leaves it out. R1 and R2 may fall while training goes on.

    Args:
        half_life_samples: rows over which the weights of R1 and R2 halve; 0 keeps them.
    """

    r1: float = 0.0
    r2: float = 0.0
    lipschitz: float = 0.0
    dragan: float = 0.0
    half_life_samples: float = 0.0

    @property
    def active(self) -> bool:
        """Whether any penalty has a weight: the loss then differentiates a gradient."""
        return any(weight > 0 for weight in (self.r1, self.r2, self.lipschitz, self.dragan))

    def terms(
        self,
        critic: Callable[[Tensor], Tensor],
        real: Tensor,
        fake: Tensor,
        real_logits: Tensor,
        fake_logits: Tensor,
        samples_seen: int,
    ) -> dict[str, Tensor]:
        """Each penalty () that has a weight, weighted.

        Args:
            critic: (B, *X) -> (B,), with the condition of the real rows.
            real: (B, *X), requiring a gradient if R1 has a weight.
            fake: (B, *X), requiring a gradient if R2 has a weight.
            real_logits: (B,) computed from ``real``.
            fake_logits: (B,) computed from ``fake``.
            samples_seen: rows that training had eaten before.
        """
        left = 0.5 ** (samples_seen / self.half_life_samples) if self.half_life_samples else 1.0
        terms: dict[str, Tensor] = {}
        if self.r1:
            terms["r1"] = left * self.r1 / 2 * losses.squared_gradient_norm(real_logits, real).mean()
        if self.r2:
            terms["r2"] = left * self.r2 / 2 * losses.squared_gradient_norm(fake_logits, fake).mean()
        if self.lipschitz:
            between = losses.interpolated(real, fake)
            terms["lipschitz"] = self.lipschitz * losses.one_centred_penalty(critic, between)
        if self.dragan:
            terms["dragan"] = self.dragan * losses.one_centred_penalty(critic, losses.perturbed(real))
        return terms
