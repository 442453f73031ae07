"""Adversarial losses on logits, for every plugin.

``real_logits`` and ``fake_logits``, of any shape, are what a critic C gives for data and for generated
samples; D = sigmoid(C) is the discriminator of the GAN papers. Every loss is a scalar, averaged over the
logits, and those of critics are the sum of two averages.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def non_saturating_critic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))): the binary cross-entropy of real against fake.

    The critic's side of the minimax and of the non-saturating game alike (Goodfellow et al. 2014); 2 log 2
    where the critic cannot tell the two apart.
    """
    # log D = -softplus(-C) and log(1 - D) = -softplus(C), which stay finite where log(sigmoid(C)) does not.
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def non_saturating_generator(fake_logits: Tensor) -> Tensor:
    """-E log D(G(z)): strong gradients just where the critic rejects the samples (Goodfellow et al. 2014)."""
    return F.softplus(-fake_logits).mean()


def minimax_generator(fake_logits: Tensor) -> Tensor:
    """E log(1 - D(G(z))): the generator's side of the zero-sum game (Goodfellow et al. 2014).

    Its gradient vanishes where the critic rejects the samples, so it learns slowly from a poor start.
    """
    return -F.softplus(fake_logits).mean()


def hinge_critic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E max(0, 1 - C(x)) + E max(0, 1 + C(G(z))) (Lim and Ye 2017; Tran et al. 2017; Miyato et al. 2018)."""
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def hinge_generator(fake_logits: Tensor) -> Tensor:
    """-E C(G(z)), the generator's side of the hinge loss (Lim and Ye 2017)."""
    return -fake_logits.mean()


def least_squares_critic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """½ E (C(x) - 1)² + ½ E C(G(z))² (Mao et al. 2017, with their labels 0 and 1)."""
    return 0.5 * (real_logits - 1).square().mean() + 0.5 * fake_logits.square().mean()


def least_squares_generator(fake_logits: Tensor) -> Tensor:
    """½ E (C(G(z)) - 1)² (Mao et al. 2017)."""
    return 0.5 * (fake_logits - 1).square().mean()


def wasserstein_critic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E C(G(z)) - E C(x): minus an estimate of the Wasserstein distance, for a critic that is kept 1-Lipschitz.

    Arjovsky et al. 2017.
    """
    return fake_logits.mean() - real_logits.mean()


def wasserstein_generator(fake_logits: Tensor) -> Tensor:
    """-E C(G(z)) (Arjovsky et al. 2017)."""
    return -fake_logits.mean()


def relativistic_critic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E -log sigmoid(C(x) - C(G(z))): each real row is to look more real than the generated one paired with it.

    Jolicoeur-Martineau 2018; the loss of R3GAN (Huang et al. 2024). Both arguments have the same shape (B,).
    """
    return F.softplus(fake_logits - real_logits).mean()


def relativistic_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E -log sigmoid(C(G(z)) - C(x)), the generator's side of the pairing (Jolicoeur-Martineau 2018)."""
    return F.softplus(real_logits - fake_logits).mean()


def squared_gradient_norm(logits: Tensor, x: Tensor) -> Tensor:
    """(B,) ||∇ₓ C(x)||² of each row, differentiable: R1 on real rows, R2 on generated ones (Mescheder et al. 2018).

    The phase that uses it says ``second_order=True``. Its rows must not be coupled by the critic's batch norm.

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
