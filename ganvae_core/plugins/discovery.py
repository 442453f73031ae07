"""Finds the installed plugins. One that is broken is reported and never hurts another.

``importlib.metadata.entry_points`` and pluggy's own loader stop at the first thing that is wrong anywhere in
the environment, so distributions, entry points and hooks are gone through one by one here.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ganvae_core.plugins.catalogue import Catalogue
from ganvae_core.plugins.checks import (
    MODULE,
    RefusalError,
    broken,
    check_api,
    check_name,
    declared_api,
    description,
)
from ganvae_core.plugins.known import KnownPlugin, registry
from ganvae_core.plugins.overlay import chosen_file, read_overlay
from ganvae_core.plugins.policy import OWN, Policy
from ganvae_core.plugins.record import Plugin, State

GROUP = "ganvae"
DISABLE_VARIABLE = "GANVAE_DISABLE_PLUGINS"
IMPORTS_TORCH = "its describing module imports torch, which makes every command slow"


@dataclass(frozen=True)
class Claim:
    """An entry point: a distribution says that it has a plugin of this name in that module."""

    name: str
    entry_point: str
    distribution: str
    version: str


def discover(
    disabled: Collection[str] = (),
    *,
    known: Callable[[], Mapping[str, KnownPlugin]] = registry,
    policy: Policy | None = None,
) -> Catalogue:
    """Find, load and ask every plugin in the environment.

    Args:
        disabled: names of plugins that are not to be imported, beside those in ``GANVAE_DISABLE_PLUGINS``.
        known: gives the plugins that a registry knows; asked only where it matters.
        policy: which plugins may be used; by default all.
    """
    switched_off, policy = {*disabled, *disabled_by_environment()}, policy or Policy()
    claims, unreadable = installed_claims()
    if unreadable:
        # torch looks for backends among all entry points while it is imported, and fails at the first bad file.
        os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    plugins: list[Plugin] = []
    for name in sorted({claim.name for claim in claims}):
        claimants = [claim for claim in claims if claim.name == name]
        refusals = [refused_by_choice(claim, switched_off, policy) for claim in claimants]
        rivals = [claim for claim, refusal in zip(claimants, refusals, strict=True) if refusal is None]
        for claim, refusal in zip(claimants, refusals, strict=True):
            plugins.append(settled(claim, refusal or contested(claim, rivals, known)))
    return Catalogue(tuple(plugins), unreadable=tuple(unreadable), known=known, prefer=policy.prefer)


@functools.cache
def installed_plugins(disabled: frozenset[str] = frozenset(), registry_file: Path | None = None) -> Catalogue:
    """``discover`` once a process: an installation does not change under a running command.

    Args:
        disabled: as for ``discover``.
        registry_file: a registry that lies over ganvae's own; by default the one in ``GANVAE_REGISTRY``.

    Raises:
        ConfigurationError: the registry file cannot be read, or holds something that is no registry's.
    """
    file = chosen_file(registry_file)
    if file is None:
        return discover(disabled)
    overlay = read_overlay(file)
    return discover(disabled, known=lambda: {**registry(), **overlay.plugins}, policy=overlay.policy)


def disabled_by_environment() -> list[str]:
    """The names in ``GANVAE_DISABLE_PLUGINS``, which are separated by commas."""
    names = (name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(","))
    return [name for name in names if name]


def installed_claims() -> tuple[list[Claim], list[str]]:
    """Every entry point of the group, sorted by distribution, and a line for each unreadable distribution."""
    claims: dict[str, list[Claim]] = {}
    unreadable: list[str] = []
    for distribution in importlib.metadata.distributions():
        try:
            # Reading a distribution's name costs ten times as much as looking for the word.
            if GROUP not in (distribution.read_text("entry_points.txt") or ""):
                continue
            key = normalised(distribution.name)
            if key not in claims:
                # Of two copies on the path, Python imports the first, whether it has entry points or not.
                claims[key] = claims_of(importlib.metadata.distribution(key))
        except Exception as error:
            unreadable.append(f"{location(distribution)}: {type(error).__name__}: {error}")
    return [claim for key in sorted(claims) for claim in claims[key]], sorted(unreadable)


def claims_of(distribution: importlib.metadata.Distribution) -> list[Claim]:
    """The entry points of one distribution that are in the group."""
    points = [point for point in distribution.entry_points if point.group == GROUP]
    version = str(distribution.metadata["Version"] or "of no version")
    return [Claim(str(point.name), point.value, distribution.name, version) for point in points]


def normalised(name: str | None) -> str:
    """A distribution's name as package indexes compare it.

    Raises:
        ValueError: it has none.
    """
    if not name:
        raise ValueError("the distribution has no name")
    return re.sub(r"[-_.]+", "-", name).lower()


def location(distribution: importlib.metadata.Distribution) -> str:
    """Where an unreadable distribution lies, so that a person can look at it."""
    return str(getattr(distribution, "_path", distribution))


def settled(claim: Claim, refusal: tuple[State, str] | None) -> Plugin:
    """The plugin that a claim turns out to be. Nothing is imported for one that is refused beforehand."""
    plugin = Plugin(claim.name, "ready", "", claim.distribution, claim.version, claim.entry_point)
    if refusal:
        state, reason = refusal
        return replace(plugin, state=state, reason=reason)
    return loaded(plugin)


def refused_by_choice(claim: Claim, disabled: Collection[str], policy: Policy) -> tuple[State, str] | None:
    """Whether the user, or a registry's policy, does not want the plugin."""
    if claim.name in disabled:
        return "disabled", f"by --disable-plugin or {DISABLE_VARIABLE}"
    denial = policy.refusal(claim.name, normalised(claim.distribution), claim.version)
    return None if denial is None else ("denied", denial)


