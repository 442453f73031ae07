"""A user's own ``registry.toml``: further plugins that it knows of, and a policy. It lies over ganvae's own."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.plugins.known import REGISTRY_VERSION, KnownPlugin, known_plugin, registry
from ganvae_core.plugins.policy import MODES, OWN, Pin, Policy
from ganvae_core.plugins.specs import KINDS
from ganvae_core.store.files import read_text

VARIABLE = "GANVAE_REGISTRY"
ESSENTIAL = "builtin"
"""The plugin that every recipe needs, so that no policy may refuse it."""


@dataclass(frozen=True)
class Overlay:
    """What a registry file says.

    Args:
        plugins: the plugins that it knows of, by name.
        policy: what it says about their use.
    """

    plugins: Mapping[str, KnownPlugin]
    policy: Policy


def chosen_file(given: Path | None = None) -> Path | None:
    """The registry file in force: the one given, else the one in ``GANVAE_REGISTRY``, else none."""
    named = os.environ.get(VARIABLE, "")
    return given or (Path(named) if named else None)


def read_overlay(path: Path) -> Overlay:
    """The registry in a file.

    Raises:
        ConfigurationError: it cannot be read, or holds something that is no registry's.
    """
    import tomllib

    try:
        values = tomllib.loads(read_text(path))
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no registry file '{path}'.", f"it was named by --registry or {VARIABLE}"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"the registry file '{path}' cannot be read: {error.strerror}.") from None
    except ValueError as error:  # no UTF-8, or no TOML
        raise ConfigurationError(f"{path}: not TOML: {error}") from None
    return Reading(path).overlay(values)


class Reading:
    """Reads one file; every refusal names the file and the key.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def overlay(self, values: Mapping[str, Any]) -> Overlay:
        """The whole file.

        Raises:
            ConfigurationError: something in it is wrong.
        """
        self.check_keys("", values, ("version", "policy", "plugins"))
        version = values.get("version")
        if version != REGISTRY_VERSION:
            said = "does not say its version" if version is None else f"is of version {version!r}"
            raise self.wrong("version", f"the file {said}: version = {REGISTRY_VERSION}")
        plugins = self.table("plugins", values.get("plugins", {}))
        return Overlay(
            {name: self.known(name, entry) for name, entry in plugins.items()},
            self.policy(self.table("policy", values.get("policy", {}))),
        )

    def policy(self, values: Mapping[str, Any]) -> Policy:
        """The table ``policy``."""
        self.check_keys("policy", values, ("mode", "allow", "deny", "pins", "prefer"))
        mode = values.get("mode", "installed")
        if mode not in MODES:
            near = did_you_mean(str(mode), MODES)
            raise self.wrong("policy.mode", f"there is no mode {mode!r}.{near}", f"modes: {', '.join(MODES)}")
        deny = self.names("policy.deny", values.get("deny", []))
        if ESSENTIAL in deny:
            raise self.wrong("policy.deny", f"'{ESSENTIAL}' cannot be denied: every recipe needs it.")
        pins = self.table("policy.pins", values.get("pins", {}))
        prefer = self.table("policy.prefer", values.get("prefer", {}))
        return Policy(
            str(self.path),
            mode,
            self.names("policy.allow", values.get("allow", [])),
            deny,
            {name: self.pin(f"policy.pins.{name}", value) for name, value in pins.items()},
            {key: self.preferred(f"policy.prefer.{key!r}", key, value) for key, value in prefer.items()},
        )

    def pin(self, key: str, value: Any) -> Pin:
        """``"==1.2"``, or ``{version = "==1.2", sha256 = "…"}`` with one of the two or both."""
        given = {"version": value} if isinstance(value, str) else self.table(key, value)
        self.check_keys(key, given, ("version", "sha256"))
        version, sha256 = given.get("version", ""), given.get("sha256", "")
        if not given or (version != "" and not is_exact(version)):
            raise self.wrong(key, f"{version!r} is no pin: it is '==' and a version, such as \"==1.2.0\"")
        if sha256 != "" and not (isinstance(sha256, str) and re.fullmatch(r"[0-9a-f]{64}", sha256)):
            raise self.wrong(
                f"{key}.sha256",
                f"{sha256!r} is no SHA-256, which has 64 digits from 0 to f.",
                "ganvae plugins info P  shows that of an installed plugin",
            )
        return Pin(version, sha256)

    def preferred(self, key: str, short: str, value: Any) -> str:
        """``"kind/name" = "plugin/name"``."""
        kind, _, name = short.partition("/")
        if kind not in KINDS or not name:
            near = did_you_mean(kind, KINDS)
            raise self.wrong(key, f'it is for a kind and a name, such as "objective/hinge".{near}')
        if not isinstance(value, str) or value.partition("/")[2] != name or not value.partition("/")[0]:
            raise self.wrong(
                key, f"{value!r} is no {kind} called '{name}': it is an id such as \"acme/{name}\""
            )
        return value

    def known(self, name: str, value: Any) -> KnownPlugin:
        """The table of one plugin."""
        key = f"plugins.{name}"
        entry = self.table(key, value)
        self.check_keys(key, entry, ("distribution", "entry_point", "summary", "install", "provides"))
        own = registry().get(name)
        if own is not None and own.distribution == OWN and entry.get("distribution") != OWN:
            raise self.wrong(key, f"the name '{name}' is ganvae's own; give the plugin another one.")
        for field in ("distribution", "entry_point", "summary", "install"):
            if not isinstance(entry.get(field, ""), str):
                raise self.wrong(f"{key}.{field}", "it is text.")
        if not entry.get("distribution"):
            raise self.wrong(key, f'it lacks the distribution:  distribution = "ganvae-{name}"')
        provides = self.table(f"{key}.provides", entry.get("provides", {}))
        self.check_keys(f"{key}.provides", provides, ("components", "recipes"))
        for field in provides:
            self.list(f"{key}.provides.{field}", provides[field])
        return known_plugin(name, entry)

    def names(self, key: str, value: Any) -> frozenset[str]:
        """A list of plugins."""
        return frozenset(self.list(key, value))

    def list(self, key: str, value: Any) -> tuple[str, ...]:
        """A list of texts."""
        items = cast(list[Any], value) if isinstance(value, list) else None
        if items is None or not all(isinstance(item, str) for item in items):
            raise self.wrong(key, f'it is a list of names, such as ["acme"], and not {value!r}.')
        return tuple(items)

    def table(self, key: str, value: Any) -> Mapping[str, Any]:
        """A table."""
        if not isinstance(value, Mapping):
            raise self.wrong(key, f"it is a table, [{key}], and not {value!r}.")
        return cast(Mapping[str, Any], value)

    def check_keys(self, key: str, table: Mapping[str, Any], known: Collection[str]) -> None:
        """Refuse a key that means nothing: a policy with a slip in it must not be half in force."""
        for name in table:
            if name not in known:
                full = f"{key}.{name}" if key else name
                near = did_you_mean(name, known)
                raise self.wrong(full, f"there is no such key.{near}", f"there are: {', '.join(known)}")

    def wrong(self, key: str, message: str, *hints: str) -> ConfigurationError:
        """The error for a key of this file."""
        return ConfigurationError(f"{self.path}: {key}: {message}", *hints)


def is_exact(version: object) -> bool:
    """Whether it is ``==`` and one version."""
    from packaging.version import InvalidVersion, Version

    if not isinstance(version, str) or not version.startswith("=="):
        return False
    try:
        Version(version.removeprefix("=="))
    except InvalidVersion:
        return False
    return True
