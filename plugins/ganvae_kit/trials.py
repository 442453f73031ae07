"""Components that are made and ready to run: their random inputs, and their outputs by name with the shapes due."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvae_core.engine.phases import PreparedPhase
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import FittedPrior, ObservedData, Posterior
from ganvae_core.training import Objective
from ganvae_core.types import Batch, DataSpec, Loss
from ganvae_kit.checks import CheckFailure
from ganvae_kit.data import condition_of, seeded, x_of
from ganvae_kit.models import phases_of
from ganvae_kit.places import Place, place_of
from ganvae_kit.situations import Inputs, Situation
from ganvae_kit.state import remembered, statistics
from ganvae_kit.subjects import Component

NETWORKS = ("generator", "encoder", "critic", "observation", "prior")
CODES = 300
"""Codes that a prior is fitted to."""
DRAWS = 3
"""Draws of a posterior for each row, where its shapes are checked."""
WEIGHTS_GROW = 2.0
"""Initial weights give logits near zero, where rows hardly differ; these are larger."""


@dataclass(frozen=True)
class Output:
    """An output of a component.

    Args:
        value: the tensor.
        shape: that it must have.
        follows: whether it must follow the input, so that its gradient is not zero.
    """

    value: Tensor
    shape: tuple[int, ...]
    follows: bool = True


Outputs = Mapping[str, Output]


class Trial:
    """A network, an observation or a prior in a situation, with a batch of random rows.

    Args:
        situation: that it is made in.
        rows: of the batch.
        seed: of its weights.
    """

    is_reseeded = False
    """Whether the last call has seeded torch's default generator."""

    def __init__(self, situation: Situation, rows: int = 7, seed: int = 0) -> None:
        self.situation, self.component = situation, situation.component
        self.owns, self.rows = self.component.owns, rows
        self.made: Any = ready(situation, situation.make(seed))
        self.inputs = Inputs.of(situation, self.made, rows)

    @property
    def label(self) -> str:
        """Its name in reports."""
        return self.situation.label

    @property
    def place(self) -> Place | None:
        """Where its class begins."""
        return place_of(type(self.made))

    def call(self) -> Outputs:
        """All outputs, without gradients and from a seed."""
        with torch.no_grad(), seeded() as seed:
            found = self.outputs()
            self.is_reseeded = torch.initial_seed() != seed
            return found

    def outputs(self) -> Outputs:
        """All outputs.

        Raises:
            CheckFailure: one is of another type than its interface says.
        """
        found = _OUTPUTS[self.component.of](self.made, self.inputs, self.situation)
        for name, output in found.items():
            kind = type(cast(object, output.value))
            if not issubclass(kind, Tensor):
                raise CheckFailure(f"{name} is {kind.__name__}, not a tensor")
        return found

    def run(self) -> Outputs:
        """The same as ``call``, with the statistics of batch norm and its like as before afterwards."""
        before = {name: value.clone() for name, value in self.made.state_dict().items()}
        try:
            return self.call()
        finally:
            self.made.load_state_dict(before)

    @contextmanager
    def in_mode(self, training: bool = True) -> Generator[None]:
        """The context in which the engine calls it, in train or in evaluation mode."""
        self.made.train(training)
        yield

    def state(self) -> dict[str, Any]:
        """Everything that a call could change, and must not."""
        allowed = statistics(self.made) if self.made.training else set[str]()
        values = {
            "its input": self.inputs.main.clone(),
            "its x": self.inputs.x.clone(),
            **remembered(self.made),
        }
        return {name: value for name, value in values.items() if name not in allowed}

    def channels_last(self) -> None:
        """Lay images and weights out in memory pixel by pixel, as accelerators get them."""
        self.made.to(memory_format=torch.channels_last)
        self.inputs = self.inputs.each(channels_last)

    def perturbed(self) -> Trial:
        """Move the weights a little, so that none of them is where it began: at zero, say."""
        generator = torch.Generator().manual_seed(4)
        with torch.no_grad():
            for parameter in self.made.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        return self