def contested(
    claim: Claim, rivals: Sequence[Claim], known: Callable[[], Mapping[str, KnownPlugin]]
) -> tuple[State, str] | None:
    """Whether the name is another's: of all who claim it and may be used, or of whom a registry reserves it for."""
    if len(rivals) == 1 and normalised(claim.distribution) == OWN:
        return None
    entry = known().get(claim.name)
    owner = normalised(entry.distribution) if entry else None
    owners = [rival for rival in rivals if normalised(rival.distribution) == owner]
    if len(owners) == 1 and claim is owners[0]:
        return None
    if entry and len(owners) < 2:
        holder = owners[0].distribution if owners else entry.distribution
        return "conflict", f"the name '{claim.name}' is reserved for {holder}"
    if len(rivals) > 1:
        return "conflict", f"'{claim.name}' is claimed by {listed(rivals)}: uninstall one of them"
    return None


def listed(rivals: Iterable[Claim]) -> str:
    """The claims in words."""
    return " and by ".join(f"{rival.distribution} {rival.version} ({rival.entry_point})" for rival in rivals)


def loaded(plugin: Plugin) -> Plugin:
    """The plugin after its module has been imported and its hooks have been asked, ready or refused."""
    slow_already = "torch" in sys.modules
    try:
        # What a module prints while it is imported must not end up among the output that a program reads.
        with contextlib.redirect_stdout(sys.stderr):
            check_name("the plugin", plugin.name)
            if not MODULE.fullmatch(plugin.entry_point):
                raise broken(
                    f"its entry point {plugin.entry_point!r} is not a module such as 'package.plugin'"
                )
            module = importlib.import_module(plugin.entry_point)
            api = declared_api(module)
            plugin = replace(plugin, package=module.__package__ or "", api=api)
            check_api(api)
            components, recipes, commands = description(plugin.name, module)
    except KeyboardInterrupt:
        raise
    except RefusalError as refusal:
        cause = refusal.__cause__
        return replace(plugin, state=refusal.state, reason=refusal.reason, traceback=formatted(cause))
    except BaseException as error:  # a module may even call sys.exit while it is imported
        return replace(plugin, state="broken", reason=in_one_line(error), traceback=formatted(error))
    slow = "torch" in sys.modules and not slow_already
    return replace(
        plugin,
        components=components,
        recipes=recipes,
        commands=commands,
        remark=IMPORTS_TORCH if slow else "",
    )


def in_one_line(error: BaseException) -> str:
    """An exception's type and message, even where asking it for its message fails."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be shown)"
    return " ".join(f"{type(error).__name__}: {message}".split())


def formatted(error: BaseException | None) -> str:
    """The traceback of what a plugin's own code raised, or nothing where the plugin is merely wrong."""
    if error is None:
        return ""
    import traceback

    return "".join(traceback.format_exception(error))
