"""Optimizers of torch, fused where there is a fused implementation.

A fused optimizer skips an update on the device when a gradient is not finite; the others wait for a flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import nn

from ganvae_core.builtin.option_checks import in_range
from ganvae_core.interfaces import Optimizer


class _AdamLike(Optimizer):
    """What both forms of Adam share.

    Args:
        betas: decay of the two moments.
        eps: added to the denominator.
    """

    algorithm: ClassVar[type[torch.optim.Adam]]

    def __init__(
        self, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0
    ) -> None:
        for beta in betas:
            in_range("optimizers: ", below=1, betas=beta)
        in_range("optimizers: ", eps=eps, weight_decay=weight_decay)
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay

    def make(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return self.algorithm(
            parameters, lr=lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )


@final
class Adam(_AdamLike):
    """Adam (Kingma & Ba 2015).

    Args:
        weight_decay: added to the gradient.
    """

    algorithm = torch.optim.Adam


@final
class AdamW(_AdamLike):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    Args:
        weight_decay: share of the weights, times the learning rate, that is subtracted in each step.
    """

    algorithm = torch.optim.AdamW


@final
class SGD(Optimizer):
    """Stochastic gradient descent.

    Args:
        momentum: decay of the average of past gradients; 0 is none.
        weight_decay: added to the gradient.
    """

    def __init__(self, *, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        in_range("optimizers: ", momentum=momentum, weight_decay=weight_decay)
        self.momentum, self.weight_decay = momentum, weight_decay

    def make(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        made = torch.optim.SGD(
            parameters, lr=lr, momentum=self.momentum, weight_decay=self.weight_decay, fused=True
        )
        if self.momentum:
            # torch makes these in the first step, and leaves them uninitialised where that update is skipped.
            for parameter in parameters:
                made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return made


@final
class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012). It has no fused implementation.

    Args:
        alpha: decay of the average of squared gradients.
        eps: added to the denominator.
        momentum: decay of the average of past updates; 0 is none.
        weight_decay: added to the gradient.
    """

    def __init__(
        self, *, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        in_range("optimizers: ", below=1, alpha=alpha)
        in_range("optimizers: ", eps=eps, momentum=momentum, weight_decay=weight_decay)
        self.alpha, self.eps, self.momentum, self.weight_decay = alpha, eps, momentum, weight_decay

    def make(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(
            parameters, lr, self.alpha, self.eps, weight_decay=self.weight_decay, momentum=self.momentum
        )
