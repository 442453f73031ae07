"""Components of a plugin that is not installed: options of every type, and priors made of priors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

import ganvae_core as gv
from ganvae_core.plugins import Catalogue, ComponentSpec, Plugin, RecipeSpec, installed_plugins


class Composite(gv.LatentPrior):
    """The sum of the draws of its parts.

    Args:
        parts: what is summed.
        base: added to them.
        scale: of the sum, which is
            a float.
    """

    support: ClassVar = "real"

    def __init__(
        self,
        latent_shape: Sequence[int],
        *,
        parts: list[gv.LatentPrior],
        base: gv.LatentPrior | None = None,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        self.parts = torch.nn.ModuleList([*parts, *([] if base is None else [base])])
        self.scale = scale

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        return sum(part.sample(count) for part in self.parts) * self.scale  # pyright: ignore

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.zeros(len(z))


class Typed(gv.Callback):
    """A callback with an option of every type.

    Args:
        text: any text.
        path: a file.
    """

    def __init__(
        self,
        *,
        text: str = "as it is",
        path: str | None = None,
        number: float = 0.5,
        whole: int = 3,
        perhaps: float | None = None,
        flag: bool = False,
        choice: Literal["left", "right"] = "left",
        size: Literal[8, 16] = 8,
        sizes: tuple[int, ...] = (4, 2),
        names: list[str] = [],  # noqa: B006
        pair: tuple[float, float] = (0.5, 0.9),
    ) -> None:
        self.given = {key: value for key, value in locals().items() if key not in ("self", "__class__")}


class Required(gv.Callback):
    """A callback that cannot do without an option."""

    def __init__(self, *, target: str) -> None:
        self.target = target


class OtherReader(gv.Source):
    """Reads what another source reads too."""

    def __init__(self, *, path: str | None = None, depth: int = 1) -> None:
        self.path = path
        self.depth = depth

    @property
    def spec(self) -> gv.DataSpec:
        return gv.DataSpec((20,), (0.0, 1.0), "array", None, 30)

    def __len__(self) -> int:
        return 30

    def rows(self, indices: object) -> gv.Rows:
        return gv.Rows(np.zeros((30, 20), np.float32)[indices])  # pyright: ignore

    def labels(self, indices: object = None) -> None:
        return None


def catalogue() -> Catalogue:
    """The installed plugins, and one called ``toy``."""
    toy = Plugin(
        "toy", "ready", "", "toy", "1.0", "toy_parts",
        components=(
            ComponentSpec("prior", "composite", "toy_parts:Composite", "a sum of priors"),
            ComponentSpec("callback", "typed", "toy_parts:Typed", "options of every type"),
            ComponentSpec("callback", "required", "toy_parts:Required", "an option that must be given"),
            ComponentSpec("source", "other", "toy_parts:OtherReader", "reads .toy and .npz files", ("*.toy", "*.npz")),
        ),
        recipes=(RecipeSpec("toy", "toy.yaml", "nothing"),),
    )  # fmt: skip
    return Catalogue((*installed_plugins().plugins, toy))
