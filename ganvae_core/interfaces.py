"""The interfaces of what a model is made from, and of data: read these first. ``training`` has those around a model.

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
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ganvae_core.lower_precision import computes_lower
from ganvae_core.types import DataSpec, Rows, Shown

Support = Literal["real", "bounded", "sphere", "discrete", "mixed"]
Need = Literal["prior", "encoder", "posterior", "likelihood", "labels"]
Indices = np.ndarray | slice

ANY_SUPPORT: frozenset[Support] = frozenset(("real", "bounded", "sphere", "discrete", "mixed"))


class _Network(nn.Module, abc.ABC):
    """A module that computes in the run's precision; its outputs are fp32."""

    def __init_subclass__(cls, **arguments: object) -> None:
        super().__init_subclass__(**arguments)
        for name in ("forward", "features"):
            method = vars(cls).get(name)
            if method is not None and not getattr(method, "__isabstractmethod__", False):
                setattr(cls, name, computes_lower(method))


class Generator(_Network):
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

    Estimates of total correlation and of the information of each coordinate need it (Chen et al. 2018).
    """

    @abc.abstractmethod
    def coordinate_log_prob(self, z: Tensor) -> Tensor:
        """(*shape, B, *Z) -> (*shape, B, *Z) nats, the log-density of each coordinate."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(*shape, B, *Z) -> (*shape, B) nats, the sum over the coordinates."""
        terms = self.coordinate_log_prob(z)
        coordinates = self.mean.dim() - 1
        return terms.flatten(-coordinates).sum(-1) if coordinates else terms


class Encoder(_Network):
    """Data to a posterior over codes.

    ``deterministic``: the posterior is a ``Dirac``, which has no density.
    """

    deterministic: bool = False

    @abc.abstractmethod
    def forward(self, x: Tensor, condition: Tensor | None = None) -> Posterior:
        """(B, *X), (B, *K)? -> a posterior over (B, *Z)."""


class LatentPrior(nn.Module, abc.ABC):
    """The distribution that codes are drawn from.

    ``support`` is the set in which codes lie, which objectives compare with ``accepts``: an attribute
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
    """A prior that is fitted after training, to codes of the training data.

    Until ``fitted`` is true, ``sample`` and ``log_prob`` raise ``NotFittedError``.
    """

    @property
    @abc.abstractmethod
    def fitted(self) -> bool:
        """Whether ``fit`` has been run; stored with the weights."""

    @abc.abstractmethod
    def fit(self, codes: Tensor, condition: Tensor | None = None) -> None:
        """Fit to (N, *Z) codes: draws from the posteriors of the averaged (EMA) encoder."""


class MatchedPrior(LatentPrior):
    """A prior that is trained on codes by a loss of its own, because ``log_prob`` costs too much for that.

    Its place is a stage after that of the autoencoder: an objective that needs a prior while it trains refuses it.
    """

    @abc.abstractmethod
    def matching(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *Z) codes -> (B,) the loss of each, of any unit."""


class MixturePrior(LatentPrior):
    """A prior of K components, which may be classes that a model finds by itself."""

    @abc.abstractmethod
    def joint_log_prob(self, z: Tensor) -> Tensor:
        """(B, *Z) codes -> (B, K) nats, log p(z, k) for each component k."""


class Normals(NamedTuple):
    """A mixture of normal distributions over codes of D values.

    Attributes:
        weights: (K,) of the components.
        means: (K, D).
        scale_trils: (K, D, D) Cholesky factors of the covariances.
    """

    weights: Tensor
    means: Tensor
    scale_trils: Tensor


class NormalsPrior(LatentPrior):
    """A prior that is a mixture of normal distributions, so that codes given linear observations have a closed form."""

    @abc.abstractmethod
    def normals(self) -> Normals:
        """The components, of flat codes."""


class ObservedData(abc.ABC):
    """A distribution over data, given a generator's output. Observations return it."""

    @property
    @abc.abstractmethod
    def mean(self) -> Tensor:
        """(B, *X) in the data's range, differentiable."""

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


class NormalData(ObservedData):
    """x is normal around its mean, coordinate by coordinate.

    Attributes:
        log_scale: () for one scale, (*X) or (B, *X).
    """

    log_scale: Tensor


class SequentialData(ObservedData):
    """Each entry of a row is distributed given the entries before it.

    With a mask, ``log_prob`` sums the terms of the observed entries, each given all entries before it, so that x is
    whole.
    """

    @abc.abstractmethod
    def filled(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, *X) x where the mask (B, *X) is true, and elsewhere draws; each entry is given those before it."""


class Observation(nn.Module, abc.ABC):
    """Maps a generator's raw output to a distribution over x within the data's range.

    ``has_likelihood`` is false for points, whose ``log_prob`` raises. ``has_levels`` is true where ``log_prob`` is of
    levels, such as the 256 of 8-bit images, so that bits per dimension have a meaning. ``shown`` selects whether users
    are shown the observation's mean or a draw from it; None leaves it to the view of the data.
    """

    has_likelihood: bool = True
    has_levels: bool = False
    shown: Shown | None = None

    @abc.abstractmethod
    def raw_shape(self, data: DataSpec) -> tuple[int, ...]:
        """*R, the shape of the generator's output for one event."""

    @abc.abstractmethod
    def forward(self, raw: Tensor) -> ObservedData:
        """(B, *R) -> a distribution over (B, *X)."""


class Critic(_Network):
    """Separates real from generated data (a discriminator).

    ``feature_size`` is F, the width of ``features``.
    """

    feature_size: int

    @abc.abstractmethod
    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *X), (B, *K)? -> (B, F)."""

    @abc.abstractmethod
    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        """(B, *X), (B, *K)? -> (B,) logits, larger for rows judged real."""


class Source(abc.ABC):
    """Rows of data, in their own units. Sources work with numpy and import no torch.

    Attributes:
        notes: sentences for users about the data and its treatment.
        why: what was decided about the values, why, and which option decides otherwise; empty where nothing was.
        of_one_file: options that name things within one file, an array of an archive for example. They do not pass to
            other data that a run's model is given.
        is_lazy: rows are read or decoded when they are asked for, so all of them are never asked for at once.
        groups: (N,) numbers of groups, whose rows are held out together or not at all, such as windows that overlap;
            None where rows are independent of each other.
    """

    notes: tuple[str, ...] = ()
    why: str = ""
    of_one_file: ClassVar[frozenset[str]] = frozenset()
    is_lazy: bool = False
    groups: np.ndarray | None = None

    @property
    @abc.abstractmethod
    def spec(self) -> DataSpec:
        """What the data is. Its ``condition`` is what the source could give; labels have ``classes``."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abc.abstractmethod
    def rows(self, indices: Indices) -> Rows:
        """Rows by number, or by slice; the same rows each time. It is called from several threads.

        ``Rows.x`` is of the type that ``spec.units`` names. A slice should return views, so that data is
        not copied.
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
