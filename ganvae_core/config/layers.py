"""Layers of configuration: YAML texts and KEY=VALUE overrides, as nested dictionaries of what was typed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ganvae_core.errors import ConfigurationError

NULLS = ("null", "~")
FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Text(str):
    """A value as it was typed, to be read by the type of the option that it is for."""

    __slots__ = ()


class _Loader(yaml.BaseLoader):
    """YAML with every scalar as the text that was typed, and no key given twice. It can construct nothing else."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a name", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key '{key.value}' is given twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(text: str, where: str, *, typed: bool = False) -> Any:
    """The content of a YAML text, with every scalar as a string.

    Args:
        text: the YAML.
        where: its name in messages.
        typed: give scalars the types that YAML gives them.

    Raises:
        ConfigurationError: it is not YAML, or uses aliases, which a few lines can expand beyond any memory.
    """
    loader = FAST if typed else _Loader
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                problem = "aliases (*name) are not used in configurations"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigurationError(f"{where}{line}: {error.problem}.") from None
    except (
        yaml.YAMLError,
        ValueError,
        RecursionError,
    ) as error:  # a ValueError is a date that does not exist
        raise ConfigurationError(f"{where} is not YAML: {' '.join(str(error).split())}.") from None


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """A YAML mapping, every scalar as ``Text`` that is read by the type of the option it is for.

    Raises:
        ConfigurationError: the text is not YAML, not a mapping, or uses aliases or interpolations.
    """
    loaded = read_yaml(text, where)
    if loaded is None or loaded == "":
        return {}
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"{where} must hold settings, like `objective: elbo`.")
    layer = as_text(loaded)
    _refuse_interpolation(layer, where)
    return layer


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` arguments as one layer; the order in which they were typed does not matter.

    Raises:
        ConfigurationError: an argument has no ``=``, an interpolation, or a key has two different values.
    """
    pairs: list[tuple[str, Any]] = []
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign or not key.strip():
            raise ConfigurationError(
                f"'{override}' is not a setting: settings are written KEY=VALUE, like objective.beta=2."
            )
        pairs.append((key.strip(), Text(value)))
    return nest(pairs)


def nest(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Dotted keys with their values as nested dictionaries; a component's name goes under ``name``.

    Raises:
        ConfigurationError: a key is given two different values.
    """
    flat: dict[str, Any] = {}
    for key, value in pairs:
        if key in flat and flat[key] != value:
            raise ConfigurationError(f"{key} is given twice: '{flat[key]}' and '{value}'.")
        flat[key] = _copied(value)
    layer: dict[str, Any] = {}
    for key, value in sorted(flat.items(), key=lambda pair: pair[0].count(".")):
        _put(layer, key, value)
    _refuse_interpolation(layer, "")
    return layer


def as_overrides(layer: Mapping[str, Any], above: str = "") -> list[str]:
    """A layer as the ``KEY=VALUE`` arguments that make it, texts as they were typed: the reverse of ``nest``."""
    found: list[str] = []
    for name, value in layer.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping):
            found += as_overrides(value, f"{key}.")
        else:
            found.append(f"{key}={value if isinstance(value, str) else json.dumps(value, default=str)}")
    return found


def as_text(value: Any) -> Any:
    """Every string in plain lists and mappings as ``Text``."""
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, list):
        return [as_text(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_text(item) for key, item in value.items()}
    return value


def as_tree(value: Any, key: str) -> Any:
    """A list or mapping that was typed in YAML's flow form, like ``{name: mlp, hidden: [4]}``, read; else the value.

    Raises:
        ConfigurationError: it is not YAML.
    """
    if isinstance(value, Text) and value.startswith(("{", "[")):
        return parse_yaml(f"value: {value}", key)["value"]
    return value


def is_null(value: Any) -> bool:
    """Whether a value removes a component or option."""
    return value is None or (isinstance(value, Text) and value in NULLS)


def _put(layer: dict[str, Any], key: str, value: Any) -> None:
    """Set one dotted key. Shorter keys come first, so a bare name on the way becomes ``{name: …}``."""
    *parents, last = key.split(".")
    here = layer
    for position, parent in enumerate(parents):
        below = here.setdefault(parent, {})
        if is_null(below):
            raise ConfigurationError(f"{key}: '{'.'.join(parents[: position + 1])}' is removed by null.")
        if not isinstance(below, dict):
            tree = as_tree(below, key)
            below = here[parent] = tree if isinstance(tree, dict) else {"name": below}
        here = below
    if last in here and here[last] != value:
        raise ConfigurationError(f"{key} is given twice: '{here[last]}' and '{value}'.")
    here[last] = value


def _copied(value: Any) -> Any:
    """Copies of mappings, since dotted keys are written into them."""
    return {key: _copied(below) for key, below in value.items()} if isinstance(value, Mapping) else value


def _refuse_interpolation(value: Any, key: str) -> None:
    if isinstance(value, Mapping):
        for name, below in value.items():
            _refuse_interpolation(below, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for item in value:
            _refuse_interpolation(item, key)
    elif isinstance(value, str) and "${" in value:
        raise ConfigurationError(f"{key}: '{value}' has an interpolation (${{…}}); write the value itself.")
