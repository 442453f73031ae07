"""Adaptive augmentation for small data: differentiable, and as strong as the critic overfits (Karras et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from ganvae_core.builtin.option_checks import in_range
from ganvae_core.errors import ConfigurationError
from ganvae_core.types import DataSpec

OVERFITTING, SAMPLES_SEEN = "overfitting", "samples_seen"
RAMP_SAMPLES = 500_000
"""Rows in which the strength can go from 0 to 1."""
MOST_STRENGTH = 0.8
"""Above it augmentations begin to leak into what is generated (Karras et al. 2020)."""
SHIFT, TURN, ZOOM = 0.125, math.pi / 12, 0.2
"""Largest shift as a share of the side, largest turn in radians, deviation of the zoom's logarithm to the base 2."""
BRIGHTNESS, CONTRAST = 0.2, 0.5
"""Deviations, the paper's: of what is added, for a range of [-1, 1], and of the contrast's logarithm to the base 2."""


@final
class AdaptiveAugmentation(nn.Module):
    """Moves and recolours the images that a critic judges, real and generated alike, each with some probability.

    The probability follows how much the critic overfits: it rises while the mean sign of the critic's real logits is
    above the target, and falls while it is below. It is a buffer, so it is stored and resumed. Every operation is
    differentiable any number of times, so gradient penalties go with it. Mirror images and quarter turns, which change
    what digits and letters are, are left out. Karras et al., Training Generative Adversarial Networks with Limited
    Data, 2020.

    An objective gives the critic ``augmentation(images)``, adds ``statistics(…)`` to its ``Loss`` and calls ``adapt``
    in its phase's ``after``.

    Args:
        data: what the data is: images.
        target: of the mean sign, between -1 and 1.

    Raises:
        ConfigurationError: the data is no images, or the target is out of its range.
    """

    strength: Tensor
    adapted_at: Tensor

    def __init__(self, data: DataSpec, target: float) -> None:
        super().__init__()
        if data.modality != "image":
            raise ConfigurationError(
                f"objective.augmentation_target: only images are augmented, and this data is {data.modality}.",
                "turn it off:  objective.augmentation_target=null",
            )
        in_range("objective.", above=-1, below=1, augmentation_target=target)
        self.target = target
        self.low, self.high = data.range or (-1.0, 1.0)
        self.register_buffer("strength", torch.zeros(()))
        self.register_buffer("adapted_at", torch.zeros((), dtype=torch.float64))

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return _recoloured(_moved(images, self.strength), self.strength, self.low, self.high)

    def statistics(self, margin: Tensor, samples_seen: int) -> dict[str, Tensor]:
        """What ``adapt`` needs, for ``Loss.statistics``.

        Args:
            margin: (B,) the critic's real logits, minus its neutral logit.
            samples_seen: of the batch.
        """
        # Filled on the device: copying a number there would synchronise with it.
        seen = margin.new_full((), samples_seen, dtype=torch.float64)
        return {OVERFITTING: margin.detach().sign().mean(), SAMPLES_SEEN: seen}

    def adapt(self, averages: Mapping[str, Tensor]) -> None:
        """Move the strength by the averaged ``statistics``."""
        seen = averages[SAMPLES_SEEN]
        change = (averages[OVERFITTING] - self.target).sign() * (seen - self.adapted_at) / RAMP_SAMPLES
        self.strength.add_(change).clamp_(0.0, MOST_STRENGTH)
        self.adapted_at.copy_(seen)


def _moved(images: Tensor, probability: Tensor) -> Tensor:
    """Shift, turn and zoom, each with the given probability; what comes in from outside repeats the border."""
    count, (height, width) = len(images), images.shape[2:]
    angle = _drawn(count, probability, images) * TURN
    zoom = (_normal(count, probability, images) * ZOOM).exp2()
    shift = torch.stack([_drawn(count, probability, images) * SHIFT for _ in range(2)])  # (2, B)
    rows = torch.linspace(-0.5, 0.5, height, device=images.device, dtype=images.dtype) * (height - 1)
    columns = torch.linspace(-0.5, 0.5, width, device=images.device, dtype=images.dtype) * (width - 1)
    y, x = torch.meshgrid(rows, columns, indexing="ij")  # (H, W) in pixels from the middle
    cosine, sine = (angle.cos() / zoom)[:, None, None], (angle.sin() / zoom)[:, None, None]
    from_y = cosine * y - sine * x + (shift[0] * height)[:, None, None] + (height - 1) / 2  # (B, H, W)
    from_x = sine * y + cosine * x + (shift[1] * width)[:, None, None] + (width - 1) / 2
    return _interpolated(images, from_y.clamp(0, height - 1), from_x.clamp(0, width - 1))


def _interpolated(images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """(B, C, H, W) at fractional places (B, H, W), bilinearly. (torch's grid_sample has no second derivative.)"""
    channels, (height, width) = images.shape[1], images.shape[2:]
    top, left = y.floor().clamp(max=max(height - 2, 0)), x.floor().clamp(max=max(width - 2, 0))
    down, right = (y - top)[:, None], (x - left)[:, None]  # (B, 1, H, W)
    flat = images.flatten(2)

    def at(row: Tensor, column: Tensor) -> Tensor:
        place = (row.clamp(max=height - 1) * width + column.clamp(max=width - 1)).long()
        return flat.gather(2, place.flatten(1)[:, None].expand(-1, channels, -1)).reshape(images.shape)

    above = torch.lerp(at(top, left), at(top, left + 1), right)
    below = torch.lerp(at(top + 1, left), at(top + 1, left + 1), right)
    return torch.lerp(above, below, down)


def _recoloured(images: Tensor, probability: Tensor, low: float, high: float) -> Tensor:
    """Brightness and contrast, each with the given probability, around the middle of the range."""
    count, middle = len(images), (low + high) / 2
    brightness = _normal(count, probability, images) * BRIGHTNESS * (high - low) / 2
    contrast = (_normal(count, probability, images) * CONTRAST).exp2()
    scale, offset = contrast[:, None, None, None], brightness[:, None, None, None]
    return (images - middle) * scale + middle + offset


def _drawn(count: int, probability: Tensor, like: Tensor) -> Tensor:
    """(B,) uniform in [-1, 1] with the given probability, else 0."""
    values = torch.rand(count, device=like.device, dtype=like.dtype) * 2 - 1
    return values * (torch.rand(count, device=like.device) < probability)


def _normal(count: int, probability: Tensor, like: Tensor) -> Tensor:
    """(B,) standard normal with the given probability, else 0."""
    values = torch.randn(count, device=like.device, dtype=like.dtype)
    return values * (torch.rand(count, device=like.device) < probability)
