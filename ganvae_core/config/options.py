"""A component's options, read off its signature, and values converted to their types."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from ganvae_core.config.layers import Text, as_tree, is_null
from ganvae_core.errors import ConfigurationError, PluginError, did_you_mean
from ganvae_core.plugins.specs import Kind

__all__ = [
    "REQUIRED", "Option", "Text", "component_facts", "component_options", "convert", "documented", "own_facts",
    "settings_options",
]  # fmt: skip

REQUIRED = inspect.Parameter.empty
SLOT_KINDS: Mapping[str, Kind] = {
    "Generator": "generator", "Encoder": "encoder", "Critic": "critic", "Objective": "objective",
    "LatentPrior": "prior", "Observation": "observation", "Source": "source", "Metric": "metric",
    "Callback": "callback", "View": "view", "Schedule": "schedule", "Optimizer": "optimizer",
}  # fmt: skip
"""The kind of component for an option that is annotated with an interface."""
SEQUENCES = (list, tuple, collections.abc.Sequence)
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
BOOLEANS = {
    **dict.fromkeys(("true", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "no", "n", "off", "0"), False),
}


@dataclass(frozen=True)
class Option:
    """One option of a component or of a group of settings.

    Args:
        name: as in the configuration.
        annotation: its type.
        default: ``REQUIRED`` where there is none.
        summary: one line for people.
        kind: of the component that goes there, when the option is a component slot.
        many: whether it is a list of components.
        number: whether a number may stand in place of the component.
        factory: whether the component is made later, for data that is known then: a second critic.
        own_shape: whether each component there must be given a latent shape of its own.
        parameter: its name in Python, where that differs: ``from_``.
    """

    name: str
    annotation: Any
    default: Any
    summary: str = ""
    kind: Kind | None = None
    many: bool = False
    number: bool = False
    factory: bool = False
    own_shape: bool = False
    parameter: str = ""

    @property
    def optional(self) -> bool:
        """Whether null is one of its values."""
        return _without_none(self.annotation)[1]

    @property
    def type_name(self) -> str:
        """The type in words: ``float``, ``relu or gelu``, ``a list of int``, ``a list of priors``."""
        if self.kind is None:
            return type_name(self.annotation)
        name = f"a list of {self.kind}s" if self.many else with_article(self.kind)
        return ("float or " if self.number else "") + name + (" or null" if self.optional else "")


LATENT_SHAPE = Option("latent_shape", tuple[int, ...], REQUIRED, "of one of its codes")


def settings_options(settings: type) -> dict[str, Option]:
    """The fields of a dataclass of settings as options, by name."""
    hints = typing.get_type_hints(settings)
    summaries = documented(settings)
    return {
        field.name: _option(field.name, hints[field.name], field.default, summaries)
        for field in dataclasses.fields(settings)
    }


@functools.cache
def component_options(component: Callable[..., Any]) -> Mapping[str, Option]:
    """A component's options: the keyword-only parameters of its constructor, by the name that is typed.

    A trailing underscore is not typed: the parameter ``from_`` is the option ``from``. The component's attribute
    ``own_latent_shape``, if it has one, names the options whose components have a latent shape of their own.

    Raises:
        PluginError: an option has no type, or one that cannot be looked up or written in a configuration.
    """
    name = f"{component.__module__}.{component.__qualname__}"
    function = component.__init__ if inspect.isclass(component) else component
    try:
        hints = typing.get_type_hints(function)
    except NameError as error:
        raise PluginError(
            f"the options of {name} cannot be read: {error}.",
            "types of options must be importable when the program runs, not only under TYPE_CHECKING",
        ) from error
    summaries = documented(component)
    own_shape = getattr(component, "own_latent_shape", ())
    options: dict[str, Option] = {}
    for parameter in inspect.signature(component).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.name not in hints:
            raise PluginError(f"the option '{parameter.name}' of {name} has no type.")
        option = _option(parameter.name, hints[parameter.name], parameter.default, summaries)
        if option.kind is None and not _is_supported(option.annotation):
            raise PluginError(
                f"the option '{parameter.name}' of {name} has the type {type_name(option.annotation)}, which a"
                " configuration cannot hold.",
                "options are bool, int, float, str, Literal, lists, tuples and mappings of these, or components",
            )
        options[option.name] = dataclasses.replace(option, own_shape=parameter.name in own_shape)
    return options


def component_facts(component: Callable[..., Any]) -> dict[str, bool]:
    """The positional parameters of a component's constructor: name, and whether it is required."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {
        parameter.name: parameter.default is REQUIRED
        for parameter in inspect.signature(component).parameters.values()
        if parameter.kind in positional
    }


