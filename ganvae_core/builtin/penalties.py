"""Penalties on the gradient of a critic's logits with respect to the rows that it judges.

A phase that uses one is declared ``second_order=True``, and its critic has no batch norm, which couples rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganvae_core.builtin.schedule import as_schedule
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Schedule
from ganvae_core.model import has_batch_norm


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


def squared_jacobian_norm(output: Tensor, x: Tensor) -> Tensor:
    """(B,) an unbiased estimate of ||∂ output / ∂ x||², the squared Frobenius norm, differentiable.

    One random projection of the output, ||∂ (v · output) / ∂ x||² with v ~ N(0, I) (Hutchinson 1989), in place of a
    gradient for each of its numbers.

    Args:
        output: (B, …) computed from ``x``, row by row.
        x: (B, …), requiring a gradient.
    """
    return squared_gradient_norm((output * torch.randn_like(output)).flatten(1).sum(1), x)


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
    """The weight of each penalty, or a schedule of it; 0 leaves it out.

    Args:
        r1: of γ/2 E ||∇C||² on real rows.
        r2: of the same on generated rows.
        lipschitz: of ``gradient_penalty``.
        dragan: of ``dragan``.

    Raises:
        ConfigurationError: a schedule depends on the length of the training.
    """

    r1: Schedule | float = 0.0
    r2: Schedule | float = 0.0
    lipschitz: Schedule | float = 0.0
    dragan: Schedule | float = 0.0

    def __post_init__(self) -> None:
        for weight in (self.r1, self.r2, self.lipschitz, self.dragan):
            as_schedule(weight)

    @property
    def active(self) -> bool:
        """Whether any penalty has a weight: the loss then differentiates a gradient."""
        return any(self.uses(name) for name in ("r1", "r2", "lipschitz", "dragan"))

    def uses(self, name: str) -> bool:
        """Whether a penalty has a weight, or a schedule of one."""
        weight = getattr(self, name)
        return isinstance(weight, Schedule) or weight > 0

    def check_critic(self, critic: nn.Module) -> None:
        """Check that a critic goes with the penalties.

        Raises:
            ConfigurationError: one has a weight, and batch norm in the critic ties the rows together.
        """
        if self.active and has_batch_norm(critic):
            raise ConfigurationError(
                "a gradient penalty does not go with batch norm in the critic, which ties rows together.",
                "turn it off:  critic.batch_norm=false",
            )

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
        penalties: dict[str, Callable[[], Tensor]] = {
            "r1": lambda: r1(real_logits, real),
            "r2": lambda: r2(fake_logits, fake),
            "lipschitz": lambda: gradient_penalty(critic, real, fake),
            "dragan": lambda: dragan(critic, real),
        }
        return {
            name: as_schedule(getattr(self, name))(samples_seen) * penalty()
            for name, penalty in penalties.items()
            if self.uses(name)
        }
