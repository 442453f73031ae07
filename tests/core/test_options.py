"""Options are read off signatures, and values by the types of their options."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import toy_parts

import ganvae_core as gv
from ganvae_core.builtin.priors.gaussian_mixture import GaussianMixture
from ganvae_core.config.options import (
    REQUIRED,
    Option,
    Text,
    component_facts,
    component_options,
    convert,
    documented,
    settings_options,
)
from ganvae_core.config.settings import DataSettings, InitialWeights, LatentSettings, StageSettings
from ganvae_core.engine.optimizers import OptimizerSettings
from ganvae_core.engine.settings import EngineSettings


def read(annotation: Any, value: Any) -> Any:
    return convert(Option("option", annotation, None), value, "some.option")


LITERAL = [
    "no",
    "007",
    "1e-3",
    "true",
    "null",
    "~",
    "",
    " spaces ",
    "2020-01-01",
    "[a, b]",
    "a: b",
    "#",
    "1_000",
]


@pytest.mark.parametrize("typed", LITERAL)
def test_text_stays_what_was_typed(typed: str) -> None:
    value = read(str, Text(typed))
    assert value == typed
    assert type(value) is str


READ: list[tuple[Any, str, Any]] = [
    (float, "1e-3", 0.001),
    (float, "4", 4.0),
    (int, "3", 3),
    (int, "-3", -3),
    (bool, "true", True),
    (bool, "no", False),
    (float | None, "null", None),
    (float | None, "2", 2.0),
    (str | None, "~", None),
    (str | None, "no", "no"),
    (Literal["left", "right"], "right", "right"),
    (Literal[8, 16], "16", 16),
    (tuple[int, ...], "[4, 2]", (4, 2)),
    (tuple[int, ...], "4,2", (4, 2)),
    (tuple[int, ...], "400", (400,)),
    (tuple[int, ...], "[]", ()),
    (list[str], "[no, 007]", ["no", "007"]),
    (tuple[float, float], "[0.5, 1e-1]", (0.5, 0.1)),
    (Literal["data"] | tuple[int, ...], "data", "data"),
    (Literal["data"] | tuple[int, ...], "[4, 2]", (4, 2)),
    (int | Literal["best"] | None, "best", "best"),
    (int | Literal["best"] | None, "3", 3),
    (dict[str, float], "{a: 1, b: 2e-3}", {"a": 1.0, "b": 0.002}),
]


@pytest.mark.parametrize(("annotation", "typed", "expected"), READ)
def test_what_was_typed_is_read_by_the_options_type(annotation: Any, typed: str, expected: Any) -> None:
    value = read(annotation, Text(typed))
    assert value == expected
    assert type(value) is type(expected)


GIVEN: list[tuple[Any, Any, Any]] = [
    (float, 4, 4.0),
    (float, 0.5, 0.5),
    (float, np.float64(4), 4.0),
    (float, np.float32(0.5), 0.5),
    (float, np.array(2.0), 2.0),
    (int, np.int64(7), 7),
    (bool, np.bool_(True), True),
    (int, 7, 7),
    (bool, True, True),
    (float | None, None, None),
    (tuple[int, ...], [4, 2], (4, 2)),
    (tuple[int, ...], (np.int64(4),), (4,)),
    (list[str], ("a",), ["a"]),
    (Literal[8, 16], 16, 16),
]


@pytest.mark.parametrize(("annotation", "given", "expected"), GIVEN)
def test_values_from_python_keep_their_types_and_numpys_are_numbers_too(
    annotation: Any, given: Any, expected: Any
) -> None:
    value = read(annotation, given)
    assert value == expected
    assert type(value) is type(expected)


WRONG: list[tuple[Any, Any, str]] = [
    (float, Text("much"), "'much' is not possible here: it must be a number"),
    (float, Text("inf"), "it must be a number"),
    (float, Text(".nan"), "it must be a number"),
    (float, math.nan, "it must be a number"),
    (float, True, "it must be a number"),
    (float, [1.0], "it must be a number"),
    (int, Text("2.5"), "it must be a whole number"),
    (int, Text("1e3"), "it must be a whole number"),
    (int, 2.5, "it must be a whole number"),
    (int, True, "it must be a whole number"),
    (int, Text(""), "it must be a whole number"),
    (bool, Text("maybe"), "it must be true or false"),
    (float, None, "null is not possible here"),
    (float, Text("null"), "it must be a number"),
    (Literal["left", "right"], Text("lefft"), "Did you mean 'left'?"),
    (Literal["left", "right"], Text("up"), "it is one of: left, right"),
    (tuple[int, ...], Text("[4, x]"), r"option\[1\]: 'x' is not possible here: it must be a whole number"),
    (tuple[int, ...], Text("[4"), "is not a list of int"),
    (tuple[int, ...], 4, "it must be a list of int"),
    (tuple[float, float], Text("[0.5]"), "must have 2 values, and 1 are given"),
    (tuple[int, ...] | None, Text("[[1]]"), "it must be a whole number"),
    (str, ["a"], "it must be text"),
    (str, {"a": 1}, "it must be text"),
    (int | Literal["best"], Text("worst"), "it must be a whole number or best"),
    (dict[str, float], Text("{a: x}"), r"option\.a: 'x' is not possible here: it must be a number"),
]


@pytest.mark.parametrize(("annotation", "value", "message"), WRONG)
def test_a_value_of_the_wrong_type_is_refused_by_its_key(annotation: Any, value: Any, message: str) -> None:
    with pytest.raises(gv.ConfigurationError, match=message) as raised:
        read(annotation, value)
    assert raised.value.message.startswith("some.option")


def test_keyword_only_parameters_are_options_and_positional_ones_are_facts() -> None:
    options = component_options(toy_parts.Composite)
    assert list(options) == ["parts", "base", "scale"]
    assert component_facts(toy_parts.Composite) == {"latent_shape": True}
    assert component_facts(gv.MLPGenerator) == {
        "latent_shape": True,
        "raw_shape": True,
        "condition_shape": False,
    }
    assert options["parts"].default is REQUIRED
    assert options["scale"].summary == "of the sum, which is a float"


def test_an_option_annotated_with_an_interface_is_a_component_slot() -> None:
    options = component_options(toy_parts.Composite)
    assert (options["parts"].kind, options["parts"].type_name) == ("prior", "a list of priors")
    assert (options["base"].kind, options["base"].type_name) == ("prior", "a prior or null")
    assert options["scale"].kind is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("text", "str"),
        ("path", "str or null"),
        ("choice", "left or right"),
        ("sizes", "a list of int"),
        ("pair", "a list of float"),
    ],
)
def test_types_are_named_as_a_person_would(name: str, expected: str) -> None:
    assert component_options(toy_parts.Typed)[name].type_name == expected


def test_every_interface_is_a_slot_alone_in_a_list_and_beside_a_number() -> None:
    options = component_options(toy_parts.Sum)
    assert list(options) == ["parts", "weight", "from", "judge", "other", "watched"]
    assert (options["parts"].kind, options["parts"].type_name) == ("objective", "a list of objectives")
    assert options["weight"].kind == "schedule"
    assert (options["judge"].kind, options["judge"].factory) == ("critic", True)
    assert (options["other"].kind, options["watched"].kind) == ("objective", "metric")
    assert options["from"].parameter == "from_"
    assert options["from"].summary == "an option that Python has as a keyword"
    assert options["weight"].type_name == "float or a schedule"
    assert options["other"].type_name == "an objective or null"


def test_a_type_that_no_configuration_can_hold_is_the_plugins_mistake() -> None:
    def component(*, option: set[int] | None = None) -> None:  # pyright: ignore
        pass

    with pytest.raises(gv.PluginError, match="has the type set or null, which a configuration cannot hold"):
        component_options(component)


def test_an_option_without_a_type_is_the_plugins_mistake() -> None:
    def component(*, untyped=1) -> None:  # pyright: ignore
        pass

    with pytest.raises(gv.PluginError, match=r"the option 'untyped' of .*component has no type"):
        component_options(component)


def test_a_type_that_cannot_be_looked_up_is_the_plugins_mistake() -> None:
    def component(*, option: Nowhere = None) -> None:  # noqa: F821 # pyright: ignore
        pass

    with pytest.raises(gv.PluginError, match="name 'Nowhere' is not defined"):
        component_options(component)


EVERY_SETTINGS = [
    EngineSettings, OptimizerSettings, DataSettings, LatentSettings, InitialWeights, StageSettings,
]  # fmt: skip


@pytest.mark.parametrize("settings", EVERY_SETTINGS)
def test_every_setting_says_what_it_is_for(settings: type) -> None:
    assert all(option.summary for option in settings_options(settings).values())


def test_docstrings_are_read_to_the_end_of_their_entries() -> None:
    assert (
        documented(GaussianMixture)["covariance"]
        == "full, or diagonal (coordinates independent within a component)"
    )
    assert documented(object()) == {}


IMPOSSIBLE: list[tuple[type, dict[str, Any], str]] = [
    (EngineSettings, {"steps": 0}, "engine.steps"),
    (EngineSettings, {"steps": -5}, "engine.steps: -5 is not possible: it must be at least 1"),
    (EngineSettings, {"batch_size": 0}, "engine.batch_size"),
    (EngineSettings, {"seed": -1}, "engine.seed"),
    (EngineSettings, {"log_every": 0}, "engine.log_every"),
    (EngineSettings, {"samples_every": -1}, "engine.samples_every"),
    (EngineSettings, {"checkpoint_every": 0}, "engine.checkpoint_every"),
    (EngineSettings, {"keep_checkpoints": 0}, "engine.keep_checkpoints"),
    (EngineSettings, {"micro_batch_size": 0}, "engine.micro_batch_size"),
    (EngineSettings, {"ema_half_life_samples": -1.0}, "engine.ema_half_life_samples"),
    (EngineSettings, {"ema_half_life_samples": math.nan}, "engine.ema_half_life_samples"),
    (OptimizerSettings, {"lr": -1.0}, "lr"),
    (OptimizerSettings, {"lr": math.nan}, "lr"),
    (gv.Adam, {"betas": (0.5, 1.0)}, "betas"),
    (gv.AdamW, {"eps": -1e-8}, "eps"),
    (gv.SGD, {"momentum": -0.1}, "momentum"),
    (gv.RMSprop, {"alpha": 1.0}, "alpha"),
    (gv.schedule.Linear, {"samples": 0}, "samples"),
    (gv.schedule.Step, {"samples": -1}, "samples"),
    (OptimizerSettings, {"clip_norm": 0.0}, "clip_norm"),
    (OptimizerSettings, {"warmup_samples": -1}, "warmup_samples"),
]


@pytest.mark.parametrize(("settings", "values", "message"), IMPOSSIBLE)
def test_settings_out_of_range_are_refused_by_name(
    settings: Any, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(gv.ConfigurationError, match=message):
        settings(**values)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (lambda: gv.in_range(weight=-1.0), "weight: -1.0 is not possible: it must be at least 0."),
        (
            lambda: gv.in_range(weight=math.inf),
            "weight: inf is not possible: it must be at least 0 and finite.",
        ),
        (
            lambda: gv.in_range(weight=math.nan),
            "weight: nan is not possible: it must be at least 0 and finite.",
        ),
        (lambda: gv.in_range("data.", above=0, rate=0), "data.rate: 0 is not possible: it must be above 0."),
        (
            lambda: gv.in_range(above=-1, below=1, target=-1),
            "target: -1 is not possible: it must be above -1 and below 1.",
        ),
        (
            lambda: gv.in_range(least=2, hint="8-bit images have 256", levels=1),
            "levels: 1 is not possible: it must be at least 2.\n  8-bit images have 256",
        ),
    ],
)
def test_a_number_out_of_its_range_is_named_with_the_bounds(check: Callable[[], None], said: str) -> None:
    with pytest.raises(gv.ConfigurationError) as refusal:
        check()
    assert str(refusal.value) == said


def test_numbers_within_their_range_schedules_and_none_are_taken() -> None:
    gv.in_range(least=1, below=3, one=1, two=2.5, three=None, four=gv.schedule.Linear(samples=5))
    gv.in_range(above=0, rate=1e-9)
