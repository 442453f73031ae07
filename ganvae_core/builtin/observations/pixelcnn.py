"""An autoregressive observation of small images."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvae_core.builtin.observations.further import bounds_of
from ganvae_core.builtin.option_checks import in_range
from ganvae_core.distributions import sum_event
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import Observation, SequentialData
from ganvae_core.types import DataSpec


@final
class _MaskedConvolution(nn.Conv2d):
    """A convolution that sees the pixels above and to the left, and the pixel itself where it is not the first."""

    def __init__(self, inputs: int, outputs: int, size: int, *, first: bool = False) -> None:
        super().__init__(inputs, outputs, size, padding=size // 2)
        mask = torch.ones(size, size)
        mask[size // 2, size // 2 + (0 if first else 1) :] = 0
        mask[size // 2 + 1 :] = 0
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        mask = self.mask
        assert isinstance(mask, Tensor)
        return F.conv2d(input, self.weight * mask, self.bias, padding=self.padding)


@final
class PixelCNNData(SequentialData):
    """Pixels in raster order, each given those before it and a context.

    Args:
        observation: whose network it is.
        context: (B, H, height, width).
    """

    def __init__(self, observation: PixelCNN, context: Tensor) -> None:
        self.observation, self.context = observation, context

    @property
    def mean(self) -> Tensor:
        """(B, *X): every pixel's mean, given the means of those before it."""
        return self._unrolled(draws=False)

    def sample(self) -> Tensor:
        return self._unrolled(draws=True)

    def filled(self, x: Tensor, mask: Tensor) -> Tensor:
        return self._unrolled(draws=True, given=(x.flatten(2), mask.flatten(2)))

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        own = self.observation
        draws = x.shape[: x.dim() - 4]  # sample axes before (B, C, height, width)
        rows = x.reshape(-1, *own.shape)
        context = self.context.expand(*draws, *self.context.shape).reshape(-1, *self.context.shape[1:])
        low, high = own.bounds
        targets = ((rows - low) / (high - low) * (own.levels - 1)).round().long().clamp(0, own.levels - 1)
        values = -F.cross_entropy(own.logits(rows, context), targets, reduction="none")
        return sum_event(values.reshape(x.shape), 3, mask)

    def _unrolled(self, *, draws: bool, given: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, *X) pixel by pixel, but for those that are given: values and a mask, (B, C, height · width) each."""
        own = self.observation
        low, high = own.bounds
        values = torch.linspace(low, high, own.levels, device=self.context.device, dtype=self.context.dtype)
        channels, height, width = own.shape
        pixels: list[Tensor] = []
        empty = self.context.new_full((len(self.context), channels, 1), low)
        for position in range(height * width):
            row, column = divmod(position, width)
            x = torch.cat([*pixels, empty.expand(-1, -1, height * width - position)], 2)
            x = x.reshape(-1, *own.shape)[:, :, : row + 1]
            logits = own.logits(x, self.context[:, :, : row + 1])[..., row, column]  # (B, levels, C)
            probabilities = logits.softmax(1).transpose(1, 2)
            if draws:
                chosen = torch.multinomial(probabilities.reshape(-1, own.levels), 1)
                pixel = values[chosen].reshape(-1, channels, 1)
            else:
                pixel = (probabilities @ values).unsqueeze(2)
            if given is not None:
                known, mask = (part[..., position, None] for part in given)
                pixel = torch.where(mask, known, pixel)
            pixels.append(pixel)
        return torch.cat(pixels, 2).reshape(-1, *own.shape)


@final
class PixelCNN(Observation):
    """Each pixel of an image given those above and to the left of it, by masked convolutions.

    Van den Oord, Kalchbrenner and Kavukcuoglu, Pixel Recurrent Neural Networks, 2016; as the decoder of a VAE:
    Gulrajani et al., PixelVAE, 2017. The generator gives a context for every pixel. Channels of a pixel are
    independent of each other, given what came before. ``log_prob`` is of the nearest of evenly spaced levels, in
    nats, in one pass; a draw takes a pass a pixel, so it is for small images.

    Args:
        data: what the data is: images with bounds.
        levels: of each value; 2 for binary images, 256 for 8-bit ones.
        width: channels of the hidden layers, and of the context.
        layers: residual layers of 3 × 3 after the first one of 5 × 5.

    Raises:
        ConfigurationError: the data is no images with bounds, or an option is out of its range.
    """

    has_levels = True
    shown = "draw"

    def __init__(self, data: DataSpec, *, levels: int = 256, width: int = 32, layers: int = 4) -> None:
        super().__init__()
        self.bounds = bounds_of(data, "a pixelcnn")
        if len(data.shape) != 3:
            raise ConfigurationError(
                f"a pixelcnn observation is for images, and this data has shape {data.shape}.",
                "use observation=auto",
            )
        in_range(least=2, hint="8-bit images have 256", levels=levels)
        in_range(least=1, width=width, layers=layers)
        self.shape, self.levels, self.width = data.shape, levels, width
        self.first = _MaskedConvolution(data.shape[0], width, 5, first=True)
        self.layers = nn.ModuleList(_MaskedConvolution(width, width, 3) for _ in range(layers))
        self.last = nn.Conv2d(width, data.shape[0] * levels, 1)

    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        return (self.width, *data.shape[1:])

    def forward(self, raw: Tensor) -> PixelCNNData:
        return PixelCNNData(self, raw)

    def logits(self, x: Tensor, context: Tensor) -> Tensor:
        """(B, C, height, width) and (B, H, height, width) -> (B, levels, C, height, width)."""
        low, high = self.bounds
        hidden = self.first(2 * (x - low) / (high - low) - 1) + context
        for layer in self.layers:
            hidden = hidden + layer(F.silu(hidden))
        return self.last(F.silu(hidden)).unflatten(1, (self.levels, -1))
