"""Makes components from a configuration; checks that they go together."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganvae_core.config.configuration import OF_OPTIMIZERS, Draft
from ganvae_core.config.options import component_facts, component_options, with_article
from ganvae_core.config.settings import Choice, Configuration, StageSettings, choices
from ganvae_core.data.codec import Codec
from ganvae_core.data.randomness import mixed_seed, purpose, seeded
from ganvae_core.data.split import Split, split
from ganvae_core.engine.optimizers import OptimizerSettings
from ganvae_core.engine.phases import check_needs
from ganvae_core.errors import ConfigurationError, DataError, GanvaeError, name_of
from ganvae_core.interfaces import Critic, FittedPrior, Need, Source
from ganvae_core.model import Model
from ganvae_core.plugins import Catalogue
from ganvae_core.training import Callback, Metric, Objective
from ganvae_core.types import DataSpec
from ganvae_core.views.finding import view_of

INITIAL = purpose("initial weights")
MOST_CONDITIONS = 20_000
"""Different combinations of columns to draw from; the rarest beyond are never drawn."""
DRAWN_CONDITIONS = 1_000
"""Number of training conditions to draw from where they are no labels."""
WITH_ENCODER: frozenset[Need] = frozenset({"encoder", "posterior"})
OF_AN_OPTION = re.compile(r"(\w+)(?=:| must be | cannot be )")
"""The beginning of an error that names an option."""
UNFIT = (ValueError, TypeError, RuntimeError, MemoryError, OverflowError)
"""Exceptions of a component for impossible options, and of torch for sizes beyond the memory."""


class Facts(dict[str, Any]):
    """Facts by name. Parts of the model are made when they are first asked for.

    Args:
        known: facts with their values.
        makers: functions that make the parts of a model; a part may ask for others.
    """

    def __init__(
        self, known: Mapping[str, Any], makers: Mapping[str, Callable[[], Any]] | None = None
    ) -> None:
        super().__init__(known)
        self.makers = dict(makers or {})
        self._making: list[str] = []

    def __missing__(self, name: str) -> Any:
        if name in self._making:
            circle = self._making[self._making.index(name) :]
            raise ConfigurationError(
                f"the {' and the '.join(circle)} require each other, so none can be made first.",
                f"take another {circle[-1]}",
            )
        self._making.append(name)
        self[name] = made = self.makers[name]()
        self._making.pop()
        return made

    @property
    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self, *self.makers})

    def over(self, others: Mapping[str, Any]) -> Facts:
        """These with others in their place."""
        return Facts(others, {name: functools.partial(self.__getitem__, name) for name in self.names})


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
        remarks = [
            f"{name} follows {value.id}: {', '.join(f'{key} {shown}' for key, shown in value.options.items())}"
            for choice in self._objectives()
            for name, value in choice.options.items()
            if isinstance(value, Choice) and value.kind == "schedule"
        ]
        if "encoder" in components and not self._uses_encoder():
            remarks.append(f"'{objective}' trains no encoder, so encoder is left out")
        if self.configuration.data.condition and self.fits_prior:
            remarks.append(
                f"'{prior}' is fitted to the codes of all conditions together, so samples follow a condition only"
                " as far as the generator does; prior=normal with a vae follows it"
            )
        return remarks

    def check(self) -> None:
        """Refuse options that are out of range or do not go together, as far as no data is needed to find them.

        Raises:
            ConfigurationError: an optimizer, callback, metric or schedule refuses its options.
        """
        for stage in (None, *self.configuration.stages):
            self.optimizers(stage)
        for choice in self._objectives():
            for name, value in choice.options.items():
                if isinstance(value, Choice) and value.kind == "schedule":
                    # A loss does not depend on the length of the training.
                    self._make(value, Facts({}), f"objective.{name}")(0)

    def split(
        self, source: Source | None = None, *, frame: Any = None, trained: DataSpec | None = None
    ) -> Split:
        """The data, opened and divided.

        Args:
            source: stands in for what the configuration names.
            frame: a data frame in place of the file that the configuration's source reads.
            trained: the specification of the data that a model was trained on, to which this data is to be fitted.

        Raises:
            DataError: the data cannot be read, or is not what the source expects.
        """
        settings = self.configuration.data
        opened: Source
        if source is None:
            facts = {"data": trained, "condition": settings.condition, "frame": frame}
            opened = self.component(self.configuration.components["data"], facts)
        else:
            opened = source
        columns = settings.condition
        if not isinstance(columns, bool) and opened.spec.details.get("given") != list(columns):
            if trained is not None:
                raise DataError(
                    f"this data does not fit the run: it is not a table with the columns {', '.join(columns)},"
                    " which are the run's condition."
                )
            raise DataError(
                f"data.condition: {list(columns)} are columns, and this data has none that a model can be given.",
                "columns of a table can be conditions; labels are given by  data.condition=true",
            )
        if trained is not None and columns and opened.spec.condition is None:
            raise DataError(
                "this data has no labels or other condition, and the model takes one.",
                "give one for all rows:  --condition C",
            )
        return split(
            opened,
            held_out=settings.held_out,
            split_seed=settings.split_seed,
            conditional=bool(columns),
        )

    def model(self, spec: DataSpec, conditions: tuple[Tensor, Tensor] | None = None) -> Model:
        """A model with fresh weights, which are a function of the seed.

        Args:
            spec: what the data is.
            conditions: (M, *K) conditions to draw from and (M,) their weights, for a conditional model.

        Raises:
            ConfigurationError: components do not go together.
        """
        with self._seeded():
            return self._model(spec, conditions)

    def objective(self, spec: DataSpec, conditions: tuple[Tensor, Tensor] | None = None) -> Objective:
        """The objective of the first stage around a new model.

        Raises:
            ConfigurationError: the objective needs a component that the configuration lacks.
        """
        components = self.configuration.components
        with self._seeded():
            model = self._model(spec, conditions)
            return self._objective(model, spec, components["objective"], components.get("critic"))

    def stage_objective(self, number: int, model: Model, spec: DataSpec) -> Objective:
        """The objective of a further stage on the run's model; fresh weights are a function of seed and number.

        Args:
            number: from 0, in ``configuration.stages``.
            model: that the stages before have trained.
            spec: what the data is.

        Raises:
            ConfigurationError: the objective needs a component that the configuration lacks.
        """
        stage = self.configuration.stages[number]
        with self._seeded(number + 1):
            return self._objective(model, spec, stage.objective, stage.critic)

    def optimizers(self, stage: StageSettings | None = None) -> dict[str, OptimizerSettings]:
        """The optimizers of a stage by name; by default of the first one.

        Raises:
            ConfigurationError: an option is out of range.
        """
        given = self.configuration.optimizers if stage is None else stage.optimizers
        return {name: self._optimizer(f"optimizers.{name}", choice) for name, choice in given.items()}

    def metrics(self, model: Model, source: DataSpec) -> list[Metric]:
        """The metrics that apply to this model and its data's source, in the order of the configuration."""
        offered = has(model, source)
        return [metric for _, metric in self.all_metrics(source) if metric.needs <= offered]

    def unmeasurable(self, model: Model, source: DataSpec) -> dict[str, list[Need]]:
        """Metrics of the configuration that do not apply, by id, and what each of them lacks."""
        offered = has(model, source)
        return {
            identity: sorted(metric.needs - offered)
            for identity, metric in self.all_metrics()
            if not metric.needs <= offered
        }

    def all_metrics(self, source: DataSpec | None = None) -> list[tuple[str, Metric]]:
        """The metrics of the configuration with their ids, whether or not they apply.

        Args:
            source: the specification of the data as its source has it; None where it is not known yet.
        """
        facts, chosen = Facts({"data": source}), self.configuration.lists["metrics"]
        return [(choice.id, self._make(choice, facts, "metrics")) for choice in chosen]

    @property
    def learns_prior(self) -> bool:
        """Whether codes are held to the prior or the prior learns them, so that samples look like data."""
        return self.fits_prior or any(
            "prior" in self._needs(choice) or getattr(self._class(choice), "batches", "rows") == "codes"
            for choice in self._objectives()
        )

    @property
    def takes_real_codes(self) -> bool:
        """Whether every objective takes a prior over all real codes."""
        return all("real" in getattr(self._class(choice), "accepts", ()) for choice in self._objectives())

    @property
    def fits_prior(self) -> bool:
        """Whether the prior is fitted in closed form when training ends."""
        made = self._class(self.configuration.components["prior"])
        return isinstance(made, type) and issubclass(made, FittedPrior)

    def callbacks(self) -> list[Callback]:
        """The callbacks, in the order of the configuration."""
        return [
            self._make(choice, Facts({}), "callbacks") for choice in self.configuration.lists["callbacks"]
        ]

    def component(self, choice: Choice, facts: Mapping[str, Any] | None = None) -> Any:
        """A component by itself, given these facts.

        Raises:
            ConfigurationError: it refuses its options or facts.
        """
        return self._make(choice, Facts(facts or {}))

    def _seeded(self, *purposes: int) -> AbstractContextManager[None]:
        seed = mixed_seed(self.configuration.engine.seed, INITIAL, *purposes)
        return seeded(torch.device("cpu"), seed)

    def _model(self, spec: DataSpec, conditions: tuple[Tensor, Tensor] | None) -> Model:
        components = self.configuration.components
        for choice in self._objectives():
            if self._needs(choice) & WITH_ENCODER and "encoder" not in components:
                self._raise_missing("objective", choice.id, "encoder")
        latent_shape = self._latent_shape(spec)
        known = {"data": spec, "latent_shape": latent_shape, "condition_shape": spec.condition}
        observation = self._make(components["observation"], Facts(known))
        known["raw_shape"] = raw_shape = tuple(observation.raw_shape(spec))

        def maker(slot: str) -> Callable[[], Any]:
            return lambda: self._make(components[slot], facts) if slot in components else None

        facts = Facts(known, {slot: maker(slot) for slot in ("encoder", "generator", "prior")})
        if self._uses_encoder():
            facts["encoder"]
        generator, prior = facts["generator"], facts["prior"]
        model = Model(
            generator,
            prior,
            observation,
            facts.get("encoder"),
            conditions=None if conditions is None else conditions[0],
            condition_weights=None if conditions is None else conditions[1],
            shown=view_of(spec, self.catalogue).shown,
        )
        check_shapes(model, spec, latent_shape, raw_shape)
        return model

    def _objective(self, model: Model, spec: DataSpec, choice: Choice, critic: Choice | None) -> Objective:
        facts = {
            "model": model,
            "generator": model.generator,
            "prior": model.prior,
            "encoder": model.encoder,
            "data": spec,
            "latent_shape": self._latent_shape(spec),
            "raw_shape": tuple(model.observation.raw_shape(spec)),
            "condition_shape": spec.condition,
            "critic": None if critic is None else self._critic_factory(critic),
        }
        return self._make(choice, Facts(facts))

    def _optimizer(self, key: str, choice: Choice) -> OptimizerSettings:
        shared = {name: value for name, value in choice.options.items() if name in OF_OPTIMIZERS}
        own = {name: value for name, value in choice.options.items() if name not in OF_OPTIMIZERS}
        algorithm = self._make(dataclasses.replace(choice, options=own), Facts({}), key)
        shared["schedule"] = self._made(shared["schedule"], Facts({}), f"{key}.schedule")
        return OptimizerSettings(optimizer=algorithm, **shared)

    def _latent_shape(self, spec: DataSpec) -> tuple[int, ...]:
        shape = self.configuration.latent.shape
        return tuple(spec.shape) if shape == "data" else shape

    def _objectives(self) -> list[Choice]:
        """The objectives of all stages, those inside others included."""
        stages = [stage.objective for stage in self.configuration.stages]
        all_of_them = choices([self.configuration.components["objective"], *stages])
        return [choice for choice in all_of_them if choice.kind == "objective"]

    def _uses_encoder(self) -> bool:
        """Whether an objective needs the encoder; an untrained encoder would give noise."""
        return any(
            self._needs(choice) & WITH_ENCODER or "encoder" in component_facts(self._class(choice))
            for choice in self._objectives()
        )

    def _needs(self, objective: Choice) -> frozenset[Need]:
        return getattr(self._class(objective), "needs", frozenset())

    def _class(self, choice: Choice) -> Callable[..., Any]:
        return self.catalogue.load(self.catalogue.component(choice.kind, choice.id)[1])

    def _critic_factory(self, choice: Choice, key: str = "") -> Callable[[DataSpec], Critic]:
        def critic(data: DataSpec) -> Critic:
            facts = Facts({"data": data, "condition_shape": data.condition})
            made = self._make(choice, facts, key)
            _check_critic(made, data)
            return made

        return critic

    def _make(self, choice: Choice, facts: Facts, key: str = "") -> Any:
        """One component with its facts and options; ``key`` is of its setting, where that is not its kind.

        Raises:
            ConfigurationError: a fact that it needs is missing.
        """
        component, key = self._class(choice), key or ("data" if choice.kind == "source" else choice.kind)
        facts = facts.over(choice.facts)
        given: dict[str, Any] = {}
        for name, required in component_facts(component).items():
            if name in facts.names:
                given[name] = facts[name]
            elif required:
                asking, names = (
                    with_article(choice.kind),
                    [known for known in facts.names if known != choice.kind],
                )
                raise ConfigurationError(
                    f"{key}: '{choice.id}' asks for '{name}', which {asking} is not given.",
                    f"{asking} may ask for: {', '.join(names) or 'nothing'}",
                )
            if required and given[name] is None:
                self._raise_missing(key, choice.id, name)
        known = component_options(component)
        options = {
            known[name].parameter: self._made(value, facts, f"{key}.{name}", factory=known[name].factory)
            for name, value in choice.options.items()
        }
        try:
            made = component(**given, **options)
        except GanvaeError as error:
            named = OF_AN_OPTION.match(error.message)
            if named is None or named[1] not in known:
                raise
            raise type(error)(f"{key}.{error.message}", *error.hints) from error  # it does not know its place
        except UNFIT as error:
            raise ConfigurationError(f"{key}: '{choice.id}' could not be made: {_reason(error)}") from error
        with suppress(AttributeError, TypeError):  # of classes that take no further attribute
            made.component_id = choice.id
        if isinstance(made, Objective) and hasattr(made, "model"):
            check_needs(made, f"objective '{choice.id}'")
        return made

    def _made(self, value: Any, facts: Facts, key: str, *, factory: bool = False) -> Any:
        """The value of the option ``key``, with the components in it made."""
        if isinstance(value, list):
            return [self._made(item, facts, f"{key}[{at}]") for at, item in enumerate(value)]
        if not isinstance(value, Choice):
            return value
        return self._critic_factory(value, key) if factory else self._make(value, facts, key)

    def _raise_missing(self, slot: str, identity: str, name: str) -> None:
        if name not in ("encoder", "critic"):
            noun = name.removesuffix("_shape")
            raise ConfigurationError(
                f"{slot} '{identity}' needs {with_article(noun)}, and this run has none.",
                "give the data's condition to the model:  data.condition=true" if noun == "condition" else "",
            )
        names = [known for known, _, _ in self.catalogue.components(name)]
        raise ConfigurationError(
            f"{slot} '{identity}' needs {with_article(name)}, and this run has none.",
            f"add one: {name}=mlp          {name}s: {', '.join(names)}",
        )


