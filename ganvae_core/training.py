"""The interfaces around a model: objectives, metrics and callbacks.

B is batch, *X the shape of one event, *Z the latent shape, *K the condition's shape. As in ``interfaces``, every class
here is abstract; classes that implement them are final, and no concrete method is overridden.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn

from ganvae_core.interfaces import ANY_SUPPORT, Need, Support
from ganvae_core.model import Model
from ganvae_core.types import Batch, DataSpec, Figure, Phase

T = TypeVar("T")


class Objective(nn.Module, abc.ABC):
    """Owns a model and further modules, such as a critic, and declares what is trained, on which loss, how often.

    ``accepts`` are the supports of priors that the loss can work with. ``needs`` are the requirements of the
    loss: ``prior`` (it samples or evaluates the prior, so the prior must be ready before training),
    ``encoder``, ``posterior`` (an encoder whose posterior has a density), ``likelihood`` (an observation with one).
    A wrong pairing is an error before the first step. ``batches`` is the content of ``Batch.x``: rows of the data, or
    codes (B, *Z), one draw from the averaged encoder's posterior for each of them.
    """

    batches: ClassVar[Literal["rows", "codes"]] = "rows"
    accepts: ClassVar[frozenset[Support]] = ANY_SUPPORT
    needs: ClassVar[frozenset[Need]] = frozenset(("prior",))
    model: Model

    @abc.abstractmethod
    def phases(self) -> Sequence[Phase]:
        """What is trained; called once, when the engine is made."""


class Subject(abc.ABC):
    """What metrics measure: a run's averaged model with its data.

    Everything is computed on first use, batch by batch, on ``device`` and without gradients. Batches, codes
    and reconstructions are cached for other metrics up to a limit of memory. All metrics judge the same
    samples.

    Attributes:
        model: the averaged model, in evaluation mode.
        spec: what the data is, as the model is given it.
        source_spec: what the data is, with labels that the model is not given.
        device: where the model is.
        sample_count: samples that are compared with as many held-out rows, unless a metric says otherwise.
    """

    model: Model
    spec: DataSpec
    source_spec: DataSpec
    device: torch.device
    sample_count: int

    @abc.abstractmethod
    def held_out(self, most: int | None = None) -> Iterator[Batch]:
        """Batches of held-out rows as the model takes them: all of them, or ``most`` that are evenly spread."""

    @abc.abstractmethod
    def training(self, most: int | None = None) -> Iterator[Batch]:
        """Batches of training rows likewise, in the order of the source."""

    @abc.abstractmethod
    def samples(self, count: int) -> Iterator[Batch]:
        """Batches of samples, ``count`` in all, as users are shown them (means or draws); ``index`` is -1."""

    @abc.abstractmethod
    def labels(self, batch: Batch) -> Tensor | None:
        """(B,) class numbers of a batch's rows, or (B, *K) side information; None where the source has neither.

        Of samples, the classes or side information that they were made for.
        """

    @abc.abstractmethod
    def codes(self, batch: Batch) -> Tensor:
        """(B, *Z) means of the posterior.

        Raises:
            ConfigurationError: the model has no encoder.
        """

    @abc.abstractmethod
    def reconstructions(self, batch: Batch) -> Tensor:
        """(B, *X) means of the observation at the means of the posterior.

        Raises:
            ConfigurationError: the model has no encoder.
        """

    @abc.abstractmethod
    def of_batch(self, name: Hashable, batch: Batch, compute: Callable[[], Tensor]) -> Tensor:
        """What ``compute`` gives for a batch, kept under ``name`` for other metrics, such as features."""

    @abc.abstractmethod
    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for all metrics, such as a network that was trained on the data."""


