"""Spectral normalisation (Miyato et al. 2018)."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]
from torch.nn.utils import parametrizations


def normalise_spectrally(network: nn.Module) -> None:
    """Divide each weight of linear and convolutional layers by its largest singular value, in place.

    It bounds how fast a critic changes with its input, unless batch norm rescales its layers (Miyato et al., Spectral
    Normalization for Generative Adversarial Networks, 2018). The singular value is estimated by power iteration.
    """
    for module in list(network.modules()):
        if isinstance(module, nn.Linear | _ConvNd):
            parametrizations.spectral_norm(module)
