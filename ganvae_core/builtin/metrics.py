"""Metrics that every model with an encoder can be measured by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from torch import Tensor

from ganvae_core.interfaces import Metric
from ganvae_core.model import Model

CHUNK = 256


def _mean(values: list[Tensor]) -> float:
    """The mean of per-row values that came in chunks."""
    rows = sum(len(value) for value in values)
    return float(sum(value.double().sum() for value in values)) / rows


@final
class Elbo(Metric):
    """The evidence lower bound of held-out rows, in nats a row (Kingma and Welling 2013)."""

    needs: ClassVar = frozenset({"posterior", "likelihood", "prior"})
    better: ClassVar = "higher"

    def compute(self, model: Model, x: Tensor, condition: Tensor | None) -> Mapping[str, float]:
        """``elbo_nats``: one draw of z a row, the KL in closed form where there is one."""
        bounds: list[Tensor] = []
        for start in range(0, len(x), CHUNK):
            given = None if condition is None else condition[start : start + CHUNK]
            bounds.append(model.log_likelihood_bound(x[start : start + CHUNK], given))
        return {"elbo_nats": _mean(bounds)}


@final
class Reconstruction(Metric):
    """The squared error of reconstructing held-out rows, summed over the event."""

    needs: ClassVar = frozenset({"encoder"})
    better: ClassVar = "lower"

    def compute(self, model: Model, x: Tensor, condition: Tensor | None) -> Mapping[str, float]:
        """``squared_error``: averaged over rows, in the model's range."""
        errors: list[Tensor] = []
        for start in range(0, len(x), CHUNK):
            rows = x[start : start + CHUNK]
            given = None if condition is None else condition[start : start + CHUNK]
            errors.append((model.reconstruct(rows, given) - rows).square().flatten(1).sum(1))
        return {"squared_error": _mean(errors)}
