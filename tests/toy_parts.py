"""Components of a plugin that is not installed: options of every type, and priors made of priors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


class Sum(gv.Objective):
    """The sum of other objectives' losses, with a weight and a second critic.

    Args:
        parts: whose losses are summed.
        weight: of the sum.
        from_: an option that Python has as a keyword.
        judge: a second critic.
        other: another objective.
        watched: a metric.
    """

    accepts: ClassVar = frozenset(("real",))
    needs: ClassVar = frozenset()

    def __init__(
        self,
        model: gv.Model,
        data: gv.DataSpec,
        generator: gv.Generator,
        prior: gv.LatentPrior,
        *,
        parts: list[gv.Objective],
        weight: gv.Schedule | float = 1.0,
        from_: int = 0,
        judge: Callable[[gv.DataSpec], gv.Critic] | None = None,
        other: gv.Objective | None = None,
        watched: gv.Metric | None = None,
    ) -> None:
        super().__init__()
        self.model, self.weight, self.from_ = model, gv.as_schedule(weight), from_
        self.same = generator is model.generator and prior is model.prior
        self.parts, self.other, self.watched = torch.nn.ModuleList(parts), other, watched
        self.judge = None if judge is None else judge(data)

    def phases(self) -> list[gv.Phase]:
        return []


class Inverse(gv.Encoder):
    """Asks for the generator and the prior."""

    deterministic = True

    def __init__(
        self, latent_shape: Sequence[int], generator: gv.Generator, prior: gv.LatentPrior, *, steps: int = 3
    ) -> None:
        super().__init__()
        self.latent_shape, self.steps = tuple(latent_shape), steps
        self.given = [generator, prior]

    sampling_options: ClassVar = ("steps",)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> gv.Posterior:
        return gv.Dirac(x.new_zeros(len(x), *self.latent_shape))


class Encoded(gv.LatentPrior):
    """Asks for the encoder."""

    support: ClassVar = "real"

    def __init__(self, latent_shape: Sequence[int], encoder: gv.Encoder) -> None:
        super().__init__()
        self.latent_shape, self.encoders = tuple(latent_shape), [encoder]

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        return torch.zeros(count, *self.latent_shape)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.zeros(len(z))


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
            ComponentSpec("objective", "sum", "toy_parts:Sum", "a sum of objectives"),
            ComponentSpec("encoder", "inverse", "toy_parts:Inverse", "an encoder that uses the generator"),
            ComponentSpec("prior", "encoded", "toy_parts:Encoded", "a prior that uses the encoder"),
            ComponentSpec("callback", "typed", "toy_parts:Typed", "options of every type"),
            ComponentSpec("callback", "required", "toy_parts:Required", "an option that must be given"),
            ComponentSpec("source", "other", "toy_parts:OtherReader", "reads .toy and .npz files", ("*.toy", "*.npz")),
        ),
        recipes=(RecipeSpec("toy", "toy.yaml", "nothing"),),
    )  # fmt: skip
    return Catalogue((*installed_plugins().plugins, toy))
