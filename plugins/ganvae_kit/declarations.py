"""Checks of a component's class, options and facts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import FunctionType

from ganvae_core import interfaces, training
from ganvae_core.config.configuration import DataSettings
from ganvae_core.config.options import (
    REQUIRED,
    component_facts,
    component_options,
    convert,
    settings_options,
    with_article,
)
from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.plugins.specs import KINDS, Kind
from ganvae_core.types import View
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.subjects import Component

INTERFACES: Mapping[Kind, type] = {
    "generator": interfaces.Generator,
    "encoder": interfaces.Encoder,
    "critic": interfaces.Critic,
    "objective": training.Objective,
    "prior": interfaces.LatentPrior,
    "observation": interfaces.Observation,
    "source": interfaces.Source,
    "view": View,
    "metric": training.Metric,
    "callback": training.Callback,
    "schedule": interfaces.Schedule,
    "optimizer": interfaces.Optimizer,
}
SHAPES = {"data", "latent_shape", "raw_shape", "condition_shape"}
PARTS: set[Kind] = {"generator", "encoder", "prior"}
FACTS: Mapping[Kind, set[str]] = {
    **{part: {*SHAPES, *PARTS} - {part} for part in PARTS},
    "critic": {"data", "condition_shape"},
    "objective": {*SHAPES, *PARTS, "model", "critic"},
    "observation": {"data", "latent_shape", "condition_shape"},
    "source": {"data", "condition", "frame"},
}
"""The facts that the builder supplies; the other kinds have none."""


@check(*KINDS)
def target(component: Component) -> None:
    """Its target can be imported, and is a class of its kind with every abstract method implemented."""
    spec = component.spec
    made, interface = component.target, INTERFACES[spec.kind]
    if not inspect.isclass(made):
        if not callable(made):
            raise CheckFailure(f"{spec.target} is neither a class nor a function that makes one")
        return
    if not issubclass(made, interface):
        message = (
            f"{made.__name__} is described as a {spec.kind}, and does not derive from {interface.__name__}"
        )
        raise CheckFailure(message)
    if inspect.isabstract(made):
        missing = ", ".join(sorted(getattr(made, "__abstractmethods__", ())))
        raise CheckFailure(f"{made.__name__} does not implement {missing}")


@check(*KINDS, needs=["target"])
def methods(component: Component) -> None:
    """Its methods take the arguments that the core passes, and a callback has no misspelt event."""
    made, interface = component.target, INTERFACES[component.spec.kind]
    if not inspect.isclass(made):
        return
    if component.spec.kind == "callback":
        _refuse_unknown_events(made)
    for owner in inspect.getmro(made):
        if not (issubclass(owner, interface) and owner.__module__ == interface.__module__):
            continue
        for name, asked in vars(owner).items():
            own = inspect.getattr_static(made, name)
            if inspect.isfunction(asked) and inspect.isfunction(own) and own is not asked:
                _refuse_signature(made, own, asked)


def _refuse_unknown_events(made: type) -> None:
    known = [name for name in vars(training.Callback) if name.startswith("on_")]
    for name in dir(made):
        function = getattr(made, name)
        if name.startswith("on_") and callable(function) and name not in known:
            message = f"{made.__name__}.{name} is never called.{did_you_mean(name, known)}"
            hint = f"there are: {', '.join(known)}; give your own method another name"
            raise CheckFailure(message, hint)


def _refuse_signature(made: type, own: FunctionType, asked: FunctionType) -> None:
    """With as many arguments as the interface asks for at least, and with all of them."""
    parameters = list(inspect.signature(asked).parameters.values())
    needed = [each for each in parameters if each.default is inspect.Parameter.empty]
    for given in (needed, parameters):
        try:
            inspect.signature(own).bind(*given)
        except TypeError as error:
            written = ", ".join(each.name + ("" if each in needed else "=None") for each in parameters)
            message = f"{made.__name__}.{own.__name__} cannot be called as the core does: {error}"
            hint = f"def {own.__name__}({written})"
            raise CheckFailure(message, hint) from None


@check(*KINDS, needs=["target"])
def options(component: Component) -> None:
    """Each of its options has a type that a configuration can hold, and a default of that type."""
    found = component_options(component.target)
    taken = settings_options(DataSettings) if component.spec.kind == "source" else {}
    for name, option in found.items():
        wrong, hint = "", ""
        if name in (*taken, "name"):
            wrong = f"an option cannot be called '{name}': the name has another meaning in configurations"
        elif option.kind is None and option.default is not REQUIRED:
            try:
                convert(option, option.default, name)
            except ConfigurationError as error:
                wrong = f"the default of an option is not of its type: {error.message}"
                hint = "annotate an option that may be None:  name: float | None = None"
        if wrong:
            raise CheckFailure(wrong, hint)


@check(*KINDS, needs=["target"])
def facts(component: Component) -> None:
    """The positional parameters of its constructor are facts that its kind is given."""
    known = FACTS.get(component.spec.kind, set[str]())
    for name, required in component_facts(component.target).items():
        if required and name not in known:
            given = ", ".join(sorted(known)) or "none"
            kind = with_article(component.spec.kind)
            raise CheckFailure(
                f"it asks for '{name}', which {kind} is not given.{did_you_mean(name, known)}",
                f"facts of {kind}: {given}; an option is keyword-only: put * before it",
            )


@check(*KINDS, needs=["methods", "options", "facts"])
def makes(component: Component) -> None:
    """It can be made with its default options, or the settings given, and accepts some of the data that the kit has."""
    tried = component.tried
    _refuse_given_settings(component)
    refusals = [situation.refusal for situation in tried if situation.refusal]
    for situation in tried:
        crash = situation.refusal.crash if situation.refusal else None
        if situation.refusal and crash and (situation.refusal.in_forward or len(refusals) == len(tried)):
            raise CheckFailure(
                f"{situation.label} fails without being refused: {situation.refusal.reason}",
                "data that it is not for is refused by a ConfigurationError when it is made, which says what it takes",
            ) from crash
    if len(refusals) < len(tried):
        return
    first = refusals[0]
    what = (
        "cannot be made as it is" if component.spec.kind not in FACTS else "accepts nothing that the kit has"
    )
    raise NotChecked(
        f"it {what}: {first.reason}"
        "  (give settings= or data= to PluginSuite, or KIND/NAME:KEY=VALUE to ganvae plugins check)"
    )


def _refuse_given_settings(component: Component) -> None:
    """Refuse settings of the author with which it can be made in no situation.

    Raises:
        CheckFailure: there are such.
    """
    for settings in component.owner.given.settings.get(component.label, ()):
        refusals = [at.refusal for at in component.tried if at.settings is settings]
        first = next((refusal for refusal in refusals if refusal), None)
        if settings and first and all(refusals):
            written = ", ".join(f"{key}={value}" for key, value in settings.items())
            raise CheckFailure(f"it cannot be made with {written}: {first.reason}")
