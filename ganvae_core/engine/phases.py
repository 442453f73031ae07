"""Phases prepared for training, and the checks of an objective before the first step."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from ganvae_core.engine.flat import FlatTensors
from ganvae_core.errors import ConfigurationError, TrainingError, did_you_mean, name_of
from ganvae_core.interfaces import FittedPrior, MatchedPrior, Need, Support
from ganvae_core.model import has_batch_norm
from ganvae_core.training import Objective
from ganvae_core.types import Loss, Phase

WORDS: Mapping[str, tuple[str, ...]] = {
    "needs": tuple(word for word in get_args(Need) if word != "labels"),
    "accepts": get_args(Support),
}
"""Valid values in an objective's attributes."""

EXAMPLES: Mapping[Support, str] = {
    "bounded": "uniform", "discrete": "autoregressive", "mixed": "composite", "real": "normal", "sphere": "hypersphere",
}  # fmt: skip
"""A prior for each support."""


@dataclass(frozen=True)
class PreparedPhase:
    """A phase with what the engine needs for its updates.

    Args:
        phase: as the objective declares it.
        index: its number.
        parameters: that it trains, in module order.
        frozen: the parameters that only other phases train.
        still: buffers of modules that it does not train, which are put back after it.
        moving: buffers of modules that it trains.
        couples_rows: whether its rows cannot be split.
    """

    phase: Phase
    index: int
    parameters: list[nn.Parameter]
    frozen: list[nn.Parameter]
    still: BufferSnapshot
    moving: BufferSnapshot
    couples_rows: bool

    @contextmanager
    def only_training(self) -> Generator[None]:
        """In this context only the phase's parameters get gradients; other modules' buffers are restored at its end."""
        for parameter in self.frozen:
            parameter.requires_grad_(False)
        self.still.take()
        self.moving.take()
        try:
            yield
        finally:
            self.still.put_back()
            for parameter in self.frozen:
                parameter.requires_grad_(True)


