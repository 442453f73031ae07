"""The interfaces that plugins implement: read these first.

B is batch, *X the shape of one event, *Z the latent shape, *K the condition's shape, *R the raw shape that the
observation asks of the generator. Every class here is abstract; classes that implement them are final, and no
concrete method is overridden.

A component's keyword-only parameters, typed and with defaults, are its options. Its positional parameters are
facts that the builder supplies by name: ``data``, ``latent_shape``, ``raw_shape``, ``condition_shape``, ``model``,
``encoder``, ``generator``, ``prior``, ``critic``. A default of None makes a fact optional.

``View``, which needs no torch, is in ``ganvae_core.types``.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ganvae_core.types import Batch, DataSpec, Figure, Phase, Rows, Shown

if TYPE_CHECKING:
    from ganvae_core.model import Model

Support = Literal["real", "bounded", "sphere", "discrete", "mixed"]
Need = Literal["prior", "encoder", "posterior", "likelihood", "labels"]
Indices = np.ndarray | slice

ANY_SUPPORT: frozenset[Support] = frozenset(("real", "bounded", "sphere", "discrete", "mixed"))


class Generator(nn.Module, abc.ABC):
    """Latent codes to the parameters of an observation (the decoder of a VAE)."""

    @abc.abstractmethod
    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z), (B, *K)? -> (B, *R)."""


class Posterior(abc.ABC):
    """A distribution over codes, one for each row of a batch. Subclasses are dataclasses of tensors."""

    @property
    @abc.abstractmethod
    def mean(self) -> Tensor:
        """(B, *Z)."""

    @abc.abstractmethod
    def rsample(self, shape: tuple[int, ...] = ()) -> Tensor:
        """(*shape, B, *Z), differentiable with respect to the distribution's parameters."""

    @abc.abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """(*shape, B, *Z) -> (*shape, B) nats.

        Raises:
            ConfigurationError: the distribution has no density (``Dirac``).
        """


class FactorisedPosterior(Posterior):
    """A posterior whose coordinates are independent, so that each of them has a density.

    What estimates of total correlation and of the information of each coordinate need (Chen et al. 2018).
    """

    @abc.abstractmethod
    def coordinate_log_prob(self, z: Tensor) -> Tensor:
        """(*shape, B, *Z) -> (*shape, B, *Z) nats, the log-density of each coordinate."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(*shape, B, *Z) -> (*shape, B) nats, the sum over the coordinates."""
        terms = self.coordinate_log_prob(z)
        coordinates = self.mean.dim() - 1
        return terms.flatten(-coordinates).sum(-1) if coordinates else terms


class Encoder(nn.Module, abc.ABC):
    """Data to a posterior over codes.

    ``deterministic`` says that the posterior is a ``Dirac``, which has no density.
    """

    deterministic: bool = False

    @abc.abstractmethod
    def forward(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        """(B, *X), (B, *K)? -> a posterior over (B, *Z)."""


class LatentPrior(nn.Module, abc.ABC):
    """The distribution that codes are drawn from.

    ``support`` says where codes live, so that an objective can refuse a prior that it cannot work with: an attribute
    of the class, or of the instance where it depends on the options. ``latent_shape`` is *Z; without it the model
    cannot decode several draws a row, (K, B, *Z).
    """

    support: Support
    latent_shape: tuple[int, ...]

    @abc.abstractmethod
    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        """(count, *Z), drawn with torch's default generator of the prior's device."""

    @abc.abstractmethod
    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) -> (B,) nats."""


class FittedPrior(LatentPrior):
    """A prior that is fitted after training, on the codes of the training data.

    Until ``fitted`` is true, ``sample`` and ``log_prob`` raise ``NotFittedError``.
    """

    @property
    @abc.abstractmethod
    def fitted(self) -> bool:
        """Whether ``fit`` has been run; stored with the weights."""

    @abc.abstractmethod
    def fit(self, codes: Tensor, condition: Tensor | None = None) -> None:
        """Fit to (N, *Z) codes of the averaged (EMA) encoder."""


class ObservedData(abc.ABC):
    """A distribution over data, given a generator's output; what an observation returns."""

    @property
    @abc.abstractmethod
    def mean(self) -> Tensor:
        """(B, *X) in the data's range, differentiable: what a user sees."""

    @abc.abstractmethod
    def sample(self) -> Tensor:
        """(B, *X) a draw, in the data's range."""

    @abc.abstractmethod
    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(*S, B, *X) -> (*S, B) nats, summed over the entries of the event that were observed.

        Args:
            x: data, with any leading sample axes.
            mask: (B, *X) bool, true where x was observed; None where all of it was.

        Raises:
            ConfigurationError: the observation is a point and has no likelihood.
        """


class Observation(nn.Module, abc.ABC):
    """Turns a generator's raw output into a distribution over x, and owns the mapping to the data's range.

    ``has_likelihood`` is false for points, whose ``log_prob`` raises. ``shown`` says whether a user is shown the
    observation's mean or a draw from it; None leaves it to the view of the data.
    """

    has_likelihood: bool = True
    shown: Shown | None = None

    @abc.abstractmethod
    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        """*R: what the generator must put out for one event."""

    @abc.abstractmethod
    def forward(self, raw: Tensor) -> ObservedData:
        """(B, *R) -> a distribution over (B, *X)."""


class Critic(nn.Module, abc.ABC):
    """Tells real data from generated data (the field's discriminator).

    ``feature_size`` is F, the width of ``features``.
    """

    feature_size: int

    @abc.abstractmethod
    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *X), (B, *K)? -> (B, F)."""

    @abc.abstractmethod
    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *X), (B, *K)? -> (B,) logits, larger for what looks real."""


class Objective(nn.Module, abc.ABC):
    """Owns a model and its scaffolding (a critic, say), and declares what is trained, on what loss, how often.

    ``accepts`` are the supports of priors that the loss can work with. ``needs`` are what must be there for the
    loss to be computed: ``prior`` (it samples or evaluates the prior, so the prior must be ready before training),
    ``encoder``, ``posterior`` (an encoder whose posterior has a density), ``likelihood`` (an observation with one).
    A wrong pairing is an error before the first step. ``batches`` says what ``Batch.x`` holds: rows of the data, or
    codes, the means (B, *Z) that the averaged encoder gives for them.
    """

    batches: ClassVar[Literal["rows", "codes"]] = "rows"
    accepts: ClassVar[frozenset[Support]] = ANY_SUPPORT
    needs: ClassVar[frozenset[Need]] = frozenset(("prior",))
    model: Model

    @abc.abstractmethod
    def phases(self) -> Sequence[Phase]:
        """What is trained; called once, when the engine is made."""


class Source(abc.ABC):
    """Rows of data, in their own units. Sources work with numpy and import no torch.

    ``notes`` are sentences for the person whose data it is: what was found in it and how that is treated.
    """

    notes: tuple[str, ...] = ()

    @property
    @abc.abstractmethod
    def spec(self) -> DataSpec:
        """What the data is. Its ``condition`` is what the source could give; labels have ``classes``."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abc.abstractmethod
    def rows(self, indices: Indices) -> Rows:
        """Rows by number, or by slice; the same rows each time.

        ``Rows.x`` is of the type that ``spec.units`` names. A slice should return views, so that data in memory is
        never held twice.
        """

    @abc.abstractmethod
    def labels(self, indices: Indices | None = None) -> np.ndarray | None:
        """The labels of rows, by default of all, as in ``Rows``, without reading x; None where there are none."""


