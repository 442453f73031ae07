"""Adversarial losses on logits, for every plugin.

``real_logits`` and ``fake_logits``, of any shape, are what a critic C gives for data and for generated
samples; D = sigmoid(C) is the discriminator of the GAN papers. Every loss is a scalar, averaged over the
logits, and those of critics are the sum of two averages.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def non_saturating_critic(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-E log D(x) - E log(1 - D(G(z))): the binary cross-entropy of real against fake.

    The critic's side of the minimax and of the non-saturating game alike (Goodfellow et al. 2014); 2 log 2
    for a critic with equal logits everywhere.
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
    """E -log sigmoid(C(x) - C(G(z))): real and generated rows are compared in pairs.

    Jolicoeur-Martineau 2018; the loss of R3GAN (Huang et al. 2024). Both arguments have the same shape (B,).
    """
    return F.softplus(fake_logits - real_logits).mean()


def relativistic_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """E -log sigmoid(C(G(z)) - C(x)), the generator's side of the pairing (Jolicoeur-Martineau 2018)."""
    return F.softplus(real_logits - fake_logits).mean()
