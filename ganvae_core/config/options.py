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
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ganvae_core.config.layers import Text, as_tree, is_null
from ganvae_core.errors import ConfigurationError, PluginError, did_you_mean
from ganvae_core.plugins.specs import KINDS, Kind

__all__ = [
    "REQUIRED", "Option", "Text", "component_facts", "component_options", "convert", "documented", "kind_of",
    "settings_options",
]  # fmt: skip

REQUIRED = inspect.Parameter.empty
INTERFACES = ("ganvae_core.interfaces", "ganvae_core.training")
"""The modules whose classes are the kinds of components."""
SEQUENCES = (list, tuple, collections.abc.Sequence)
MAPPINGS = (dict, collections.abc.Mapping)
UNIONS = (Union, types.UnionType)
WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
Part = Callable[[str, Kind, Any], Any]
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
        own_shape: whether each component there must be given a latent shape of its own.
        parameter: its name in Python, where that differs: ``from_``.
    """

    name: str
    annotation: Any
    default: Any
    summary: str = ""
    own_shape: bool = False
    parameter: str = ""

    @property
    def kind(self) -> Kind | None:
        """The kind of the components that it holds, if it holds any."""
        return _kind_within(self.annotation)

    @property
    def factory(self) -> bool:
        """Whether its component is made later, for data that is known then: a second critic."""
        return get_origin(_without_none(self.annotation)[0]) is collections.abc.Callable

    @property
    def type_name(self) -> str:
        """The type in words: ``float``, ``relu or gelu``, ``a list of int``, ``a list of priors``."""
        return _in_words(self.annotation, {})


def settings_options(settings: type) -> dict[str, Option]:
    """The fields of a dataclass of settings as options, by name."""
    hints = typing.get_type_hints(settings, include_extras=True)
    summaries = documented(settings)
    options: dict[str, Option] = {}
    for field in dataclasses.fields(settings):
        default = REQUIRED if field.default is dataclasses.MISSING else field.default
        options[field.name] = Option(field.name, hints[field.name], default, summaries.get(field.name, ""))
    return options


@functools.cache
def component_options(component: Callable[..., Any]) -> Mapping[str, Option]:
    """A component's options: the keyword-only parameters of its constructor, by the name that is typed.

    A trailing underscore is not typed: the parameter ``from_`` is the option ``from``. The component's attribute
    ``own_latent_shape``, if it has one, names the options whose components have a latent shape of their own.

    Raises:
        PluginError: an option has no type, or one that cannot be looked up or written in a configuration.
    """
    name = f"{component.__module__}.{component.__qualname__}"
    try:
        hints = typing.get_type_hints(component.__init__ if inspect.isclass(component) else component)
    except NameError as error:
        raise PluginError(
            f"the options of {name} cannot be read: {error}.",
            "types of options must be importable when the program runs, not only under TYPE_CHECKING",
        ) from error
    summaries = documented(component)
    options: dict[str, Option] = {}
    for parameter in inspect.signature(component).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.name not in hints:
            raise PluginError(f"the option '{parameter.name}' of {name} has no type.")
        option = Option(
            parameter.name.removesuffix("_"),
            hints[parameter.name],
            parameter.default,
            summaries.get(parameter.name, ""),
            parameter.name in getattr(component, "own_latent_shape", ()),
            parameter.name,
        )
        if not _is_supported(option.annotation):
            raise PluginError(
                f"the option '{parameter.name}' of {name} has the type {option.type_name}, which a"
                " configuration cannot hold.",
                "options are bool, int, float, str, Literal, lists, tuples and mappings of these, or components",
            )
        options[option.name] = option
    return options


def component_facts(component: Callable[..., Any]) -> dict[str, bool]:
    """The positional parameters of a component's constructor: name, and whether it is required."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {
        parameter.name: parameter.default is REQUIRED
        for parameter in inspect.signature(component).parameters.values()
        if parameter.kind in positional
    }


def documented(owner: Any) -> dict[str, str]:
    """The entries of the ``Args:`` sections of an object and its base classes, one line for each name."""
    found: dict[str, str] = {}
    for above in reversed(inspect.getmro(owner)) if inspect.isclass(owner) else (owner,):
        text = inspect.cleandoc(above.__doc__ or "")
        section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
        for entry in re.split(r"^ {4}(?=\w+: )", section[1], flags=re.MULTILINE)[1:] if section else ():
            name, _, summary = entry.partition(":")
            found[name] = " ".join(summary.split()).removesuffix(".")
    return found


def convert(option: Option, value: Any, key: str, part: Part | None = None) -> Any:
    """The value as the option's type. What was typed (``Text``) is read by that type, literally for strings.

    Args:
        option: whose value it is.
        value: as it was typed or given.
        key: of the setting, for messages.
        part: reads a component from its key, kind and settings; needed where the option holds components.

    Raises:
        ConfigurationError: it cannot be such a value; the message names the key.
    """
    return _read(option.annotation, value, key, part)


