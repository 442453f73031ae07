"""Directions that were found, by name, in the run: ``directions/NAME.safetensors``, with where each comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ganvae_core.errors import ConfigurationError, RunError, did_you_mean

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.runs.loading import Run

FOLDER = "directions"
NAME = re.compile(r"[\w.-]+")


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction of a run.

    Args:
        name: by which it is found.
        vector: (*Z) of unit length.
        spread: the standard deviation of codes along it, which an edit of 1 moves by.
        origin: how it was found, in words.
        step: of the model that it was found for.
    """

    name: str
    vector: Tensor
    spread: float
    origin: str
    step: int


def save_direction(run: Run, direction: Direction) -> Path:
    """Write a direction into the run, in place of one of the same name.

    Raises:
        ConfigurationError: the name is none for a file.
    """
    from safetensors.torch import save

    from ganvae_core.store.files import whole_file

    path = _path(run, direction.name)
    about = {"origin": direction.origin, "spread": repr(direction.spread), "step": str(direction.step)}
    with whole_file(path) as file:
        file.write(save({"direction": direction.vector.cpu().contiguous()}, about))
    return path


def load_direction(run: Run, name: str) -> Direction:
    """A direction of the run, by name.

    Raises:
        ConfigurationError: there is none of that name.
        RunError: its file is damaged, or of codes of another shape.
    """
    from safetensors import SafetensorError, safe_open

    path = _path(run, name)
    if not path.is_file():
        known = names(run)
        raise ConfigurationError(
            f"{run.path} has no direction '{name}'.{did_you_mean(name, known)}",
            f"directions: {', '.join(known)}" if known else f"find some:  ganvae directions {run.path}",
        )
    try:
        with safe_open(str(path), framework="pt") as file:
            vector, about = file.get_tensor("direction"), file.metadata() or {}
        spread, step = float(about["spread"]), int(about["step"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise RunError(f"{path} is not a direction that ganvae wrote.") from error
    shape: tuple[int, ...] | None = getattr(run.model.prior, "latent_shape", None)
    if shape is not None and tuple(vector.shape) != tuple(shape):
        raise RunError(
            f"{path} is of codes of shape {tuple(vector.shape)}, and the run's have {tuple(shape)}."
        )
    return Direction(name, vector.to(run.device), spread, about.get("origin", ""), step)


def names(run: Run) -> list[str]:
    """Of the directions that are stored in the run."""
    return sorted(path.stem for path in (run.path / FOLDER).glob("*.safetensors"))


def _path(run: Run, name: str) -> Path:
    if not NAME.fullmatch(name) or name.startswith("."):
        raise ConfigurationError(
            f"'{name}' is not the name of a direction: it takes letters, digits, '-', '_' and '.'."
        )
    return run.path / FOLDER / f"{name}.safetensors"