class Metric(abc.ABC):
    """Measures a trained model.

    Attributes:
        needs: as for an objective, and ``labels`` (the source has classes, whether or not the model is given them).
            A metric whose needs are not met is left out. An attribute of the class, or of the instance where it
            depends on the options.
        figures: the results, likewise. The first one of a run's first metric chooses the best checkpoint.
        cheap: whether it is measured with every checkpoint, likewise; others are measured when training ends.
        has_references: whether a figure of samples has a meaning for data in place of samples, as a ceiling and floors.
        ceiling: which rows stand in place of samples in the ceiling: ``training``, or ``held-out`` where samples are
            compared with training rows.
    """

    needs: frozenset[Need] = frozenset()
    figures: Sequence[Figure]
    cheap: bool = True
    has_references: ClassVar[bool] = True
    ceiling: ClassVar[Literal["training", "held-out"]] = "training"

    @abc.abstractmethod
    def measure(self, subject: Subject) -> Mapping[str, float]:
        """Results by the names of ``figures``; one that cannot be computed on so few rows is left out.

        ``NAME_error`` beside a figure is its standard error.

        It is called without gradients. Torch's default generator follows from the run's seed.

        Raises:
            NotApplicable: the figures cannot be had for this model or data, with the reason.
        """


@dataclass(frozen=True)
class TrainingView:
    """A read-only view of training at one moment, for callbacks.

    Args:
        step: steps done, of all stages; intervals are counted in these.
        stage: number of the stage, from 0.
        samples_seen: rows used by this stage so far.
        target_steps: steps after which the run ends.
        model: the averaged model, in evaluation mode.
        objective: the modules that are trained.
        phases: of the objective.
        data: the ``Split`` that training reads.
        settings: the ``EngineSettings``.
        optimizer_settings: the ``OptimizerSettings`` by optimizer name.
        metrics: those of the run.
        device: where the model is.
        directory: of the run, where a callback may write files of its own; None where there is none.
        results: the newest held-out results.
        results_step: the step that they were measured at.
        saved_step: of the newest checkpoint that is on disk.
        ending: whether the run ends here, complete or on request.
        warn: ``warn(message, *hints)`` logs a warning and adds it to the next record.
        stop: ``stop(because)`` ends training after this step; the reason completes "stopped early: …".
        interrupt: ``interrupt()`` ends training after this step and saves it, to be resumed later.
        log: ``log(numbers)`` adds numbers by name to the next record.
    """

    step: int
    stage: int
    samples_seen: int
    target_steps: int
    model: Model
    objective: Objective
    phases: Sequence[Phase]
    data: Any
    settings: Any
    optimizer_settings: Mapping[str, Any]
    metrics: Sequence[Metric]
    device: torch.device
    directory: Path | None
    results: Mapping[str, float]
    results_step: int | None
    saved_step: int | None
    ending: bool
    warn: Callable[..., None]
    stop: Callable[[str], None]
    interrupt: Callable[[], None]
    log: Callable[[Mapping[str, float]], None]


class Callback:
    """An observer of a run. All methods are optional; none is called inside a step."""

    def on_start(self, training: TrainingView) -> None:
        """Before the first step of this fit."""

    def on_step(self, training: TrainingView, record: Mapping[str, Any]) -> None:
        """Each logging interval, with averages since the last: ``step``, ``samples_seen``, ``phase/term`` …

        ``warnings`` are texts for users.
        """

    def on_samples(self, training: TrainingView) -> None:
        """Each sampling interval, and at the end."""

    def on_results(self, training: TrainingView, results: Mapping[str, float]) -> None:
        """When held-out results were measured, before they and the callbacks' states are stored with a checkpoint."""

    def on_checkpoint(self, training: TrainingView) -> None:
        """At the first interval after a checkpoint was begun, when it is on disk: that of ``training.saved_step``."""

    def on_end(self, training: TrainingView) -> None:
        """After the last step of this fit, when it was reached or training was stopped."""

    def on_error(self, training: TrainingView, error: BaseException) -> None:
        """When training fails; the error is raised again afterwards."""

    def state_dict(self) -> dict[str, Any]:
        """JSON values to be stored with a checkpoint."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
