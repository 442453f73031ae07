"""The objective and the prior of the sliced-Wasserstein autoencoder (Kolouri et al. 2018)."""

import math
from collections.abc import Sequence
from typing import ClassVar, final

import torch
from torch import Tensor

from ganvae_core import Batch, ConfigurationError, LatentPrior, Loss, Model, Objective, Phase
from ganvae_core.interfaces import Support


@final
class SlicedWasserstein(Objective):
    """||x - decode(encode(x))||², plus ``weight`` times the sliced W2² between a batch of codes and draws of the prior.

    W2² in one dimension is the mean squared difference of sorted values; here it is taken along random lines.

    Args:
        weight: of the distance between codes and prior.
        lines: random directions at each step.
    """

    needs: ClassVar = frozenset({"encoder", "prior"})
    accepts: ClassVar = frozenset({"real", "bounded", "sphere"})

    def __init__(self, model: Model, *, weight: float = 10.0, lines: int = 50) -> None:
        super().__init__()
        if lines < 1 or weight < 0:
            raise ConfigurationError("swae: lines must be at least 1, and weight must not be negative.")
        self.model, self.weight, self.lines = model, weight, lines

    def phases(self) -> list[Phase]:
        return [Phase("autoencoder", self.loss, trains=[self.model], couples_rows=True)]  # rows are sorted

    def loss(self, batch: Batch) -> Loss:
        z = self.model.encode(batch.x, batch.condition).mean
        made = self.model.decode(z, batch.condition).mean
        error = (made - batch.x).square().flatten(1).sum(1).mean()
        wanted = self.model.prior.sample(len(z), batch.condition)
        distance = sliced_distance(z.flatten(1), wanted.flatten(1), self.lines)
        return Loss(error + self.weight * distance, {"reconstruction": error, "distance": distance})


def sliced_distance(a: Tensor, b: Tensor, lines: int) -> Tensor:
    """() the mean over random lines of W2² between two sets of points (N, D)."""
    lines_ = torch.nn.functional.normalize(
        torch.randn(a.shape[1], lines, device=a.device, dtype=a.dtype), dim=0
    )
    return ((a @ lines_).sort(0).values - (b @ lines_).sort(0).values).square().mean()


@final
class Annulus(LatentPrior):
    """Uniform over the points of the plane whose distance from the origin lies between ``inner`` and ``outer``."""

    support: Support = "bounded"

    def __init__(self, latent_shape: Sequence[int], *, inner: float = 0.5, outer: float = 1.0) -> None:
        super().__init__()
        if tuple(latent_shape) != (2,) or not 0 <= inner < outer:
            raise ConfigurationError("annulus: latent.shape must be [2], and inner smaller than outer.")
        self.latent_shape, self.inner, self.outer = (2,), inner, outer
        self.register_buffer("density", torch.tensor(1 / (math.pi * (outer**2 - inner**2))), persistent=False)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        turn, share = (
            2 * math.pi * self.density.new_empty(count).uniform_(),
            self.density.new_empty(count).uniform_(),
        )
        radius = (self.inner**2 + share * (self.outer**2 - self.inner**2)).sqrt()
        return torch.stack([radius * turn.cos(), radius * turn.sin()], dim=1)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        radius = z.norm(dim=1)
        inside = (radius >= self.inner) & (radius <= self.outer)
        return self.density.log().expand(len(z)).where(inside, -math.inf)