class BufferSnapshot:
    """Values of buffers that a phase must leave as they were: a generator's batch norm in the critic's phase.

    All of them are copied each time: batch norm writes its statistics without raising their version counters, so
    that nothing tells which ones have changed. The values lie in one piece of memory, so that a few launches copy them.
    """

    def __init__(self, buffers: Sequence[Tensor]) -> None:
        self._buffers = [buffer.detach() for buffer in buffers if buffer.numel()]
        self._stored = FlatTensors(self._buffers)
        self._values = self._stored.views
        pairs = zip(self._buffers, self._values, strict=True)
        self._floating = [(buffer, value) for buffer, value in pairs if buffer.is_floating_point()]

    def take(self) -> None:
        """Store the current values of the buffers."""
        if self._buffers:
            torch._foreach_copy_(self._values, self._buffers)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]

    def put_back(self) -> None:
        """Restore the stored values."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._values)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]

    def changes(self) -> list[Tensor]:
        """The difference of each floating-point buffer from its stored value."""
        # Not the plain difference, which is not a number where a buffer holds an infinity.
        return [torch.where(buffer == value, 0.0, buffer - value) for buffer, value in self._floating]

    def move_by(self, changes: Sequence[Tensor]) -> None:
        """Set each floating-point buffer to its stored value plus a difference."""
        for (buffer, value), change in zip(self._floating, changes, strict=True):
            torch.add(value, change, out=buffer)

    def put_back_where(self, failed: Tensor) -> None:
        """Give the buffers the values that were stored if ``failed`` () is not 0, without waiting for it."""
        if not self._buffers:
            return
        current, failed = self._current, failed.bool()
        torch._foreach_copy_(current.views, self._buffers)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]
        for dtype, flat in current.flats.items():
            torch.where(failed, self._stored.flats[dtype], flat, out=flat)
        torch._foreach_copy_(self._buffers, current.views)  # pyright: ignore[reportPrivateImportUsage, reportPrivateUsage]

    @cached_property
    def _current(self) -> FlatTensors:
        return FlatTensors(self._buffers)


def prepare_phases(objective: Objective, *, freeze_unclaimed: bool = False) -> list[PreparedPhase]:
    """Prepare and check the objective's phases.

    Args:
        objective: whose phases they are.
        freeze_unclaimed: freeze the parameters that no phase trains, which is an error otherwise.

    Raises:
        ConfigurationError: two phases share a name, a phase trains nothing, or something that is no module or not the
            objective's, or a trainable parameter is in no phase.
    """
    phases, own = _checked_phases(objective), set(objective.parameters())
    unused = "" if uses_encoder(objective) else "model.encoder."
    trainable = {
        parameter: key
        for key, parameter in objective.named_parameters()
        if parameter.requires_grad and not (unused and key.startswith(unused))
    }
    trained: list[list[nn.Parameter]] = []
    for phase in phases:
        chosen = {parameter for module in phase.trains for parameter in module.parameters()}
        if chosen - own:
            raise ConfigurationError(
                f"phase '{phase.name}' trains a module that is not part of the objective.",
                "assign the module to an attribute of the objective, so that it is saved and moved with it",
            )
        trained.append([parameter for parameter in trainable if parameter in chosen])
        if not trained[-1]:
            raise ConfigurationError(
                f"phase '{phase.name}' trains nothing: its modules have no trainable parameter.",
                "train=[…] may have frozen them: name a part that this objective trains, or leave it out",
            )
    claimed = {parameter for parameters in trained for parameter in parameters}
    unclaimed = {parameter: key for parameter, key in trainable.items() if parameter not in claimed}
    if unclaimed and not freeze_unclaimed:
        raise ConfigurationError(
            f"{name_of(objective)}: no phase trains {', '.join([*unclaimed.values()][:3])}"
            f"{' …' if len(unclaimed) > 3 else ''}.",
            "name its module in the `trains` of a phase, or freeze it with requires_grad_(False)",
        )
    for parameter in unclaimed:
        parameter.requires_grad_(False)
    batch_norm = has_batch_norm(objective)
    prepared: list[PreparedPhase] = []
    for phase, parameters in zip(phases, trained, strict=True):
        frozen = list(claimed.difference(parameters))
        moved = {buffer for module in phase.trains for buffer in module.buffers()}
        still = BufferSnapshot([buffer for buffer in objective.buffers() if buffer not in moved])
        moving = BufferSnapshot([buffer for buffer in objective.buffers() if buffer in moved])
        coupled = phase.couples_rows or batch_norm
        prepared.append(PreparedPhase(phase, len(prepared), parameters, frozen, still, moving, coupled))
    return prepared


def _checked_phases(objective: Objective) -> list[Phase]:
    """The objective's phases, checked: plugins may be written without a type checker."""
    name, phases = type(objective).__name__, cast(Any, objective.phases())
    if not isinstance(phases, Sequence) or not all(isinstance(phase, Phase) for phase in phases):
        raise ConfigurationError(
            f"{name}.phases() returned {phases!r}.",
            "it must return ganvae_core.Phase objects:  return [Phase(NAME, LOSS, trains=[MODULE])]",
        )
    for phase in phases:
        trains: Any = phase.trains
        if not isinstance(trains, Sequence) or not all(isinstance(module, nn.Module) for module in trains):
            raise ConfigurationError(
                f"phase '{phase.name}': `trains` must be a list of modules, not {trains!r}.",
                "write  trains=[self.critic]  or whatever the modules are called",
            )
        if phase.every < 1:
            raise ConfigurationError(
                f"{name}: phase '{phase.name}' has every={phase.every}; it must be at least 1."
            )
    if not phases:
        raise ConfigurationError(f"{name}.phases() is empty: there is nothing to train.")
    names = [phase.name for phase in phases]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"{name}.phases(): two phases have the same name: {names}.")
    return list(phases)


