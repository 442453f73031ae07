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
    from pathlib import Path

    from ganvae_core.plugins.installer import InstallerError


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
        ConfigurationError: the registry's policy denies it, it comes with ganvae, or is installed by hand.
    """
    from ganvae_core.plugins.installer import requirement_of
    from ganvae_core.plugins.known import registry
    from ganvae_core.plugins.overlay import read_overlay

    file = registry_file()
    overlay = read_overlay(file) if file else None
    known = {**registry(), **(overlay.plugins if overlay else {})}
    if editable or what not in known:
        return what
    pin = overlay.policy.pins.get(what) if overlay else None
    if overlay and what in overlay.policy.deny:
        raise ConfigurationError(f"'{what}' is denied by {file}.")
    requirement = requirement_of(known[what])
    return f"{requirement}{pin.version}" if pin and requirement == known[what].distribution else requirement


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
