"""From a configuration to components: facts are supplied by name, and wrong pairings are errors here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvae_core.config.configuration import LISTS, SLOTS, Choice, Configuration, Draft
from ganvae_core.config.options import component_facts, component_options
from ganvae_core.data.randomness import borrowed_randomness, mixed_seed, purpose
from ganvae_core.data.split import Split, split
from ganvae_core.engine.phases import check_needs
from ganvae_core.errors import ConfigurationError, GanvaeError
from ganvae_core.interfaces import Callback, Critic, FittedPrior, Metric, Need, Objective, Source
from ganvae_core.model import Model
from ganvae_core.plugins import Catalogue
from ganvae_core.plugins.specs import Kind
from ganvae_core.types import DataSpec

INITIAL = purpose("initial weights")
DRAWN_CONDITIONS = 1_000
"""Conditions that are no labels are drawn from this many of the training data's."""
UNFIT = (ValueError, TypeError, RuntimeError, MemoryError, OverflowError)
"""What a component raises for options that it cannot be made with; torch, for sizes that memory does not hold."""


class Builder:
    """Makes a run's components.

    Args:
        configuration: what to make.
        catalogue: where components come from.
    """

    def __init__(self, configuration: Configuration, catalogue: Catalogue) -> None:
        self.configuration = configuration
        self.catalogue = catalogue

    @property
    def notes(self) -> list[str]:
        """Sentences for the person who started the run, about what was made differently from what was named."""
        components = self.configuration.components
        objective, prior = components["objective"].id, components["prior"].id
        remarks: list[str] = []
        if "encoder" in components and not self._uses_encoder():
            remarks.append(f"'{objective}' trains no encoder, so encoder is left out")
        if "prior" not in self._needs() and not self._is_fitted(prior):
            remarks.append(
                f"'{objective}' does not hold codes to the prior '{prior}', so samples will be noise;"
                " prior=gaussian-mixture is fitted to the codes instead"
            )
        if self.configuration.data.condition and self._is_fitted(prior):
            remarks.append(
                f"'{prior}' is fitted to the codes of all conditions together, so samples follow a condition only"
                " as far as the generator does; prior=normal with a vae follows it"
            )
        return remarks

    def split(self, source: Source | None = None) -> Split:
        """The data, opened and divided; ``source`` stands in for what the configuration names.

        Raises:
            DataError: the data cannot be read, or is not what the source expects.
        """
        opened = (
            self._make("data", "source", self.configuration.components["data"], {})
            if source is None
            else source
        )
        settings = self.configuration.data
        return split(
            opened,
            held_out=settings.held_out,
            split_seed=settings.split_seed,
            conditional=settings.condition,
        )

    def model(self, spec: DataSpec, conditions: tuple[Tensor, Tensor] | None = None) -> Model:
        """A model with fresh weights, which are a function of the seed.

        Args:
            spec: what the data is.
            conditions: (M, *K) conditions to draw from and (M,) their weights, for a conditional model.

        Raises:
            ConfigurationError: components do not go together.
        """
        with borrowed_randomness(torch.device("cpu")) as generator:
            generator.manual_seed(mixed_seed(self.configuration.engine.seed, INITIAL))
            return self._model(spec, conditions)

    def objective(self, spec: DataSpec, conditions: tuple[Tensor, Tensor] | None = None) -> Objective:
        """The objective around a new model.

        Raises:
            ConfigurationError: the objective needs a component that the configuration lacks.
        """
        with borrowed_randomness(torch.device("cpu")) as generator:
            generator.manual_seed(mixed_seed(self.configuration.engine.seed, INITIAL))
            model = self._model(spec, conditions)
            facts = {
                "model": model,
                "encoder": model.encoder,
                "data": spec,
                "latent_shape": self.configuration.latent.shape,
                "condition_shape": spec.condition,
                "critic": self._critic_factory(spec),
            }
            choice = self.configuration.components["objective"]
            made: Objective = self._make("objective", "objective", choice, facts)
        if made.needs & {"encoder", "posterior"} and model.encoder is None:
            self._raise_missing("objective", choice.id, "encoder")
        check_needs(made, f"objective '{choice.id}'")
        return made

    def metrics(self, model: Model, source: DataSpec) -> list[Metric]:
        """The metrics that apply to this model and its data's source, in the order of the configuration."""
        offered = has(model, source)
        return [metric for _, metric in self._metrics() if metric.needs <= offered]

    def unmeasurable(self, model: Model, source: DataSpec) -> dict[str, list[Need]]:
        """Metrics of the configuration that do not apply, by id, and what each of them lacks."""
        offered = has(model, source)
        return {
            identity: sorted(metric.needs - offered)
            for identity, metric in self._metrics()
            if not metric.needs <= offered
        }

    def _metrics(self) -> list[tuple[str, Metric]]:
        chosen = self.configuration.lists["metrics"]
        return [(choice.id, self._make("metrics", "metric", choice, {})) for choice in chosen]

    def callbacks(self) -> list[Callback]:
        """The callbacks, in the order of the configuration."""
        chosen = self.configuration.lists["callbacks"]
        return [self._make("callbacks", "callback", choice, {}) for choice in chosen]

    def component(self, slot: str, facts: Mapping[str, Any]) -> Any:
        """The component of one slot by itself, or the first of a list, given these facts: for the conformance kit.

        Raises:
            ConfigurationError: it refuses its options or facts.
        """
        if slot in LISTS:
            return self._make(slot, LISTS[slot], self.configuration.lists[slot][0], facts)
        return self._make(slot, SLOTS[slot], self.configuration.components[slot], facts)

    def _model(self, spec: DataSpec, conditions: tuple[Tensor, Tensor] | None) -> Model:
        components = self.configuration.components
        latent_shape = self.configuration.latent.shape
        facts: dict[str, Any] = {
            "data": spec, "latent_shape": latent_shape, "condition_shape": spec.condition, "encoder": None
        }  # fmt: skip
        observation = self._make("observation", "observation", components["observation"], facts)
        facts["raw_shape"] = tuple(observation.raw_shape(spec))
        if "encoder" in components and self._uses_encoder():
            facts["encoder"] = self._make("encoder", "encoder", components["encoder"], facts)
        model = Model(
            self._make("generator", "generator", components["generator"], facts),
            self._make("prior", "prior", components["prior"], facts),
            observation,
            facts["encoder"],
            conditions=None if conditions is None else conditions[0],
            condition_weights=None if conditions is None else conditions[1],
        )
        check_shapes(model, spec, latent_shape, facts["raw_shape"])
        return model

    def _uses_encoder(self) -> bool:
        """Whether the objective has a use for an encoder; one that nothing trains would only make noise."""
        objective = self._class("objective", self.configuration.components["objective"].id)
        return bool(self._needs() & {"encoder", "posterior"}) or "encoder" in component_facts(objective)

    def _needs(self) -> frozenset[Need]:
        objective = self._class("objective", self.configuration.components["objective"].id)
        return getattr(objective, "needs", frozenset())

    def _is_fitted(self, prior: str) -> bool:
        made = self._class("prior", prior)
        return isinstance(made, type) and issubclass(made, FittedPrior)

    def _class(self, kind: Kind, identity: str) -> Callable[..., Any]:
        return self.catalogue.load(self.catalogue.component(kind, identity)[1])

    def _critic_factory(self, spec: DataSpec) -> Callable[[DataSpec], Critic] | None:
        choice = self.configuration.components.get("critic")
        if choice is None:
            return None

        def critic(data: DataSpec) -> Critic:
            made = self._make("critic", "critic", choice, {"data": data, "condition_shape": data.condition})
            _check_critic(made, data)
            return made

        return critic

    def _make(self, slot: str, kind: Kind, choice: Choice, facts: Mapping[str, Any]) -> Any:
        """One component with its facts and options.

        Raises:
            ConfigurationError: a fact that it needs is missing.
        """
        component = self._class(kind, choice.id)
        facts = {**facts, **choice.facts}
        given: dict[str, Any] = {}
        for name, required in component_facts(component).items():
            if name not in facts and required:
                raise ConfigurationError(
                    f"{slot}: '{choice.id}' asks for '{name}', which a {kind} is not given.",
                    f"a {kind} may ask for: {', '.join(facts) or 'nothing'}",
                )
            if required and facts[name] is None:
                self._raise_missing(slot, choice.id, name)
            if name in facts:
                given[name] = facts[name]
        nested = component_options(component)
        options = {
            name: self._nested(nested[name].kind, value, facts) for name, value in choice.options.items()
        }
        try:
            return component(**given, **options)
        except GanvaeError:
            raise
        except UNFIT as error:
            raise ConfigurationError(f"{slot}: '{choice.id}' could not be made: {_reason(error)}") from error

    def _nested(self, kind: Kind | None, value: Any, facts: Mapping[str, Any]) -> Any:
        if kind is None:
            return value
        if isinstance(value, list):
            return [self._nested(kind, item, facts) for item in value]
        return self._make(kind, kind, value, facts) if isinstance(value, Choice) else value

    def _raise_missing(self, slot: str, identity: str, name: str) -> None:
        article = "an" if name[0] in "aeiou" else "a"
        kind: Kind | None = {"encoder": "encoder", "critic": "critic"}.get(name)  # pyright: ignore[reportAssignmentType]
        if kind is None:
            raise ConfigurationError(f"{slot} '{identity}' needs {article} {name}, and this run has none.",
                                     "give the data's condition to the model:  data.condition=true")  # fmt: skip
        names = [known for known, _, _ in self.catalogue.components(kind)]
        raise ConfigurationError(
            f"{slot} '{identity}' needs {article} {name}, and this run has none.",
            f"add one: {name}=mlp          {name}s: {', '.join(names)}",
        )