def open_data(
    catalogue: Catalogue,
    *layers: Mapping[str, Any],
    like: DataSpec | None = None,
    trained: DataSpec | None = None,
) -> tuple[Choice, Split]:
    """The data that layers of settings name, opened and divided as a run would do it.

    Args:
        catalogue: where sources come from.
        layers: of settings.
        like: images become gray or coloured as these, where the source's option ``grayscale`` leaves that open.
        trained: the specification of the data that a model was trained on, to which this data is to be fitted.

    Raises:
        ConfigurationError, PluginError: there is no such source or option, or it cannot be used.
        DataError: the data cannot be read, or is not what the source expects.
    """
    draft = Draft(catalogue)
    for layer in layers:
        draft.apply(layer)
    configuration = draft.finish("", "", needed=("data",))
    choice = configuration.components["data"]
    if like is not None and like.modality == "image" and choice.options.get("grayscale", True) is None:
        choice.options["grayscale"] = like.shape[0] == 1
    return choice, Builder(configuration, catalogue).split(trained=trained)


def has(model: Model, source: DataSpec) -> set[Need]:
    """The needs of metrics that a model and its data's source meet."""
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
        labels = np.asarray(data.source.labels(data.training[:]))
        counts = np.bincount(labels, minlength=len(spec.classes))
        return torch.eye(len(counts)), torch.from_numpy(counts).float()
    if spec.condition_fields:
        values, counts = np.unique(
            np.asarray(data.source.labels(data.training[:])), axis=0, return_counts=True
        )
        chosen = slice(None)
        if len(values) > MOST_CONDITIONS:
            chosen = np.sort(np.argsort(-counts, kind="stable")[:MOST_CONDITIONS])
        encoded = Codec(spec, torch.device("cpu")).condition(torch.from_numpy(values[chosen]))
        assert encoded is not None
        return encoded, torch.from_numpy(counts[chosen]).float()
    chosen = data.training[:: max(1, len(data.training) // DRAWN_CONDITIONS)][:DRAWN_CONDITIONS]
    values = torch.from_numpy(np.asarray(data.source.labels(chosen))).float()
    return values, torch.ones(len(values))


def check_shapes(
    model: Model, spec: DataSpec, latent_shape: tuple[int, ...], raw_shape: tuple[int, ...]
) -> None:
    """Run two rows through the model, to find shapes that do not fit before training.

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
    _expect("critic", critic, tuple(logits.shape), (2,), "for two rows it must be")


def _tried(slot: str, module: Callable[..., Any], *inputs: Any) -> Any:
    try:
        return module(*inputs)
    except (RuntimeError, ValueError, IndexError) as error:
        shapes = ", ".join(str(tuple(value.shape[1:])) for value in inputs if value is not None)
        raise ConfigurationError(
            f"{slot}: {name_of(module)} cannot take inputs of shape {shapes}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _expect(slot: str, module: Any, got: tuple[int, ...], wanted: tuple[int, ...], why: str) -> None:
    if got != wanted:
        raise ConfigurationError(
            f"{slot}: {name_of(module)} gives the shape {got}, and {why} {wanted}.",
            f"take another {slot}, or change latent.shape",
        )