class Schedule(abc.ABC):
    """A number as a function of the rows seen: a weight, a temperature, a factor of the learning rate.

    An option annotated ``Schedule | float`` takes a number or ``{name: linear, from: 0, to: 1, samples: 500000}``.
    """

    @abc.abstractmethod
    def __call__(self, samples_seen: int, total_samples: int | None = None) -> float:
        """The value of the step that starts after ``samples_seen`` rows, of ``total_samples`` in the whole training.

        Raises:
            ConfigurationError: the value depends on ``total_samples``, and that is None.
        """


class Optimizer(abc.ABC):
    """Makes a torch optimizer; its options are those of the algorithm beside the learning rate."""

    @abc.abstractmethod
    def make(self, parameters: Sequence[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        """The torch optimizer over these parameters."""


class Subject(abc.ABC):
    """What metrics measure: a run's averaged model with its data.

    Everything is computed when first asked for, batch by batch, on ``device`` and without gradients. Batches, codes
    and reconstructions are kept for other metrics as far as memory is set aside for them. All metrics judge the same
    samples.

    Attributes:
        model: the averaged model, in evaluation mode.
        spec: what the data is, as the model is given it.
        source_spec: what the data is, with labels that the model is not given.
    """

    model: Model
    spec: DataSpec
    source_spec: DataSpec
    device: torch.device

    @abc.abstractmethod
    def held_out(self, most: int | None = None) -> Iterator[Batch]:
        """Batches of held-out rows as the model takes them: all of them, or ``most`` that are evenly spread."""

    @abc.abstractmethod
    def training(self, most: int | None = None) -> Iterator[Batch]:
        """Batches of training rows likewise, in the order of the source."""

    @abc.abstractmethod
    def samples(self, count: int) -> Iterator[Batch]:
        """Batches of samples, ``count`` in all, as a person is shown them (means or draws); ``index`` is -1."""

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


class Metric(abc.ABC):
    """Measures a trained model.

    Attributes:
        needs: as for an objective, and ``labels`` (the source has classes, whether or not the model is given them).
            A metric whose needs are not met is left out. An attribute of the class, or of the instance where it
            depends on the options.
        figures: the results, likewise. The first one of a run's first metric chooses the best checkpoint.
        cheap: whether it is measured with every checkpoint; others are measured when training ends.
    """

    needs: frozenset[Need] = frozenset()
    figures: Sequence[Figure]
    cheap: ClassVar[bool] = True

    @abc.abstractmethod
    def measure(self, subject: Subject) -> Mapping[str, float]:
        """Results by the names of ``figures``; one that cannot be computed on so few rows is left out.

        It is called without gradients. Torch's default generator follows from the run's seed.
        """


@dataclass(frozen=True)
class TrainingView:
    """What a callback sees of training, as it is at one moment. Nothing of it is to be changed.

    Args:
        step: steps done, of all stages.
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
        ending: whether this is the end of the run, reached or asked for.
        warn: ``warn(message, *hints)`` logs a warning and adds it to the next record.
        stop: ``stop(because)`` ends training after this step; the reason completes "stopped early: …".
        interrupt: ``interrupt()`` ends training after this step and saves it, to be resumed later.
        log: ``log(numbers)`` adds numbers by name to the next record.
    """

    step: int
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
    """Something that watches a run. All methods are optional; none runs inside a step."""

    def on_start(self, training: TrainingView) -> None:
        """Before the first step of this fit."""

    def on_step(self, training: TrainingView, record: Mapping[str, Any]) -> None:
        """Each logging interval, with averages since the last: ``step``, ``samples_seen``, ``phase/term`` …

        ``warnings`` are texts for the person who trains.
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
