"""Penalties on the gradient of a critic's logits with respect to what it judges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ganvae_core import losses


@dataclass(frozen=True)
class Penalties:
    """The weight of each penalty; 0 leaves it out."""

    r1: float = 0.0
    r2: float = 0.0
    lipschitz: float = 0.0
    dragan: float = 0.0

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
    ) -> dict[str, Tensor]:
        """Each penalty () that has a weight, weighted.

        Args:
            critic: (B, *X) -> (B,), with the condition of the real rows.
            real: (B, *X), requiring a gradient if R1 has a weight.
            fake: (B, *X), requiring a gradient if R2 has a weight.
            real_logits: (B,) computed from ``real``.
            fake_logits: (B,) computed from ``fake``.
        """
        terms: dict[str, Tensor] = {}
        if self.r1:
            terms["r1"] = self.r1 / 2 * losses.squared_gradient_norm(real_logits, real).mean()
        if self.r2:
            terms["r2"] = self.r2 / 2 * losses.squared_gradient_norm(fake_logits, fake).mean()
        if self.lipschitz:
            between = losses.interpolated(real, fake)
            terms["lipschitz"] = self.lipschitz * losses.one_centred_penalty(critic, between)
        if self.dragan:
            terms["dragan"] = self.dragan * losses.one_centred_penalty(critic, losses.perturbed(real))
        return terms
