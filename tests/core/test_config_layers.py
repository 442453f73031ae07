"""What was typed, as nested settings: YAML texts and KEY=VALUE arguments."""

from __future__ import annotations

import itertools

import pytest

import ganvae_core as gv
from ganvae_core.config.layers import is_null, nest, parse_overrides, parse_yaml
from ganvae_core.config.options import Text


def test_names_go_before_options_whatever_the_order_typed() -> None:
    typed = [
        "objective.critic_steps=2",
        "objective=hinge",
        "prior=uniform",
        "engine.steps=5",
        "optimizers.critic.lr=1",
    ]
    expected = {
        "objective": {"name": "hinge", "critic_steps": "2"},
        "prior": "uniform",
        "engine": {"steps": "5"},
        "optimizers": {"critic": {"lr": "1"}},
    }
    for order in itertools.permutations(typed):
        assert parse_overrides(order) == expected


def test_a_component_typed_whole_may_be_followed_by_single_options() -> None:
    typed = ["prior={name: composite, scale: 2}", "prior.parts=[normal]"]
    expected = {"prior": {"name": "composite", "scale": "2", "parts": "[normal]"}}
    assert parse_overrides(typed) == parse_overrides(typed[::-1]) == expected
    with pytest.raises(gv.ConfigurationError, match="given twice"):
        parse_overrides(["prior={name: composite, scale: 2}", "prior.scale=3"])


def test_a_value_may_hold_an_equals_sign_a_space_or_nothing() -> None:
    assert parse_overrides(["data.path=a=b c", "data.key="]) == {"data": {"path": "a=b c", "key": ""}}


@pytest.mark.parametrize("typed", ["objective", "=3", " =3", "vae"])
def test_arguments_without_key_or_equals_sign_are_refused(typed: str) -> None:
    with pytest.raises(gv.ConfigurationError, match="settings are written KEY=VALUE"):
        parse_overrides([typed])


def test_one_key_with_two_values_is_refused_and_with_one_value_twice_is_not() -> None:
    assert parse_overrides(["engine.steps=5", "engine.steps=5"]) == {"engine": {"steps": "5"}}
    for first, second in (("engine.steps=5", "engine.steps=6"), ("prior=normal", "prior.name=uniform"),
                          ("prior.name=uniform", "prior=normal")):  # fmt: skip
        with pytest.raises(gv.ConfigurationError, match="given twice"):
            parse_overrides([first, second])
    with pytest.raises(gv.ConfigurationError, match=r"engine\.steps is given twice: '5' and '6'"):
        nest([("engine.steps", 5), ("engine.steps", 6)])
    with pytest.raises(gv.ConfigurationError, match="given twice"):
        nest([("engine", {"steps": 5}), ("engine.steps", 6)])


def test_options_of_what_is_removed_are_refused() -> None:
    with pytest.raises(gv.ConfigurationError, match=r"encoder\.hidden: 'encoder' is removed by null"):
        parse_overrides(["encoder.hidden=[3]", "encoder=null"])


@pytest.mark.parametrize("typed", ["data.path=${oc.env:HOME}", "data.path=a${x}b", "prior={name: ${x}}"])
def test_interpolations_are_refused_by_key(typed: str) -> None:
    with pytest.raises(gv.ConfigurationError, match="interpolation") as raised:
        parse_overrides([typed])
    assert raised.value.message.startswith(typed.partition("=")[0])


def test_interpolations_in_a_file_are_refused_wherever_they_are() -> None:
    with pytest.raises(gv.ConfigurationError, match=r"my\.yaml.*callbacks.*'\$\{x\}' has an interpolation"):
        parse_yaml("callbacks: [a, {name: '${x}'}]", "my.yaml")


def test_overrides_from_python_are_not_changed() -> None:
    given = {"engine": {"steps": 5}, "engine.batch_size": 4}
    assert nest(list(given.items())) == {"engine": {"steps": 5, "batch_size": 4}}
    assert given == {"engine": {"steps": 5}, "engine.batch_size": 4}


def test_scalars_of_a_file_are_the_text_that_was_typed() -> None:
    text = "a: no\nb: 007\nc: 1e-3\nd: 2020-01-01\ne: 0x10\nf: 'quoted'\ng: [yes, 1_0]\nh: {i: ~}\nj:\n"
    layer = parse_yaml(text, "my.yaml")
    assert layer == {
        "a": "no", "b": "007", "c": "1e-3", "d": "2020-01-01", "e": "0x10", "f": "quoted",
        "g": ["yes", "1_0"], "h": {"i": "~"}, "j": "",
    }  # fmt: skip
    assert isinstance(layer["a"], Text)
    assert isinstance(layer["g"][0], Text)


def test_nothing_at_all_is_a_layer_without_settings() -> None:
    assert parse_yaml("", "my.yaml") == parse_yaml("# a comment\n", "my.yaml") == {}


NO_YAML = {
    "a: [1": "line 1",
    "a: 1\n\tb: 2": "line 2",
    "a: 1\na: 2": "line 2: the key 'a' is given twice",
    "a: {b: 1, b: 2}": "the key 'b' is given twice",
    "- a": "must hold settings",
    "just text": "must hold settings",
    "a: &x 1\nb: *x": r"aliases \(\*name\) are not used",
    "? [a, b]\n: 1": "a key must be a name",
    "a:\n  {b: c}: d": "a key must be a name",
    "\x00": "is not YAML",
    "a: 1\n---\nb: 2": "line 2: .*another document",
}


@pytest.mark.parametrize("text", list(NO_YAML))
def test_a_file_that_is_no_settings_is_refused_with_its_name_and_line(text: str) -> None:
    with pytest.raises(gv.ConfigurationError, match=NO_YAML[text]) as raised:
        parse_yaml(text, "my.yaml")
    assert raised.value.message.startswith("my.yaml")


def test_a_file_can_construct_nothing() -> None:
    assert parse_yaml("a: !!python/object/apply:os.system [echo]", "my.yaml") == {"a": ["echo"]}


def test_null_is_what_was_typed_as_null_or_given_as_none() -> None:
    assert [is_null(value) for value in (None, Text("null"), Text("~"))] == [True] * 3
    assert [is_null(value) for value in ("null", Text("none"), Text(""), 0, False)] == [False] * 5
