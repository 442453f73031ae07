"""Measuring a model by metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ganvae_core.data.randomness import mixed_seed, purpose, seeded
from ganvae_core.data.split import Split
from ganvae_core.errors import NotApplicable
from ganvae_core.evaluation.sampling import can_sample
from ganvae_core.evaluation.subject import ModelSubject
from ganvae_core.model import Model
from ganvae_core.training import Metric
from ganvae_core.types import Better, Figure

MEASURING = purpose("random numbers of measuring")


def evaluate(
    model: Model,
    data: Split,
    metrics: Sequence[Metric],
    seed: int,
    device: torch.device,
    *,
    cheap_only: bool = False,
    most_rows: int | None = None,
    gaps: dict[str, str] | None = None,
) -> dict[str, float]:
    """The metrics' results by the names of their figures, without errors; empty where no rows are held out.

    Args:
        model: in evaluation mode, on the device.
        data: the model's.
        metrics: what is measured. Those that need a prior which is still to be fitted are left out.
        seed: of the random numbers of each metric, and of the samples that all of them judge.
        device: where the model is.
        cheap_only: leave out metrics that are not cheap.
        most_rows: rows that any metric is given at most; None for as many as it asks for.
        gaps: takes the reasons why figures cannot be had, by their names.
    """
    if len(data.held_out) == 0:
        return {}
    subject = ModelSubject(model, data, seed=seed, device=device, most_rows=most_rows)
    results: dict[str, float] = {}
    for metric in metrics:
        if measurable(metric, model) and (metric.cheap or not cheap_only):
            try:
                found = results_of(metric, subject)
                results.update({one.name: found[one.name] for one in metric.figures if one.name in found})
            except NotApplicable as error:
                if gaps is not None:
                    gaps.update({figure.name: error.message for figure in metric.figures})
    return results


def results_of(metric: Metric, subject: ModelSubject) -> Mapping[str, float]:
    """The results of one metric, which is measured again with fewer rows at once where memory runs out.

    Raises:
        NotApplicable: the figures cannot be had.
        torch.OutOfMemoryError: a single row is too many.
    """
    while True:
        try:
            with torch.no_grad(), seeded(subject.device, mixed_seed(subject.seed, MEASURING)):
                return metric.measure(subject)
        except torch.OutOfMemoryError:
            if subject.rows_at_once == 1:
                raise
        # Outside of the except block: the traceback keeps tensors in memory.
        subject.halve_rows()


def measurable(metric: Metric, model: Model) -> bool:
    """Whether a metric can be computed now: one that uses the prior waits until a ``FittedPrior`` is fitted."""
    return "prior" not in metric.needs or can_sample(model)


def judging_figure(metrics: Sequence[Metric]) -> Figure | None:
    """The figure by which the best checkpoint is chosen: the first of the first metric."""
    return metrics[0].figures[0] if metrics else None


def figures_of(metrics: Sequence[Metric]) -> list[Figure]:
    """The figures of all metrics, in their order."""
    return [figure for metric in metrics for figure in metric.figures]


def judged_by(metrics: Sequence[Metric], results: Mapping[str, float]) -> tuple[str, Better] | None:
    """The name of the result by which the best checkpoint is chosen, and which direction is better.

    It is the first figure of the first metric. Where that one was not measured, no other result takes its place.
    """
    figure = judging_figure(metrics)
    return (figure.name, figure.better) if figure is not None and figure.name in results else None