def own_facts(component: Callable[..., Any]) -> dict[str, Option]:
    """The facts that a component inside another one's options may be given there, in place of the run's."""
    return {"latent_shape": LATENT_SHAPE} if "latent_shape" in component_facts(component) else {}


def documented(owner: Any) -> dict[str, str]:
    """The entries of the ``Args:`` sections of an object and its base classes, one line for each name."""
    found: dict[str, str] = {}
    for above in reversed(inspect.getmro(owner)) if inspect.isclass(owner) else (owner,):
        found |= _arguments(above)
    return found


def convert(option: Option, value: Any, key: str) -> Any:
    """The value as the option's type. What was typed (``Text``) is read by that type, literally for strings.

    Raises:
        ConfigurationError: it cannot be such a value; the message names the key.
    """
    return _read(option.annotation, value, key)


def with_article(noun: str) -> str:
    """``a prior``, ``an encoder``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def type_name(annotation: Any) -> str:
    """A type in words."""
    return _described(annotation, {})


def in_words(annotation: Any) -> str:
    """A value of the type in words: ``a whole number or null``."""
    return _described(annotation, WORDS)


def _option(parameter: str, annotation: Any, default: Any, summaries: Mapping[str, str]) -> Option:
    """The option of a parameter or field, with the slot that its annotation makes it."""
    name = parameter.removesuffix("_")
    summary = summaries.get(parameter, "")
    base, _ = _without_none(annotation)
    alternatives = get_args(base) if get_origin(base) in (Union, types.UnionType) else (base,)
    number = float in alternatives
    (item, *others) = [one for one in alternatives if one not in (int, float)] or [None]
    many, factory = False, False
    if get_origin(item) in SEQUENCES and get_args(item):
        many, item = True, get_args(item)[0]
    elif get_origin(item) is collections.abc.Callable:
        factory, item = True, get_args(item)[1]
    kind = None if others else _slot_kind(item)
    if kind is None:
        return Option(name, annotation, default, summary, parameter=parameter)
    return Option(
        name,
        annotation,
        default,
        summary,
        kind,
        many=many,
        number=number,
        factory=factory,
        parameter=parameter,
    )


def _slot_kind(annotation: Any) -> Kind | None:
    from ganvae_core import interfaces, training

    name = getattr(annotation, "__name__", "")
    own = getattr(interfaces, name, None) or getattr(training, name, None)
    return SLOT_KINDS.get(name) if own is annotation else None


def _is_supported(annotation: Any) -> bool:
    base, _ = _without_none(annotation)
    if base in WORDS or get_origin(base) is Literal:
        return True
    items = [item for item in get_args(base) if item is not Ellipsis]
    plain = (*SEQUENCES, dict, collections.abc.Mapping, Union, types.UnionType)
    return get_origin(base) in plain and all(_is_supported(item) for item in items)


def _arguments(owner: Any) -> dict[str, str]:
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", inspect.cleandoc(owner.__doc__ or ""), re.MULTILINE)
    found: dict[str, str] = {}
    name = ""
    for line in section.group(1).splitlines() if section else ():
        entry = re.match(r"^ {4}(\w+): (.*)$", line)
        if entry:
            name = entry.group(1)
            found[name] = entry.group(2).strip()
        elif name and line.strip():
            found[name] += " " + line.strip()
    return {name: text.removesuffix(".") for name, text in found.items()}


def _read(annotation: Any, value: Any, key: str) -> Any:
    base, optional = _without_none(annotation)
    origin = get_origin(base)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    if optional and (is_null(value) or (isinstance(value, Text) and value == "None")):
        return None
    if value is None:
        raise ConfigurationError(f"{key}: null is not possible here: it must be {in_words(annotation)}.")
    if origin is Literal:
        return _literal(base, value, key)
    if origin in SEQUENCES:
        return _sequence(base, value, key)
    if origin in (Union, types.UnionType):
        return _alternative(base, value, key)
    if origin in (dict, collections.abc.Mapping):
        value = as_tree(value, key)
        if isinstance(value, Mapping):
            return {
                str(name): _read(get_args(base)[1], item, f"{key}.{name}") for name, item in value.items()
            }
        raise _wrong(value, annotation, key)
    try:
        return _scalar(base, value)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise _wrong(value, annotation, key) from None


def _scalar(base: Any, value: Any) -> Any:
    """A bool, int, float or str.

    Raises:
        ValueError, TypeError, KeyError, OverflowError: the value is not one.
    """
    plain = str(value) if isinstance(value, str | os.PathLike) else value
    if base is str and isinstance(plain, str | int | float):
        return str(plain)
    if base is bool:
        return BOOLEANS[str(plain).lower()]
    if base in (int, float) and not isinstance(plain, bool):
        if base is int and isinstance(plain, float):
            raise ValueError(plain)
        number = base(plain)
        if math.isfinite(number):
            return number
    raise ValueError(value)


def _literal(base: Any, value: Any, key: str) -> Any:
    choices = {str(choice): choice for choice in get_args(base)}
    if str(value) not in choices:
        raise ConfigurationError(
            f"{key}: '{value}' is not possible here.{did_you_mean(str(value), choices)}",
            f"it is one of: {', '.join(choices)}",
        )
    return choices[str(value)]


def _alternative(base: Any, value: Any, key: str) -> Any:
    """The value as the first of several types that takes it; of a list, the error says which item is wrong."""
    is_list = isinstance(value, list | tuple) or (isinstance(value, Text) and value.startswith("["))
    for item in get_args(base):
        if is_list and get_origin(item) in SEQUENCES:
            return _read(item, value, key)
        try:
            return _read(item, value, key)
        except ConfigurationError:
            continue
    raise _wrong(value, base, key)


def _sequence(base: Any, value: Any, key: str) -> Any:
    if isinstance(value, Text):
        text = Text(value if value.startswith("[") else f"[{value}]")
        try:
            value = as_tree(text, key)
        except ConfigurationError:
            raise ConfigurationError(f"{key}: '{text}' is not {type_name(base)}.") from None
    if not isinstance(value, list | tuple):
        raise _wrong(value, base, key)
    items = get_args(base)
    if get_origin(base) is tuple and Ellipsis not in items:
        if len(items) != len(value):
            raise ConfigurationError(f"{key}: it must have {len(items)} values, and {len(value)} are given.")
    else:
        items = (items[0],) * len(value)
    converted = [
        _read(item, one, f"{key}[{position}]")
        for position, (item, one) in enumerate(zip(items, value, strict=True))
    ]
    return tuple(converted) if get_origin(base) is tuple else converted


def _wrong(value: Any, annotation: Any, key: str) -> ConfigurationError:
    return ConfigurationError(f"{key}: '{value}' is not possible here: it must be {in_words(annotation)}.")


def _described(annotation: Any, words: Mapping[Any, str]) -> str:
    base, optional = _without_none(annotation)
    origin = get_origin(base)
    if origin is Literal:
        name = " or ".join(str(choice) for choice in get_args(base))
    elif origin in SEQUENCES:
        items = [item for item in get_args(base) if item is not Ellipsis]
        name = f"a list of {type_name(items[0])}" if items else "a list"
    elif origin in (Union, types.UnionType):
        name = " or ".join(_described(item, words) for item in get_args(base))
    else:
        name = words.get(base, getattr(base, "__name__", str(base)))
    return f"{name} or null" if optional else name


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, annotation is type(None)
    items = [item for item in get_args(annotation) if item is not type(None)]
    if len(items) == len(get_args(annotation)):
        return annotation, False
    return (items[0] if len(items) == 1 else Union[tuple(items)]), True  # noqa: UP007
