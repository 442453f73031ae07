"""A component's options, read off its signature, and values converted to their types."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ganvae_core.config.yaml_tokens import check_tokens
from ganvae_core.errors import ConfigurationError, PluginError, did_you_mean
from ganvae_core.plugins.specs import Kind

REQUIRED = inspect.Parameter.empty


class Text(str):
    """A value as it was typed, to be read by the type of the option that it is for."""

    __slots__ = ()


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
        own_shape: whether each component there must be given a latent shape of its own.
    """

    name: str
    annotation: Any
    default: Any
    summary: str = ""
    kind: Kind | None = None
    many: bool = False
    own_shape: bool = False

    @property
    def optional(self) -> bool:
        """Whether null is one of its values."""
        return _without_none(self.annotation)[1]

    @property
    def type_name(self) -> str:
        """The type as a person would write it: ``float``, ``relu or gelu``, ``a list of int``, ``a list of priors``."""
        if self.kind is None:
            return type_name(self.annotation)
        name = f"a list of {self.kind}s" if self.many else f"a {self.kind}"
        return f"{name} or null" if self.optional else name


LATENT_SHAPE = Option("latent_shape", tuple[int, ...], REQUIRED, "of one of its codes")


def settings_options(settings: type) -> dict[str, Option]:
    """The fields of a dataclass of settings as options, by name."""
    hints = typing.get_type_hints(settings)
    summaries = documented(settings)
    fields = dataclasses.fields(settings)
    return {
        field.name: Option(field.name, hints[field.name], field.default, summaries.get(field.name, ""))
        for field in fields
    }


@functools.cache
def component_options(component: Callable[..., Any]) -> Mapping[str, Option]:
    """A component's options: the keyword-only parameters of its constructor, by name.

    The component's attribute ``own_latent_shape``, if it has one, names those that hold components of which each has
    a latent shape of its own.

    Raises:
        PluginError: an option has no type, or one that cannot be looked up.
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
    options: dict[str, Option] = {}
    for parameter in inspect.signature(component).parameters.values():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            if parameter.name not in hints:
                raise PluginError(f"the option '{parameter.name}' of {name} has no type.")
            annotation = hints[parameter.name]
            kind, many = _slot(annotation)
            summary = summaries.get(parameter.name, "")
            own_shape = parameter.name in getattr(component, "own_latent_shape", ())
            options[parameter.name] = Option(
                parameter.name, annotation, parameter.default, summary, kind, many, own_shape
            )
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
    """What the ``Args:`` sections of an object and of its base classes say of each name, in one line each."""
    found: dict[str, str] = {}
    for above in reversed(inspect.getmro(owner)) if inspect.isclass(owner) else (owner,):
        found |= _arguments(above)
    return found


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


def convert(option: Option, value: Any, key: str) -> Any:
    """The value as the option's type. What was typed (``Text``) is read by that type, literally for strings.

    Raises:
        ConfigurationError: it cannot be such a value; the message names the key.
    """
    base, optional = _without_none(option.annotation)
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()  # a number of NumPy's, from a sweep in a notebook
    if value is None or (isinstance(value, Text) and optional and value in ("null", "~", "None")):
        if optional:
            return None
        raise ConfigurationError(
            f"{key}: null is not possible here: it must be {in_words(option.annotation)}."
        )
    if get_origin(base) is Literal:
        return _choice(base, value, key)
    if get_origin(base) in (list, tuple):
        return _sequence(base, value, key, option)
    try:
        return _typed(base, value)
    except (OmegaConfBaseException, ValueError, TypeError):
        raise ConfigurationError(
            f"{key}: '{value}' is not possible here: it must be {in_words(option.annotation)}."
        ) from None


def in_words(annotation: Any) -> str:
    """What a value of the type is called in a sentence: ``a whole number or null``."""
    base, optional = _without_none(annotation)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(base, type_name(base)) + (" or null" if optional else "")


def type_name(annotation: Any) -> str:
    """A type as a person would write it."""
    base, optional = _without_none(annotation)
    origin = get_origin(base)
    if origin is Literal:
        name = " or ".join(str(choice) for choice in get_args(base))
    elif origin in (list, tuple):
        items = [item for item in get_args(base) if item is not Ellipsis]
        name = f"a list of {type_name(items[0])}" if items else "a list"
    elif origin in (Union, types.UnionType):
        name = " or ".join(type_name(item) for item in get_args(base))
    else:
        name = getattr(base, "__name__", str(base))
    return f"{name} or null" if optional else name


def _typed(base: Any, value: Any) -> Any:
    """Let OmegaConf's typed nodes read and check the value."""
    if isinstance(value, Text):
        value = str(value)
    schema = dataclasses.make_dataclass("Schema", [("value", base)])
    node = OmegaConf.structured(schema)
    OmegaConf.update(node, "value", value)
    if base is float and not math.isfinite(node.value):
        raise ValueError("not finite")
    return node.value


def _choice(base: Any, value: Any, key: str) -> Any:
    choices = {str(choice): choice for choice in get_args(base)}
    if str(value) not in choices:
        raise ConfigurationError(
            f"{key}: '{value}' is not possible here.{did_you_mean(str(value), choices)}",
            f"it is one of: {', '.join(choices)}",
        )
    return choices[str(value)]


def _sequence(base: Any, value: Any, key: str, option: Option) -> Any:
    if isinstance(value, Text):
        text = value if value.startswith("[") else f"[{value}]"
        try:
            check_tokens(text)
            value = as_text(yaml.load(text, Loader=yaml.BaseLoader))
        except yaml.YAMLError:
            raise ConfigurationError(f"{key}: '{text}' is not {option.type_name}.") from None
    if not isinstance(value, list | tuple):
        raise ConfigurationError(
            f"{key}: '{value}' is not possible here: it must be {in_words(option.annotation)}."
        )
    items = get_args(base)
    if get_origin(base) is tuple and Ellipsis not in items:
        if len(items) != len(value):
            raise ConfigurationError(f"{key}: it must have {len(items)} values, and {len(value)} are given.")
        kinds = items
    else:
        kinds = (items[0],) * len(value)
    converted = [
        convert(dataclasses.replace(option, annotation=kind), item, f"{key}[{position}]")
        for position, (kind, item) in enumerate(zip(kinds, value, strict=True))
    ]
    return tuple(converted) if get_origin(base) is tuple else converted


def as_text(value: Any) -> Any:
    """Every string in plain lists and mappings as ``Text``: what a YAML file says, to be read by type."""
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, list):
        return [as_text(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_text(item) for key, item in value.items()}
    return value


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, annotation is type(None)
    items = [item for item in get_args(annotation) if item is not type(None)]
    if len(items) == len(get_args(annotation)):
        return annotation, False
    return (items[0] if len(items) == 1 else Union[tuple(items)]), True  # noqa: UP007


def _slot(annotation: Any) -> tuple[Kind | None, bool]:
    """The kind of component that an option annotated with an interface takes, and whether it takes a list."""
    from ganvae_core import interfaces

    kinds: dict[type, Kind] = {
        interfaces.Generator: "generator",
        interfaces.Encoder: "encoder",
        interfaces.Critic: "critic",
        interfaces.LatentPrior: "prior",
        interfaces.Observation: "observation",
        interfaces.Source: "source",
    }
    base, _ = _without_none(annotation)
    if get_origin(base) in (list, tuple) and get_args(base) and get_args(base)[0] in kinds:
        return kinds[get_args(base)[0]], True
    return (kinds.get(base), False) if inspect.isclass(base) else (None, False)
