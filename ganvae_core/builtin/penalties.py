"""Penalties on the gradient of a critic's logits with respect to the rows that it judges.

A phase that uses one is declared ``second_order=True``, and its critic has no batch norm, which couples rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def r1(real_logits: Tensor, real: Tensor) -> Tensor:
    """½ E ||∇ₓ C(x)||² on real rows (Mescheder et al. 2018).

    Args:
        real_logits: (B,) computed from ``real``.
        real: (B, *X), requiring a gradient.
    """
    return squared_gradient_norm(real_logits, real).mean() / 2


def r2(fake_logits: Tensor, fake: Tensor) -> Tensor:
    """½ E ||∇ₓ C(x)||² on generated rows (Mescheder et al. 2018).

    Args:
        fake_logits: (B,) computed from ``fake``.
        fake: (B, *X), requiring a gradient.
    """
    return squared_gradient_norm(fake_logits, fake).mean() / 2


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """E (||∇ₓ C(x)|| - 1)² between paired rows: WGAN-GP (Gulrajani et al. 2017).

    Args:
        critic: (B, *X) -> (B,).
        real: (B, *X).
        fake: (B, *X).
    """
    return one_centred_penalty(critic, interpolated(real, fake))


def dragan(critic: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """E (||∇ₓ C(x)|| - 1)² around real rows: DRAGAN (Kodali et al. 2017). It couples rows: see ``perturbed``.

    Args:
        critic: (B, *X) -> (B,).
        real: (B, *X).
    """
    return one_centred_penalty(critic, perturbed(real))


def squared_gradient_norm(logits: Tensor, x: Tensor) -> Tensor:
    """(B,) ||∇ₓ C(x)||² of each row, differentiable.

    Args:
        logits: (B,) computed from ``x``.
        x: (B, *X), requiring a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def one_centred_penalty(critic: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """E (||∇ₓ C(x)|| - 1)²: keeps a critic near 1-Lipschitz at x (Gulrajani et al. 2017; Kodali et al. 2017).

    Args:
        critic: (B, *X) -> (B,).
        x: (B, *X) where the gradient is taken: ``interpolated`` rows for WGAN-GP, ``perturbed`` ones for DRAGAN.
    """
    x = x.detach().requires_grad_()
    # Where the gradient vanishes, its norm has no derivative: a small constant under the root gives it one.
    norm = (squared_gradient_norm(critic(x), x) + 1e-12).sqrt()
    return (norm - 1).square().mean()


def interpolated(real: Tensor, fake: Tensor) -> Tensor:
    """(B, *X) points on the lines between paired rows, uniformly drawn (WGAN-GP, Gulrajani et al. 2017)."""
    share = torch.rand(len(real), *(1,) * (real.dim() - 1), device=real.device, dtype=real.dtype)
    return torch.lerp(real.detach(), fake.detach(), share)


def perturbed(real: Tensor) -> Tensor:
    """(B, *X) real rows and noise, uniform from 0 to half the batch's standard deviation (DRAGAN, Kodali et al. 2017).

    The paper's text has normal noise; this is that of its authors' code, which lies on one side.
    """
    return (real + 0.5 * real.std() * torch.rand_like(real)).detach()


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
            samples_seen: rows that training had used before this step.
        """
        left = 0.5 ** (samples_seen / self.half_life_samples) if self.half_life_samples else 1.0
        terms: dict[str, Tensor] = {}
        if self.r1:
            terms["r1"] = left * self.r1 * r1(real_logits, real)
        if self.r2:
            terms["r2"] = left * self.r2 * r2(fake_logits, fake)
        if self.lipschitz:
            terms["lipschitz"] = self.lipschitz * gradient_penalty(critic, real, fake)
        if self.dragan:
            terms["dragan"] = self.dragan * dragan(critic, real)
        return terms