class PhaseTrial(Trial):
    """A phase of an objective in a situation, with a batch of random rows.

    Args:
        situation: that the objective is made in.
        index: of the phase.
        rows: of the batch.
    """

    def __init__(self, situation: Situation, index: int = 0, rows: int = 8) -> None:
        self.situation, self.component = situation, situation.component
        self.owns, self.rows = self.component.owns, rows
        self.made: Objective = situation.make()
        self.made.train()
        with torch.no_grad():
            for parameter in self.made.parameters():
                parameter.mul_(WEIGHTS_GROW if parameter.dim() > 1 else 1.0)
        self.phases = phases_of(self.made)
        self.prepared: PreparedPhase = self.phases[index]
        self.batch = batch_of(situation.data, rows)
        if self.made.batches == "codes":
            self.batch = replace(self.batch, x=codes(situation.shape, self.made.model.prior.support, rows))

    @property
    def label(self) -> str:
        """Its name in reports."""
        return f"{self.situation.label}, phase '{self.prepared.phase.name}'"

    @property
    def place(self) -> Place | None:
        """Where its loss begins."""
        loss: Any = self.prepared.phase.loss
        return place_of(getattr(loss, "func", loss))  # of a functools.partial

    def loss(self, batch: Batch | None = None) -> Loss:
        """The loss as the engine computes it: from a seed, with a gradient for what the phase trains alone.

        The statistics of batch norm and its like are as before afterwards.
        """
        with seeded() as seed, self.prepared.only_training():
            try:
                return self.prepared.phase.loss(batch or self.batch)
            finally:
                self.is_reseeded = torch.initial_seed() != seed
                self.prepared.moving.put_back()

    def call(self) -> Outputs:
        """The loss and its terms, computed as they are."""
        with seeded():
            return self._named(self.prepared.phase.loss(self.batch))

    def run(self) -> Outputs:
        """The loss and its terms, as the engine computes them."""
        return self._named(self.loss())

    def _named(self, loss: Loss) -> Outputs:
        values = {"the loss": loss.value, **loss.terms}
        return {name: Output(value.detach(), ()) for name, value in values.items()}

    @contextmanager
    def in_mode(self, training: bool = True) -> Generator[None]:
        """The context in which the engine calls it."""
        self.made.train(training)
        with self.prepared.only_training():
            yield

    def state(self) -> dict[str, Any]:
        """Everything that a loss could change, and must not."""
        allowed, batch = statistics(self.made), self.batch
        flags = {f"requires_grad of {name}": p.requires_grad for name, p in self.made.named_parameters()}
        modes = {f"the mode of {name}": part.training for name, part in self.made.named_modules()}
        given = {"the batch's x": batch.x.clone()}
        if batch.condition is not None:
            given["the batch's condition"] = batch.condition.clone()
        return {
            n: v for n, v in {**remembered(self.made), **flags, **modes, **given}.items() if n not in allowed
        }

    def channels_last(self) -> None:
        """Lay the batch's images and the weights out in memory pixel by pixel."""
        self.made.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.batch = replace(self.batch, x=channels_last(self.batch.x))


def trials(component: Component) -> Iterator[Trial]:
    """The component in each situation that it accepts; of an objective, each phase with a fresh objective."""
    return trials_in(component.situations)


def trials_in(situations: Iterable[Situation], rows: int | None = None) -> Iterator[Trial]:
    """The component, or each phase of an objective, in some situations."""
    for situation in situations:
        if situation.component.of != "objective":
            yield Trial(situation, rows or 7)
            continue
        first = PhaseTrial(situation, 0, rows or 8)
        yield first
        for index in range(1, len(first.phases)):
            yield PhaseTrial(situation, index, rows or 8)


def batch_of(data: DataSpec, rows: int) -> Batch:
    """A batch of random rows like the data."""
    return Batch(x_of(data, rows), condition_of(data, rows), None, torch.arange(rows), 0)


