"""The self-supervised task of SSGAN: classify by how many quarter turns an image is rotated (Chen et al. 2019)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvae_core import ConfigurationError, Critic, DataSpec
from ganvae_gan.rows import Rows, Task

GENERATOR_SHARE = 0.2
"""Weight of the generator's task for a weight of 1 of the critic's, as in the paper."""


@final
class Rotation(Task):
    """A head on the critic's features that classifies which of four rotations an image has.

    The critic learns it on real images, and the generator makes images on which the critic succeeds:

        critic      weight · E -log Q(r | rotated real image)
        generator   0.2 · weight · E -log Q(r | rotated generated image)

    with r drawn anew for each image. It keeps the critic's features useful
    while the generator changes, without labels. Chen et al., Self-Supervised GANs via Auxiliary Rotation Loss, 2019.

    Args:
        data: what the data is: square images.
        critic: whose features are used; kept outside of this module's state.
        weight: of the critic's task.

    Raises:
        ConfigurationError: the data is no images, or they are not square.
    """

    def __init__(self, data: DataSpec, critic: Critic, weight: float) -> None:
        super().__init__()
        if data.modality != "image" or data.shape[1] != data.shape[2]:
            raise ConfigurationError(
                f"objective.rotation_weight: rotations are of square images, and this data has shape {data.shape}.",
                "turn it off:  objective.rotation_weight=0",
                "or, where they come from a folder, make them square:  data.resize=32"
                if data.modality == "image"
                else "",
            )
        self.weight = weight
        self.head = nn.Linear(critic.feature_size, 4)
        self._critic = (critic,)  # a tuple, so that its weights are not stored twice

    def critic_term(self, rows: Rows) -> Tensor:
        """() nats, weighted: on real images."""
        return self.weight * self._cross_entropy(rows.real, rows.real_condition)

    def generator_term(self, rows: Rows) -> Tensor:
        """() nats, weighted: on generated images."""
        return GENERATOR_SHARE * self.weight * self._cross_entropy(rows.fake, rows.fake_condition)

    def _cross_entropy(self, images: Tensor, condition: Tensor | None) -> Tensor:
        turns = torch.randint(4, (len(images),), device=images.device)
        logits = self.head(self._critic[0].features(rotated(images, turns), condition))
        return F.cross_entropy(logits, turns)


def rotated(images: Tensor, turns: Tensor) -> Tensor:
    """(B, C, S, S) images, each turned counter-clockwise by its own number (B,) of quarter turns."""
    every = torch.stack([torch.rot90(images, quarter, (2, 3)) for quarter in range(4)])  # (4, B, C, S, S)
    return every[turns, torch.arange(len(images), device=images.device)]
