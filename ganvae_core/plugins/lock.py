"""``plugins.lock.toml``: the distributions and versions that took part in a run."""

from __future__ import annotations

import functools
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

from ganvae_core.errors import ConfigurationError, PluginError, RunError
from ganvae_core.plugins.catalogue import Catalogue, not_ready
from ganvae_core.plugins.installation import installation
from ganvae_core.plugins.record import Plugin
from ganvae_core.store.files import read_text

BESIDE = ("ganvae", "torch", "numpy")
"""Distributions that every run depends on, whose versions are written down as well."""
WORD = re.compile(r"[A-Za-z0-9._+!-]+")
"""A name or a version. A run directory may be somebody else's, and what its lock says stands in commands to copy."""
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class LockedPlugin:
    """A plugin as it took part in a run.

    Args:
        distribution: that it came with.
        version: of that distribution.
        sha256: of its files; empty where it was editable or had no record of them.
        editable: whether its code was a checkout.
    """

    distribution: str
    version: str
    sha256: str = ""
    editable: bool = False


@dataclass(frozen=True)
class Lock:
    """What took part in a run.

    Args:
        versions: of Python, ganvae, torch and numpy.
        plugins: by name.
    """

    versions: Mapping[str, str]
    plugins: Mapping[str, LockedPlugin]


def lock_text(catalogue: Catalogue, names: Collection[str]) -> str:
    """TOML with a table for each plugin, and the versions of what they run on."""
    lines = ["# What took part in this run."]
    lines += [f"{name} = {json.dumps(value)}" for name, value in versions_here().items()]
    found = functools.cache(installation)  # ganvae's own plugins share one distribution
    for plugin in catalogue.ready:
        if plugin.name in names:
            lines += ["", f"[plugins.{plugin.name}]"]
            lines += [
                f"distribution = {json.dumps(plugin.distribution)}",
                f"version = {json.dumps(plugin.version)}",
            ]
            there = found(plugin.distribution)
            lines += ["editable = true"] if there.editable else []
            lines += [f'sha256 = "{there.sha256}"'] if there.sha256 else []
    return "\n".join(lines) + "\n"


def versions_here() -> dict[str, str]:
    """Of Python, and of what every run depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in BESIDE}}


def read_lock(path: Path) -> Lock:
    """What a run's lock file says.

    Raises:
        RunError: it is missing or damaged, or holds what no run writes there.
    """
    try:
        values = tomllib.loads(read_text(path))
        plugins = cast("dict[str, Any]", values.pop("plugins", {}))
        return Lock(
            {_word("a name", name): _word(name, value) for name, value in values.items()},
            {_word("a plugin", name): _locked(**entry) for name, entry in plugins.items()},
        )
    except FileNotFoundError:
        raise RunError(f"{path} is missing.") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"{path} cannot be read: {error}") from error


def refuse_missing(path: Path, catalogue: Catalogue) -> None:
    """Say which distribution a run needs, where one of its plugins is not installed.

    Args:
        path: the run's lock file; where it is missing or damaged, nothing can be said here.
        catalogue: what is installed.

    Raises:
        ConfigurationError: a plugin that took part in the run is not installed.
    """
    try:
        plugins = read_lock(path).plugins
    except RunError:
        return  # the run's configuration names what is missing, if not where it came from
    installed = {plugin.name for plugin in catalogue.plugins}
    absent = {name: locked for name, locked in plugins.items() if name not in installed}
    for name, locked in absent.items():
        raise ConfigurationError(
            f"'{path.parent}' needs the plugin '{name}', which is not installed.",
            f"it came with {locked.distribution} {locked.version}:"
            f"  ganvae plugins install {shlex.quote(f'{locked.distribution}=={locked.version}')}",
        )


def refuse_differences(path: Path, catalogue: Catalogue) -> None:
    """Refuse plugins that are not exactly those of a run.

    Args:
        path: the run's lock file.
        catalogue: what is installed.

    Raises:
        RunError: the lock file is missing or damaged.
        ConfigurationError: a plugin of the run is not installed.
        PluginError: a plugin differs from the run's, or cannot be compared with it.
    """
    refuse_missing(path, catalogue)
    for name, locked in sorted(read_lock(path).plugins.items()):
        found = catalogue.find(name)
        if not found.ready:
            raise not_ready(found)
        difference = _difference(found, locked)
        if difference:
            raise PluginError(f"--locked: plugin '{name}': {difference}", *_named(path))


def refuse_newcomers(path: Path, names: Collection[str]) -> None:
    """Refuse plugins that took no part in a run.

    Raises:
        RunError: the lock file is missing or damaged.
        PluginError: one of the plugins is not in it.
    """
    for name in sorted({*names} - {*read_lock(path).plugins}):
        raise PluginError(f"--locked: the plugin '{name}' took no part in '{path.parent}'.", *_named(path))


def changes(path: Path, catalogue: Catalogue) -> tuple[str, ...]:
    """A sentence for each distribution whose version is another one than when a run began."""
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


def _locked(
    *, distribution: object, version: object, sha256: object = "", editable: object = False
) -> LockedPlugin:
    """One plugin's table, once each of its values is of the kind that a run writes.

    Raises:
        ValueError: one is not.
    """
    if not isinstance(sha256, str) or (sha256 and not SHA256.fullmatch(sha256)):
        raise ValueError(f"sha256 is {sha256!r}, which is no SHA-256")
    if not isinstance(editable, bool):
        raise ValueError(f"editable is {editable!r}, neither true nor false")
    return LockedPlugin(_word("distribution", distribution), _word("version", version), sha256, editable)


def _word(what: str, value: object) -> str:
    """A name or a version as it is.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, str) or not WORD.fullmatch(value):
        raise ValueError(f"{what} is {value!r}, which is no name or version")
    return value


def _difference(plugin: Plugin, locked: LockedPlugin) -> str | None:
    """What keeps an installed plugin from being the locked one."""
    if (plugin.distribution, plugin.version) != (locked.distribution, locked.version):
        return (
            f"the run was made with {locked.distribution} {locked.version}, and {plugin.origin} is installed."
        )
    there = installation(plugin.distribution)
    if locked.editable or there.editable:
        when = "was" if locked.editable else "is"
        return f"{plugin.origin} {when} an editable install, whose files may change at any time."
    if not (locked.sha256 and there.sha256):
        return f"{plugin.origin} keeps no record of its files, so they cannot be compared."
    if there.sha256 != locked.sha256:
        return f"the files of {plugin.origin} are not those that the run was made with."
    return None


def _named(path: Path) -> tuple[str, ...]:
    return (f"compared with {path}", "without --locked it is used as it is")
