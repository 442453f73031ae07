"""Layers of configuration: YAML texts and KEY=VALUE overrides, as nested dictionaries of what was typed."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import yaml

from ganvae_core.errors import ConfigurationError

NULLS = ("null", "~")
DEEPEST = 100
"""How deep a text may be nested; libyaml's own recursion has no limit but the stack."""

if TYPE_CHECKING:
    _Typed, _Untyped = yaml.SafeLoader, yaml.BaseLoader
else:  # libyaml's are ten times as fast
    _Typed = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    _Untyped = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class Text(str):
    """A value as it was typed, to be read by the type of the option that it is for.

    Attributes:
        plugin: whose recipe it stands in, where its own short names come first; None elsewhere.
    """

    plugin: str | None = None


class _Loader(_Untyped):
    """YAML with every scalar as the text that was typed, and no key given twice. It can construct nothing else."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            scalar = isinstance(key, yaml.ScalarNode)
            if not scalar or key.value in seen:
                problem = f"the key '{key.value}' is given twice" if scalar else "a key must be a name"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
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
    loader = _Typed if typed else _Loader
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            problem = (
                "aliases (*name) are not used in configurations" if isinstance(event, yaml.AliasEvent)
                else "it is nested too deeply" if depth > DEEPEST
                else ""
            )  # fmt: skip
            if problem:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        return yaml.load(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        last = max(1, len(text.splitlines()))  # libyaml finds the end of the text in a line after it
        line = f", line {min(error.problem_mark.line + 1, last)}" if error.problem_mark else ""
        raise ConfigurationError(f"{where}{line}: {error.problem}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError: a date that does not exist
        raise ConfigurationError(f"{where} is not YAML: {' '.join(str(error).split())}.") from None


def parse_yaml(content: str, where: str, plugin: str | None = None) -> dict[str, Any]:
    """A YAML mapping, every scalar as ``Text``.

    Args:
        content: the YAML.
        where: its name in messages.
        plugin: whose recipe it is, if it is one.

    Raises:
        ConfigurationError: the text is not YAML, not a mapping, or uses aliases or interpolations.
    """
    loaded = read_yaml(content, where) or {}
    if not isinstance(loaded, dict):
        raise ConfigurationError(f"{where} must hold settings, like `objective: elbo`.")

    def text_of(typed: str) -> Text:
        value = Text(typed)
        value.plugin = plugin
        return value

    return _copied(loaded, where, text_of)


def parse_overrides(overrides: Iterable[str]) -> dict[str, Any]:
    """``KEY=VALUE`` arguments as one layer; the order in which they were typed does not matter.

    Raises:
        ConfigurationError: an argument has no ``=``, an interpolation, or a key has two different values.
    """
    return nest([pair(override) for override in overrides])


def pair(override: str) -> tuple[str, Text]:
    """The key and the value of an argument.

    Raises:
        ConfigurationError: it is not ``KEY=VALUE``.
    """
    key, sign, value = override.partition("=")
    if not sign or not key.strip():
        raise ConfigurationError(
            f"'{override}' is not a setting: settings are written KEY=VALUE, like objective.beta=2.",
            f"did you mean --data {shlex.quote(override)}?" if os.path.exists(override) else "",
        )
    return key.strip(), Text(value)


def nest(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Dotted keys with their values as nested dictionaries; a component's name goes under ``name``.

    Raises:
        ConfigurationError: a key is given two different values.
    """
    layer: dict[str, Any] = {}
    for key, value in sorted(pairs, key=lambda pair: pair[0].count(".")):
        _put(layer, key, _copied(value, key))
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


def _copied(value: Any, key: str, text: Callable[[str], str] = lambda text: text) -> Any:
    """A copy of nested values, with ``text`` of every string.

    Raises:
        ConfigurationError: a string has an interpolation.
    """
    if isinstance(value, Mapping):
        return {str(name): _copied(below, f"{key}.{name}", text) for name, below in value.items()}
    if isinstance(value, list):
        return [_copied(item, key, text) for item in value]
    if isinstance(value, str):
        if "${" in value:
            raise ConfigurationError(
                f"{key}: '{value}' has an interpolation (${{…}}); write the value itself."
            )
        return text(value)
    return value