def channels_last(x: Tensor) -> Tensor:
    """The same values, laid out pixel by pixel where they are images."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def ready(situation: Situation, made: Any) -> Any:
    """The component, fitted if it is a prior that is fitted on codes."""
    if isinstance(made, FittedPrior) and not made.fitted:
        made.fit(codes(situation.shape, made.support), one_condition(situation, CODES))
    return made


def codes(shape: tuple[int, ...], support: str, count: int = CODES) -> Tensor:
    """(count, *Z) codes in two clusters, as an encoder might give them, in the support of a prior."""
    generator = torch.Generator().manual_seed(2)
    centres = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    z = torch.randn(count, *shape, generator=generator) * 0.5 + centres.reshape(-1, *[1] * len(shape))
    if support == "discrete":  # one-hot along the last axis
        return F.one_hot(z.argmax(-1), shape[-1]).to(z.dtype)
    if support == "sphere":
        return z / z.flatten(1).norm(dim=1).reshape(-1, *[1] * len(shape))
    return z.tanh() if support == "bounded" else z


def one_condition(situation: Situation, count: int) -> Tensor | None:
    """(count, *K) the same condition in every row, or None."""
    condition = condition_of(situation.data, 1)
    return None if condition is None else condition.expand(count, *condition.shape[1:])


def _generator(made: Any, inputs: Inputs, situation: Situation) -> Outputs:
    raw = made(inputs.main, inputs.condition)
    return {"what forward returns": Output(raw, (len(inputs.main), *situation.data.shape))}


def _encoder(made: Any, inputs: Inputs, situation: Situation) -> Outputs:
    posterior = made(inputs.main, inputs.condition)
    if not isinstance(posterior, Posterior):
        raise CheckFailure(
            f"forward returned {type(posterior).__name__}, which is not a Posterior",
            "return ganvae_core.DiagonalNormal(location, log_variance), or ganvae_core.Dirac(location)",
        )
    shape = (len(inputs.main), *situation.shape)
    drawn, several = posterior.rsample(), posterior.rsample((DRAWS,))
    found = {
        "the posterior's mean": Output(posterior.mean, shape),
        "rsample()": Output(drawn, shape),
        f"rsample(({DRAWS},))": Output(several, (DRAWS, *shape)),
    }
    if not made.deterministic:
        # The draws are taken as given, so that what is left is the gradient of the density itself.
        for name, z in (("log_prob(z)", drawn), ("log_prob of several draws", several)):
            value = posterior.log_prob(z.detach())
            found[name] = Output(value, tuple(z.shape[: z.dim() - len(situation.shape)]))
    return found


def _critic(made: Any, inputs: Inputs, situation: Situation) -> Outputs:
    size = getattr(made, "feature_size", None)
    if not isinstance(size, int):
        raise CheckFailure(f"feature_size is {size!r}, not the width of the features")
    logits, features = (give(inputs.main, inputs.condition) for give in (made, made.features))
    return {
        "what forward returns": Output(logits, (len(inputs.main),)),
        "what features returns": Output(features, (len(inputs.main), size)),
    }


def _observation(made: Any, inputs: Inputs, situation: Situation) -> Outputs:
    observed = made(inputs.main)
    if not isinstance(observed, ObservedData):
        raise CheckFailure(f"forward returned {type(observed).__name__}, which is not an ObservedData")
    shape = (len(inputs.main), *situation.data.shape)
    found = {
        "mean": Output(observed.mean, shape),
        "sample()": Output(observed.sample(), shape, follows=False),
    }
    if made.has_likelihood:
        found["log_prob(x)"] = Output(observed.log_prob(inputs.x), shape[:1])
    return found


def _prior(made: Any, inputs: Inputs, situation: Situation) -> Outputs:
    rows = len(inputs.main)
    z = made.sample(rows, inputs.condition)
    at = z.detach().to(inputs.main.dtype).requires_grad_(inputs.main.requires_grad)
    return {
        "sample": Output(z, (rows, *situation.shape), follows=False),
        "log_prob": Output(made.log_prob(at, inputs.condition), (rows,), follows=False),
    }


_OUTPUTS: dict[str, Callable[[Any, Inputs, Situation], Outputs]] = {
    "generator": _generator, "encoder": _encoder, "critic": _critic, "observation": _observation, "prior": _prior,
}  # fmt: skip


def refuses_density(call: Callable[[], object]) -> bool:
    """Whether a call raises the error that says that there is no density."""
    try:
        call()
    except ConfigurationError:
        return True
    return False
