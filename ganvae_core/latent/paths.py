"""Paths between codes."""

from __future__ import annotations

import math
from typing import Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from ganvae_core.errors import ConfigurationError, name_of
from ganvae_core.model import Model

Path = Literal["auto", "linear", "spherical", "prior"]
PATHS: tuple[Path, ...] = get_args(Path)
PARALLEL = 1e-4
"""Sine of the angle below which two codes have no great circle of their own."""


@runtime_checkable
class Transports(Protocol):
    """A prior whose codes are transformed normal noise, such as a normalising flow."""

    def to_noise(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) -> (B, *Z) the noise that is transformed into these codes."""
        ...

    def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) -> (B, *Z) the codes that this noise is transformed into."""
        ...


def interpolate(
    model: Model,
    start: Tensor,
    end: Tensor,
    count: int,
    *,
    path: Path = "auto",
    condition: Tensor | None = None,
) -> Tensor:
    """(count, B, *Z) codes from ``start`` (B, *Z) to ``end`` (B, *Z), both included, at equal steps.

    ``linear`` is the straight line. ``spherical`` is the great circle of White (2016), Sampling Generative Networks,
    along which lengths change evenly. ``prior`` follows the prior: a great circle on a hypersphere, and the image of
    a great circle in the noise of a flow. ``auto`` is ``prior`` where the prior has such a path, ``spherical`` where
    its support is real, and ``linear`` otherwise.

    Args:
        model: whose codes they are.
        start: codes.
        end: as many codes.
        count: of the codes on each path, at least 2.
        path: how to go.
        condition: (B, *K) of both ends, for a flow that depends on it.

    Raises:
        ConfigurationError: fewer than two codes are asked for, there is no such path for this prior or size.
    """
    if count < 2:
        raise ConfigurationError(f"a path has at least 2 codes, not {count}.")
    if path not in PATHS:
        raise ConfigurationError(f"there is no path '{path}'.", f"paths: {', '.join(PATHS)}")
    size = math.prod(start.shape[1:])
    chosen = _chosen(model, path, size)
    shares = torch.linspace(0, 1, count, dtype=start.dtype, device=start.device)
    if chosen == "linear":
        return torch.lerp(start, end, shares.reshape(-1, *[1] * start.dim()))
    if chosen == "spherical":
        return _great_circle(start, end, shares)
    assert isinstance(model.prior, Transports)
    noise = _great_circle(
        model.prior.to_noise(start, condition), model.prior.to_noise(end, condition), shares
    )
    codes = torch.stack([model.prior.from_noise(step, condition) for step in noise])
    codes[0], codes[-1] = start, end  # without the rounding of the way there and back
    return codes


def _chosen(model: Model, path: Path, size: int) -> Literal["linear", "spherical", "prior"]:
    """The path that is meant by ``auto`` and ``prior``, which needs a sphere of at least two dimensions."""
    transports = isinstance(model.prior, Transports)
    on_sphere = model.prior.support == "sphere"
    if path == "prior" and not (transports or on_sphere):
        raise ConfigurationError(
            f"the prior {name_of(model.prior)} is neither a sphere nor a flow, so it has no path of its own.",
            "take another path:  linear or spherical",
        )
    if path == "linear" or (
        path == "auto" and not transports and model.prior.support not in ("real", "sphere")
    ):
        return "linear"
    if size < 2:
        if path == "auto" and not on_sphere:
            return "linear"
        raise ConfigurationError(
            "codes of one dimension have no great circle.", "take the straight line:  linear"
        )
    return "prior" if transports and path != "spherical" else "spherical"


def _great_circle(start: Tensor, end: Tensor, shares: Tensor) -> Tensor:
    """(S, B, *Z) codes on the great circles between codes (B, *Z), whose lengths change evenly.

    Where the directions are equal or opposite, which leaves no circle to choose, the path is straight.
    """
    first, last = start.flatten(1), end.flatten(1)
    lengths = first.norm(dim=1, keepdim=True), last.norm(dim=1, keepdim=True)
    one, other = (code / length.clamp(min=1e-12) for code, length in zip((first, last), lengths, strict=True))
    angle = (one * other).sum(1, keepdim=True).clamp(-1, 1).arccos()  # (B, 1)
    at = shares.reshape(-1, 1, 1)
    sine = angle.sin()
    direction = (((1 - at) * angle).sin() * one + (at * angle).sin() * other) / sine.clamp(min=PARALLEL)
    curved = direction * torch.lerp(*lengths, at)
    codes = torch.where(sine > PARALLEL, curved, torch.lerp(first, last, at))
    codes[0], codes[-1] = first, last
    return codes.reshape(len(shares), *start.shape)