def open_data(catalogue: Catalogue, *layers: Mapping[str, Any]) -> tuple[Choice, Split]:
    """The data that layers of settings name, opened and divided as a run would do it.

    Raises:
        ConfigurationError, PluginError: there is no such source or option, or it cannot be used.
        DataError: the data cannot be read, or is not what the source expects.
    """
    draft = Draft(catalogue)
    for layer in layers:
        draft.apply(layer)
    configuration = draft.finish("", "", needed=("data",))
    return configuration.components["data"], Builder(configuration, catalogue).split()


def has(model: Model, source: DataSpec) -> set[Need]:
    """What a model and its data's source offer to metrics."""
    offers: set[Need] = {"prior"}
    if model.encoder is not None:
        offers |= {"encoder"} if model.encoder.deterministic else {"encoder", "posterior"}
    if model.observation.has_likelihood:
        offers |= {"likelihood"}
    if source.classes is not None:
        offers |= {"labels"}
    return offers


def conditions_of(data: Split) -> tuple[Tensor, Tensor] | None:
    """(M, *K) conditions to draw from and (M,) how often each occurs in the training data; None without any."""
    if not data.conditional:
        return None
    spec = data.source.spec
    if spec.classes:
        labels = np.asarray(data.source.labels(data.training))
        counts = np.bincount(labels, minlength=len(spec.classes))
        return torch.eye(len(counts)), torch.from_numpy(counts).float()
    chosen = data.training[:: max(1, len(data.training) // DRAWN_CONDITIONS)][:DRAWN_CONDITIONS]
    values = torch.from_numpy(np.asarray(data.source.labels(chosen))).float()
    return values, torch.ones(len(values))


def check_shapes(
    model: Model, spec: DataSpec, latent_shape: tuple[int, ...], raw_shape: tuple[int, ...]
) -> None:
    """Send two rows through the model, so that shapes which do not fit are an error now.

    Raises:
        ConfigurationError: names the component and the two shapes.
    """
    condition = None if spec.condition is None else torch.zeros(2, *spec.condition)
    training = model.training
    with torch.no_grad():
        model.eval()
        z = torch.zeros(2, *latent_shape)
        raw = _tried("generator", model.generator, z, condition)
        _expect("generator", model.generator, tuple(raw.shape[1:]), raw_shape, "the observation asks for")
        if model.encoder is not None:
            posterior = _tried("encoder", model.encoder, torch.zeros(2, *spec.shape), condition)
            shape = tuple(posterior.mean.shape[1:])
            _expect("encoder", model.encoder, shape, tuple(latent_shape), "latent.shape is")
    model.train(training)


def _check_critic(critic: Critic, data: DataSpec) -> None:
    condition = None if data.condition is None else torch.zeros(2, *data.condition)
    with torch.no_grad():
        logits = _tried("critic", critic.eval(), torch.zeros(2, *data.shape), condition)
    critic.train()
    _expect("critic", critic, tuple(logits.shape), (2,), "for two rows it must give")


def _tried(slot: str, module: Callable[..., Any], *inputs: Any) -> Any:
    try:
        return module(*inputs)
    except (RuntimeError, ValueError, IndexError) as error:
        shapes = ", ".join(str(tuple(value.shape[1:])) for value in inputs if value is not None)
        raise ConfigurationError(
            f"{slot}: {type(module).__name__} cannot take inputs of shape {shapes}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _expect(slot: str, module: Any, got: tuple[int, ...], wanted: tuple[int, ...], why: str) -> None:
    if got != wanted:
        raise ConfigurationError(
            f"{slot}: {type(module).__name__} gives the shape {got}, and {why} {wanted}.",
            f"take another {slot}, or change latent.shape",
        )