def with_article(noun: str) -> str:
    """``a prior``, ``an encoder``."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def kind_of(annotation: Any) -> Kind | None:
    """The kind of component that an interface stands for, or a ``Choice`` annotated with it."""
    if get_origin(annotation) is Annotated:
        return annotation.__metadata__[0]
    name = getattr(annotation, "__name__", "").removeprefix("Latent").lower()
    kinds = KINDS if getattr(annotation, "__module__", "") in INTERFACES else ()
    return next((kind for kind in kinds if kind == name), None)


def _kind_within(annotation: Any) -> Kind | None:
    kind = kind_of(annotation)
    for inner in () if kind else get_args(annotation):
        kind = kind or _kind_within(inner)
    return kind


def _is_supported(annotation: Any) -> bool:
    base, _ = _without_none(annotation)
    origin, items = get_origin(base), [item for item in get_args(base) if item is not Ellipsis]
    if base in WORDS or origin is Literal or kind_of(base):
        return True
    if origin is collections.abc.Callable:
        return bool(kind_of(items[1]))
    return origin in (*SEQUENCES, *MAPPINGS, *UNIONS) and all(map(_is_supported, items))


def _read(annotation: Any, value: Any, key: str, part: Part | None) -> Any:
    base, optional = _without_none(annotation)
    origin, items, kind = get_origin(base), get_args(base), kind_of(base)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    if optional and (is_null(value) or (isinstance(value, Text) and value == "None")):
        return None
    if value is None:
        raise ConfigurationError(f"{key}: null is not possible here: it must be {_in_words(annotation)}.")
    if kind is not None and part is not None:
        return part(key, kind, value)
    if origin is collections.abc.Callable:
        return _read(items[1], value, key, part)
    if origin is Literal:
        return _literal(items, value, key)
    if origin in SEQUENCES:
        return _sequence(base, value, key, part)
    if origin in UNIONS:
        return _alternative(base, value, key, part)
    try:
        if origin in MAPPINGS:
            given = as_tree(value, key)
            given = _with_dots(given) if items[1] in WORDS else given
            return {str(name): _read(items[1], item, f"{key}.{name}", part) for name, item in given.items()}
        return _scalar(base, value)
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError):
        raise _wrong(value, annotation, key) from None


def _with_dots(given: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping of scalars, whose names may have dots that were read as those of nested keys."""
    found: dict[str, Any] = {}
    for name, item in given.items():
        if isinstance(item, Mapping):
            found |= {f"{name}.{inner}": each for inner, each in _with_dots(item).items()}
        else:
            found[name] = item
    return found


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
    if (
        base in (int, float)
        and not isinstance(plain, bool)
        and not (base is int and isinstance(plain, float))
    ):
        number = base(plain)
        if math.isfinite(number):
            return number
    raise ValueError(value)


def _literal(allowed: tuple[Any, ...], value: Any, key: str) -> Any:
    choices = {str(choice): choice for choice in allowed}
    if str(value) not in choices:
        raise ConfigurationError(
            f"{key}: '{value}' is not possible here.{did_you_mean(str(value), choices)}",
            f"it is one of: {', '.join(choices)}",
        )
    return choices[str(value)]


def _alternative(base: Any, value: Any, key: str, part: Part | None) -> Any:
    """The value as the first of several types that takes it. An error inside a list or a component is that error."""
    is_list = isinstance(value, list | tuple) or (isinstance(value, Text) and value.startswith("["))
    hints: tuple[str, ...] = ()
    for item in get_args(base):
        try:
            return _read(item, value, key, part)
        except ConfigurationError as error:
            if error.message.startswith(f"{key}.") or (is_list and get_origin(item) in SEQUENCES):
                raise
            hints = error.hints
    raise _wrong(value, base, key, *hints)


def _sequence(base: Any, value: Any, key: str, part: Part | None) -> Any:
    items = get_args(base)
    if isinstance(value, Text):  # one item alone is a list of one
        text = Text(value if value.startswith("[") else f"[{value}]")
        try:
            value = as_tree(text, key)
        except ConfigurationError:
            raise ConfigurationError(f"{key}: '{text}' is not {_in_words(base)}.") from None
    if not isinstance(value, list | tuple):
        if not kind_of(items[0]):
            raise _wrong(value, base, key)
        value = [value]
    if get_origin(base) is not tuple or Ellipsis in items:
        items = (items[0],) * len(value)
    elif len(items) != len(value):
        raise ConfigurationError(f"{key}: it must have {len(items)} values, and {len(value)} are given.")
    read = [_read(items[place], one, f"{key}[{place}]", part) for place, one in enumerate(value)]
    return tuple(read) if get_origin(base) is tuple else read


def _wrong(value: Any, annotation: Any, key: str, *hints: str) -> ConfigurationError:
    message = f"{key}: '{value}' is not possible here: it must be {_in_words(annotation)}."
    return ConfigurationError(message, *hints)


def _in_words(annotation: Any, words: Mapping[Any, str] = WORDS) -> str:
    """A type in words: ``a whole number or null``."""
    base, optional = _without_none(annotation)
    origin, items, kind = get_origin(base), get_args(base), kind_of(base)
    if kind is not None:
        name = with_article(kind)
    elif origin is collections.abc.Callable:
        name = _in_words(items[1])
    elif origin is Literal:
        name = " or ".join(map(str, items))
    elif origin in SEQUENCES:
        kind = kind_of(items[0])
        name = f"a list of {f'{kind}s' if kind else _in_words(items[0], {})}"
    elif origin in UNIONS:
        name = " or ".join(
            _in_words(item, words) for item in sorted(items, key=lambda item: kind_of(item) is not None)
        )
    else:
        name = words.get(base, getattr(base, "__name__", str(base)))
    return f"{name} or null" if optional else name


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in UNIONS:
        return annotation, annotation is type(None)
    items = tuple(item for item in get_args(annotation) if item is not type(None))
    return Union[items], len(items) < len(get_args(annotation))  # noqa: UP007
