"""What is done with the averaged model outside of steps: measuring it, and fitting its prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ganvae_core.data.codec import rows_of
from ganvae_core.data.randomness import borrowed_randomness, mixed_seed, purpose
from ganvae_core.data.split import Split
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import FittedPrior, Metric
from ganvae_core.model import Model

MEASURING = purpose("random numbers of measuring")
SAMPLING = purpose("random numbers of sampling")
CHUNK = 256
"""Rows that go through a network at once outside of training."""
MEASURED_ROWS = 2_000
FITTED_ROWS = 20_000


def evaluate(
    model: Model, data: Split, metrics: Sequence[Metric], seed: int, device: torch.device
) -> dict[str, float]:
    """Results of the metrics on held-out rows, at most ``MEASURED_ROWS``, the same ones every time.

    Metrics that cannot be computed yet are left out.
    """
    if not metrics or len(data.held_out) == 0:
        return {}
    x, condition, _ = rows_of(data, evenly(data.held_out, MEASURED_ROWS), device)
    results: dict[str, float] = {}
    with torch.no_grad(), borrowed_randomness(device) as generator:
        for metric in (each for each in metrics if measurable(each, model)):
            generator.manual_seed(mixed_seed(seed, MEASURING))
            results.update(metric.compute(model, x, condition))
    return results


def measurable(metric: Metric, model: Model) -> bool:
    """Whether a metric can be computed now: one that uses the prior waits for a prior that is fitted after training."""
    return "prior" not in metric.needs or not isinstance(model.prior, FittedPrior) or model.prior.fitted


def judged_by(
    metrics: Sequence[Metric], model: Model, results: Mapping[str, float]
) -> tuple[str, str] | None:
    """The result by which the best checkpoint is chosen, and whether the lower or the higher is better.

    It is the first metric's. Where that one had to wait for the prior, others' results are no substitute.

    Args:
        metrics: all of the run's.
        model: that was measured.
        results: as ``evaluate`` has just returned them.
    """
    if not results or not measurable(metrics[0], model):
        return None
    return next(iter(results)), metrics[0].better


def encode_rows(
    model: Model, data: Split, indices: np.ndarray, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """(N, *Z) means of the posterior for chosen rows, and the conditions that went with them."""
    codes: list[Tensor] = []
    conditions: list[Tensor] = []
    with torch.no_grad():
        for start in range(0, len(indices), CHUNK):
            x, condition, _ = rows_of(data, indices[start : start + CHUNK], device)
            codes.append(model.encode(x, condition).mean)
            if condition is not None:
                conditions.append(condition)
    return torch.cat(codes), torch.cat(conditions) if conditions else None


def sample_rows(
    model: Model,
    count: int,
    seed: int,
    device: torch.device,
    condition: Tensor | None = None,
    *,
    noise: bool = False,
) -> Tensor:
    """(count, *X) samples that are a function of the seed: the first ten of a hundred are the ten of ten.

    Args:
        condition: (count, *K); None draws conditions as the training data has them.
        noise: draw from the observation instead of taking its mean.

    Raises:
        ConfigurationError: the count is not positive, or there are fewer or more conditions.
    """
    return sample_pairs(model, count, seed, device, condition, noise=noise)[0]


def sample_pairs(
    model: Model,
    count: int,
    seed: int,
    device: torch.device,
    condition: Tensor | None = None,
    *,
    noise: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """What ``sample_rows`` gives, and the conditions (count, *K) that it was made for, where the model takes any."""
    if count < 1:
        raise ConfigurationError(f"{count} samples cannot be drawn: it must be at least 1.")
    if condition is not None and len(condition) != count:
        raise ConfigurationError(
            f"there are {len(condition)} conditions for {count} samples; give one for each."
        )
    parts: list[Tensor] = []
    conditions: list[Tensor] = []
    with torch.no_grad(), borrowed_randomness(device) as generator:
        for start in range(0, count, CHUNK):
            generator.manual_seed(mixed_seed(seed, SAMPLING, start))
            # A whole chunk is drawn whatever is wanted of it: draws depend on how many there are.
            given = (
                model.draw_conditions(CHUNK)
                if condition is None
                else _padded(condition[start : start + CHUNK].to(device))
            )
            parts.append(model.sample(CHUNK, given, noise=noise)[: count - start].cpu())
            if given is not None:
                conditions.append(given[: count - start].cpu())
    return torch.cat(parts), torch.cat(conditions) if conditions else None


def _padded(condition: Tensor) -> Tensor:
    """(CHUNK, *K): the last condition again where there are fewer."""
    missing = CHUNK - len(condition)
    return (
        torch.cat([condition, condition[-1:].expand(missing, *condition.shape[1:])]) if missing else condition
    )


def fit_prior(model: Model, data: Split, device: torch.device) -> float:
    """Fit the model's prior to the codes of training rows, at most ``FITTED_ROWS`` of them.

    Returns:
        Mean of log p(z) over these codes, in nats.
    """
    assert isinstance(model.prior, FittedPrior)
    codes, condition = encode_rows(model, data, evenly(data.training, FITTED_ROWS), device)
    model.prior.fit(codes, condition)
    with torch.no_grad():
        return model.prior.log_prob(codes, condition).mean().item()


def evenly(indices: np.ndarray, count: int) -> np.ndarray:
    """At most ``count`` of the indices, evenly spread over them."""
    if len(indices) <= count:
        return indices
    return indices[np.linspace(0, len(indices) - 1, count).round().astype(np.int64)]
