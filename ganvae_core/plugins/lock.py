"""``plugins.lock.toml``: the distributions and versions that took part in a run."""

from __future__ import annotations

import json
import platform
import re
import shlex
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from ganvae_core import __version__
from ganvae_core.errors import ConfigurationError, RunError
from ganvae_core.plugins.catalogue import Catalogue

LIBRARIES = ("torch", "numpy")
"""Distributions that take part in every run, beside ganvae."""
WORD = re.compile(r"[A-Za-z0-9._+!-]+")
"""A name or a version. Commands to copy are made from the lock files of other people's runs."""


@dataclass(frozen=True)
class LockedPlugin:
    """A plugin that took part in a run.

    Args:
        distribution: its distribution.
        version: of that distribution.
    """

    distribution: str
    version: str


@dataclass(frozen=True)
class Lock:
    """The content of a lock file.

    Args:
        versions: of Python, ganvae and ``LIBRARIES``.
        plugins: by name.
    """

    versions: Mapping[str, str]
    plugins: Mapping[str, LockedPlugin]


def lock_text(catalogue: Catalogue, names: Collection[str]) -> str:
    """The text of a lock file for these plugins of a catalogue."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in versions_here().items()]
    for plugin in catalogue.ready:
        if plugin.name in names:
            lines += ["", f"[plugins.{plugin.name}]"]
            lines += [f"distribution = {json.dumps(plugin.distribution)}"]
            lines += [f"version = {json.dumps(plugin.version)}"]
    return "\n".join(["# What took part in this run.", *lines, ""])


def versions_here() -> dict[str, str]:
    """Versions of Python, ganvae and ``LIBRARIES``."""
    return {
        "python": platform.python_version(),
        "ganvae": __version__,
        **{name: version(name) for name in LIBRARIES},
    }


def read_lock(path: Path) -> Lock:
    """The content of a run's lock file.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
        plugins = cast(dict[str, Any], values.pop("plugins", {}))
        return Lock(
            {_word(name): _word(value) for name, value in values.items()},
            {
                _word(name): LockedPlugin(_word(entry["distribution"]), _word(entry["version"]))
                for name, entry in plugins.items()
            },
        )
    except FileNotFoundError:
        raise RunError(f"{path} is missing.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def refuse_missing(path: Path, catalogue: Catalogue) -> None:
    """Refuse a run whose plugins are not all installed. A lock file that is missing or damaged is skipped.

    Raises:
        ConfigurationError: a plugin that took part in the run is not installed.
    """
    try:
        plugins = read_lock(path).plugins
    except RunError:
        return
    installed = {plugin.name for plugin in catalogue.plugins}
    for name, locked in plugins.items():
        if name not in installed:
            raise ConfigurationError(
                f"'{path.parent}' needs the plugin '{name}', which is not installed.",
                f"it came with {locked.distribution} {locked.version}:"
                f"  ganvae plugins install {shlex.quote(f'{locked.distribution}=={locked.version}')}",
            )


def changes(path: Path, catalogue: Catalogue) -> tuple[str, ...]:
    """A sentence for each distribution whose version changed since a run began."""
    try:
        lock = read_lock(path)
    except RunError:
        return ()
    here = versions_here() | {plugin.distribution: plugin.version for plugin in catalogue.ready}
    then = {**lock.versions, **{one.distribution: one.version for one in lock.plugins.values()}}
    return tuple(
        f"{name} is {here[name]} here, and was {before} when this run began"
        for name, before in then.items()
        if name in here and here[name] != before
    )


def _word(value: object) -> str:
    if not isinstance(value, str) or not WORD.fullmatch(value):
        raise ValueError(f"{value!r} is not a name or version")
    return value