def check_needs(objective: Objective, name: str = "", *, fitted_before: bool = False) -> None:
    """Check an objective's ``needs`` and ``accepts`` against its model.

    Args:
        objective: with its model.
        name: what to call it in messages; its id or its class's name by default.
        fitted_before: whether a stage before has fitted the prior.

    Raises:
        ConfigurationError: something is missing, or the prior's support is one that the loss cannot work with; or
            ``needs`` or ``accepts`` has a word that means nothing, which would have no effect.
    """
    model, name = objective.model, name or f"objective {name_of(objective)}"
    for attribute in WORDS:
        check_words(objective, attribute, name)
    if model.prior.support not in objective.accepts:
        raise ConfigurationError(
            f"{name} cannot work with the prior {name_of(model.prior)}: the support of its codes is"
            f" {model.prior.support}, and this loss takes {' or '.join(sorted(objective.accepts))} codes.",
            f"take another:  prior={EXAMPLES['real' if 'real' in objective.accepts else min(objective.accepts)]}",
        )
    waits = isinstance(model.prior, FittedPrior) and not model.prior.fitted and not fitted_before
    if "prior" in objective.needs and waits:
        raise ConfigurationError(
            f"{name} uses its prior while training, and {name_of(model.prior)} is fitted only after it.",
            "take another:  prior=normal",
            "or fit it to the codes of the trained model:  ganvae fit-prior RUN --prior gaussian-mixture"
            if uses_encoder(objective)
            else "",
        )
    if "prior" in objective.needs and isinstance(model.prior, MatchedPrior):
        raise ConfigurationError(
            f"{name} uses its prior while training, and the density of {name_of(model.prior)} costs too much for"
            " that.",
            "train it afterwards, on the codes:  ganvae fit-prior RUN --prior latent-flow",
            "take another:  prior=flow",
        )
    if isinstance(model.prior, FittedPrior) and model.encoder is None:
        raise ConfigurationError(
            f"{name_of(model.prior)} is fitted on an encoder's codes, and this model has no encoder.",
            "add one (encoder=mlp) or take another prior (prior=normal)",
        )
    if uses_encoder(objective) and model.encoder is None:
        raise ConfigurationError(
            f"{name} needs an encoder, and this model has none.", "add one:  encoder=mlp"
        )
    if "posterior" in objective.needs and model.encoder is not None and model.encoder.deterministic:
        raise ConfigurationError(
            f"{name} needs an encoder with a posterior distribution, and this one gives points.",
            "set:  encoder.posterior=normal",
        )
    if "likelihood" in objective.needs and not model.observation.has_likelihood:
        raise ConfigurationError(
            f"{name} needs an observation with a likelihood, and {name_of(model.observation)} has none.",
            "take one that has:  observation=bernoulli  or  observation=gaussian",
        )


def check_words(objective: Objective | type[Objective], attribute: str, name: str) -> None:
    """Check the values of ``needs`` or ``accepts``: a misspelt one would have no effect.

    Args:
        objective: whose they are, or its class.
        attribute: one of ``WORDS``.
        name: what to call the objective in messages.

    Raises:
        ConfigurationError: it is not a set, or has an unknown word.
    """
    known, given = WORDS[attribute], cast(object, getattr(objective, attribute))
    if not isinstance(given, Set):
        raise ConfigurationError(
            f"{name}: `{attribute}` must be a frozenset of str, not {given!r}.",
            f"write  {attribute} = frozenset({{{known[0]!r}}})",
        )
    for word in sorted(map(str, cast("Set[object]", given) - {*known})):
        raise ConfigurationError(
            f"{name}: `{attribute}` has the unknown word '{word}'.{did_you_mean(word, known)}",
            f"known: {', '.join(known)}",
        )


def check_loss(phase: Phase, loss: object) -> None:
    """Check the first result of a phase's loss.

    Raises:
        TrainingError: it is no ``Loss`` of scalar tensors, or its value does not depend on any parameter.
    """
    where = f"the loss of phase '{phase.name}' ({getattr(phase.loss, '__qualname__', phase.loss)})"
    if not isinstance(loss, Loss):
        raise TrainingError(
            f"{where} returned {type(loss).__name__}.", "it must return ganvae_core.Loss(value, terms)"
        )
    values: dict[str, Any] = {"value": loss.value, **loss.terms}
    for name, value in values.items():
        if not isinstance(value, Tensor) or value.dim():
            found = f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise TrainingError(
                f"{where}: '{name}' is {found}.", "it must be a tensor of shape (), like x.mean()"
            )
    if not loss.value.requires_grad:
        raise TrainingError(
            f"{where}: its value does not depend on what the phase trains.",
            "is it detached, computed under no_grad, or are other modules meant by `trains`?",
        )


def uses_encoder(objective: Objective) -> bool:
    """Whether the loss needs the model's encoder. A GAN on a model that has one leaves it as it is."""
    return bool(objective.needs & {"encoder", "posterior"})


def is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters, and none of them is trained."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)
