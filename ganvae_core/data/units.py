"""Values of a source to those of a model, and back, as ``Units`` says, without torch."""

from __future__ import annotations

import numpy as np

from ganvae_core.types import Units


def to_x(raw: np.ndarray, units: Units) -> np.ndarray:
    """(N, *X) in a source's units -> (N, *X) as a model is given them, in float64."""
    offset, scale = (np.reshape(values, units.shape(values)) for values in (units.offset, units.scale))
    return (raw - offset) / scale


def from_units(x: np.ndarray, units: Units) -> np.ndarray:
    """(N, *X) in the units of which these are."""
    scale = np.array(units.scale)
    scale[list(units.constant)] = 0.0
    offset = np.reshape(units.offset, units.shape(units.offset))
    raw = x.astype(np.float64) * scale.reshape(units.shape(units.scale)) + offset
    if units.whole:
        raw[..., list(units.whole)] = np.rint(raw[..., list(units.whole)])
    kind = np.dtype(units.dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return np.clip(np.rint(raw), limits.min, limits.max).astype(kind)
    return raw >= 0.5 if kind.kind == "b" else raw.astype(kind)
