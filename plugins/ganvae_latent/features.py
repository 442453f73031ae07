"""What rows are compared by, and how they are classified: parts of the run, and networks of metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ganvae_core.cli.request import need_encoder, open_data
from ganvae_core.errors import ConfigurationError, NotApplicable

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.runs.loading import Run

NETS = ("judge", "efficientnet-lite0", "inception")
"""Of the metrics: a small classifier of the data's own labels, and two networks of ImageNet."""
METRIC_OF_NETS, METRIC_OF_CLASSES = "metrics/memorisation", "metrics/judge"
"""The metrics that give them and their classes; plugins import no other plugin."""
SPACES = ("data", "codes", "critic", *NETS)


def features_of(run: Run, space: str) -> Callable[[Tensor, Tensor | None], Tensor]:
    """(B, *X), (B, *K)? -> (B, F) what rows are compared by: one of ``SPACES``.

    Raises:
        ConfigurationError: the run has no encoder, no critic with features, or such a net cannot be had for its data.
    """
    if space == "data":
        return lambda x, condition: x.flatten(1)
    if space == "codes":
        need_encoder(run)
        return lambda x, condition: run.model.encode(x, condition).mean.flatten(1)
    if space == "critic":
        critic: Any = getattr(run.objective(), "critic", None)
        if critic is None or not hasattr(critic, "features"):
            raise ConfigurationError(
                f"{run.path} has no critic whose features could be compared.",
                "take  judge  or  efficientnet-lite0",
            )
        return critic.features
    net = _net(run, space)
    return lambda x, condition: net(x).to(x.device)


def _net(run: Run, name: str) -> Callable[[Tensor], Tensor]:
    """(B, *X) -> (B, F) of a net by which metrics compare samples with data."""
    return _of_metric(run, METRIC_OF_NETS, f"the features of {name}", "features", net=name)


def classifier_of(run: Run) -> Callable[[Tensor], Tensor]:
    """(B, *X) -> (B,) the class numbers that a small classifier of the data's own labels finds.

    Raises:
        ConfigurationError: the data has no labels.
    """
    return _of_metric(run, METRIC_OF_CLASSES, "labels of samples", "classifier")


def _of_metric(run: Run, metric: str, what: str, method: str, **options: Any) -> Callable[[Tensor], Tensor]:
    from ganvae_core.evaluation.subject import ModelSubject

    made = run.catalogue.load(run.catalogue.component("metric", metric)[1])(**options)
    try:
        return getattr(made, method)(ModelSubject(run.model, open_data(run), device=run.device))
    except NotApplicable as error:
        raise ConfigurationError(f"{what} cannot be had: {error.message}") from error
