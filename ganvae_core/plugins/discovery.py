"""Finds the installed plugins and loads each by itself, so that a broken one does not affect the others.

``importlib.metadata.entry_points`` and pluggy's loader stop at the first error anywhere in the environment.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import re
import sys
import traceback
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ganvae_core.plugins.catalogue import Catalogue, Plugin
from ganvae_core.plugins.known import OWN, KnownPlugin, Registry, user_registry
from ganvae_core.plugins.validation import (
    RefusalError,
    check_api,
    check_entry_point,
    declared_api,
    description,
)

GROUP = "ganvae"
DISABLE_VARIABLE = "GANVAE_DISABLE_PLUGINS"


def discover(disabled: Collection[str] = (), user: Registry | None = None) -> Catalogue:
    """Find and load every plugin in the environment.

    Args:
        disabled: names of plugins to leave out, beside those in ``GANVAE_DISABLE_PLUGINS``.
        user: the user's registry; its entries take precedence over ganvae's.
    """
    user = user or Registry()
    left_out = dict.fromkeys(user.disable, f"by {user.origin} (disable)")
    for name in (*disabled, *disabled_by_environment()):
        left_out[name] = f"by --disable-plugin or {DISABLE_VARIABLE}"
    claims, unreadable = installed_claims()
    if unreadable:
        # While it is imported, torch reads all entry points for backends, and fails at the first malformed file.
        os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    plugins: list[Plugin] = []
    for claim in claims:
        rivals = [other for other in claims if other.name == claim.name]
        if claim.name in left_out:
            plugins.append(replace(claim, state="disabled", reason=left_out[claim.name]))
        elif len(rivals) == 1 and normalised(claim.distribution) == OWN:  # needs no look into registry.toml
            plugins.append(loaded(claim))
        else:
            conflict = conflict_of(claim, rivals, user.known().get(claim.name))
            plugins.append(replace(claim, state="conflict", reason=conflict) if conflict else loaded(claim))
    return Catalogue(tuple(plugins), tuple(unreadable), user.known, user.prefer)


@functools.cache
def installed_plugins(disabled: frozenset[str] = frozenset(), registry_file: Path | None = None) -> Catalogue:
    """The result of ``discover``, once a process.

    Args:
        disabled: as for ``discover``.
        registry_file: the user's registry file; by default the one that ``GANVAE_REGISTRY`` names.

    Raises:
        ConfigurationError: the registry file cannot be read, or is wrong.
    """
    return discover(disabled, user_registry(registry_file))


def disabled_by_environment() -> list[str]:
    """The names in ``GANVAE_DISABLE_PLUGINS``, which are separated by commas."""
    names = (name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(","))
    return [name for name in names if name]


def installed_claims() -> tuple[list[Plugin], list[str]]:
    """The plugins that entry points name, not imported yet, and a line for each unreadable distribution.

    Both are sorted, plugins by name and distribution.
    """
    claims: dict[str, list[Plugin]] = {}
    unreadable: list[str] = []
    for distribution in importlib.metadata.distributions():
        try:
            # Searching the text is ten times as fast as reading a distribution's name.
            if GROUP not in (distribution.read_text("entry_points.txt") or ""):
                continue
            key = normalised(distribution.name)
            if key not in claims:
                # Of two copies on the path, Python imports the first, with or without entry points. A folder like
                # ganvae-extra-0.1.dist-info, with a hyphen, is found under the name ganvae, too.
                copies = importlib.metadata.distributions(name=key)
                first = next((copy for copy in copies if normalised(copy.name) == key), distribution)
                version = str(first.metadata["Version"] or "of no version")
                claims[key] = [
                    Plugin(str(point.name), "ready", "", first.name, version, point.value)
                    for point in first.entry_points
                    if point.group == GROUP
                ]
        except Exception as error:
            place = getattr(distribution, "_path", distribution)
            unreadable.append(f"{place}: {type(error).__name__}: {error}")
    found = [claim for key in sorted(claims) for claim in claims[key]]
    return sorted(found, key=lambda claim: claim.name), sorted(unreadable)


def normalised(name: str | None) -> str:
    """A distribution's name as package indexes compare it.

    Raises:
        ValueError: it has none.
    """
    if not name:
        raise ValueError("the distribution has no name")
    return re.sub(r"[-_.]+", "-", name).lower()


def conflict_of(claim: Plugin, rivals: Sequence[Plugin], reserved: KnownPlugin | None) -> str:
    """Why a distribution may not have a plugin's name; empty where it may.

    Args:
        claim: the plugin of that distribution.
        rivals: all plugins of that name, this one included.
        reserved: the registry's entry for the name.
    """
    owner = normalised(reserved.distribution) if reserved else ""
    owners = [rival for rival in rivals if normalised(rival.distribution) == owner]
    if owners == [claim]:
        return ""
    if reserved and len(owners) < 2:
        return f"the name '{claim.name}' is reserved for {reserved.distribution}"
    if len(rivals) > 1:
        listed = " and by ".join(f"{rival.origin} ({rival.entry_point})" for rival in rivals)
        return f"'{claim.name}' is claimed by {listed}: uninstall one of them"
    return ""


def loaded(plugin: Plugin) -> Plugin:
    """The plugin after its module was imported and its hooks were called: ready, broken or incompatible."""
    try:
        # Standard output is for results, so the module's prints go to standard error.
        with contextlib.redirect_stdout(sys.stderr):
            check_entry_point(plugin.name, plugin.entry_point)
            module = importlib.import_module(plugin.entry_point)
            api = declared_api(module)
            plugin = replace(plugin, package=module.__package__ or "", api=api)
            check_api(api)
            components, recipes, commands = description(module)
    except KeyboardInterrupt:
        raise
    except RefusalError as refusal:
        cause = "".join(traceback.format_exception(refusal.__cause__)) if refusal.__cause__ else ""
        return replace(plugin, state=refusal.state, reason=refusal.reason, traceback=cause)
    except BaseException as error:  # a module may even call sys.exit while it is imported
        lines = traceback.format_exception(error)
        reason = " ".join(lines[-1].split())
        return replace(plugin, state="broken", reason=reason, traceback="".join(lines))
    return replace(plugin, components=components, recipes=recipes, commands=commands)
