"""``ganvae plugins install`` and ``uninstall``."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click

from ganvae_core.cli.frame import PluginName, settings
from ganvae_core.cli.output import note, said_if_slow
from ganvae_core.errors import ConfigurationError, PluginError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from ganvae_core.plugins.installer import InstallerError
    from ganvae_core.plugins.known import KnownPlugin
    from ganvae_core.plugins.policy import Policy


@click.command()
@click.argument("what", metavar="D")
@click.option("-e", "--editable", is_flag=True, help="D is a folder, whose files themselves are used.")
@click.option("-U", "--upgrade", is_flag=True, help="Take a newer version where there is one.")
def install(what: str, editable: bool, upgrade: bool) -> None:
    """Install the distribution D with pip, and check the plugins in it.

    D is a plugin that the registry knows, a requirement, a wheel, a URL, or the folder of a project. torch and ganvae
    keep the versions that they have. Settings of pip's own work, such as PIP_INDEX_URL.

    \b
    ganvae plugins install ganvae-swae
    ganvae plugins install -e ganvae-mine
    """
    from ganvae_core.plugins import installer

    file = registry_file()
    target = wanted(what, editable)
    try:
        with said_if_slow(f"installing {target}"):
            claims = installer.install(target, editable=editable, upgrade=upgrade)
    except installer.InstallerError as error:
        say_all(error)
        raise
    distribution = claims[0].distribution
    try:
        found = installer.states(file)
    except PluginError as error:
        raise PluginError(
            f"{distribution} is installed, and {error.message}",
            *error.hints,
            f"ganvae plugins uninstall {distribution}",
        ) from error
    unusable: list[str] = []
    for claim in claims:
        show(claim.name, file)
        if found.get(claim.name, {}).get("state") != "ready":
            unusable.append(claim.name)
    if unusable:
        raise PluginError(
            f"{distribution} is installed, and {' and '.join(map(repr, unusable))} cannot be used.",
            *(f"ganvae plugins info {name} --traceback" for name in unusable),
            f"ganvae plugins uninstall {distribution}",
        )


@click.command()
@click.argument("name", metavar="D", type=PluginName())
def uninstall(name: str) -> None:
    """Uninstall a plugin, or the distribution D with all its plugins. None of it is imported, however broken."""
    from ganvae_core.plugins import installer

    try:
        with said_if_slow(f"uninstalling {name}"):
            gone = installer.uninstall(name)
    except installer.InstallerError as error:
        say_all(error)
        raise
    names = ", ".join(claim.name for claim in gone)
    note(f"{gone[0].distribution} {gone[0].version} is uninstalled, and with it: {names}")


def registry_file() -> Path | None:
    """The registry file in force."""
    from ganvae_core.plugins.overlay import chosen_file

    return chosen_file(settings().registry)


def wanted(what: str, editable: bool) -> str:
    """What pip is asked for.

    Raises:
        ConfigurationError: the registry's policy refuses it, it comes with ganvae, or is installed by hand.
    """
    from ganvae_core.plugins.installer import plugins_meant, requirement_of
    from ganvae_core.plugins.known import registry
    from ganvae_core.plugins.overlay import read_overlay

    file = registry_file()
    overlay = read_overlay(file) if file else None
    known = {**registry(), **(overlay.plugins if overlay else {})}
    by_name = not editable and what in known
    if overlay:
        refuse_unwanted(what, {what} if by_name else plugins_meant(what, known), known, overlay.policy)
    if not by_name:
        return what
    pin = overlay.policy.pins.get(what) if overlay else None
    requirement = requirement_of(known[what])
    return f"{requirement}{pin.version}" if pin and requirement == known[what].distribution else requirement


def refuse_unwanted(
    what: str, names: Collection[str], known: Mapping[str, KnownPlugin], policy: Policy
) -> None:
    """Refuse before anything is downloaded or built what a policy would not let be used.

    Args:
        what: was asked for.
        names: of the plugins that it stands for, as far as that can be said.
        known: the plugins of the registries.
        policy: of the registry file in force.

    Raises:
        ConfigurationError: one of them is denied, or there is an allowlist and none of them is on it.
    """
    from ganvae_core.plugins.discovery import normalised
    from ganvae_core.plugins.policy import OWN

    denied = sorted({*names} & {normalised(name) for name in policy.deny})
    if denied:
        called = f"'{what}'" if what in denied else f"'{what}' has the plugin '{denied[0]}', which"
        raise ConfigurationError(f"{called} is denied by {policy.origin}.")
    allowed = {normalised(name) for name in policy.allow}
    allowed |= {name for name, plugin in known.items() if plugin.distribution == OWN}
    if policy.mode == "allowlist" and not allowed & {*names}:
        raise ConfigurationError(
            f"'{what}' is none of the plugins that {policy.origin} allows.",
            "a plugin is allowed by its name, and what it is installed from is said there, too:"
            "  [plugins.NAME]  distribution, install",
        )


def show(name: str, file: Path | None) -> None:
    """Print what there is to know of a plugin, by a new process: this one has not seen it come."""
    sys.stdout.flush()
    command = [sys.executable, "-m", "ganvae_core", "plugins", "info", name]
    command += ["--registry", str(file)] if file else []
    subprocess.run(command, check=False)


def say_all(error: InstallerError) -> None:
    """Print all that pip said, where that was asked for."""
    if settings().traceback:
        note(error.output.rstrip())
