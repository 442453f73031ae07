"""Installs and uninstalls plugins with pip, or with uv where there is no pip. Their output is shown as it comes."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ganvae_core.errors import ConfigurationError, PluginError
from ganvae_core.plugins.catalogue import Plugin
from ganvae_core.plugins.discovery import installed_claims, normalised
from ganvae_core.plugins.known import OWN, KnownPlugin

HELD = ("torch", "ganvae")
"""Distributions whose versions an installation keeps."""


def install(words: Sequence[str]) -> list[Plugin]:
    """Install a distribution with torch and ganvae held at their versions.

    Args:
        words: requirements and options for ``pip install``.

    Returns:
        The plugins that are new or have another version, not imported.

    Raises:
        ConfigurationError: pip failed, or there is neither pip nor uv.
    """
    before = {(claim.name, claim.origin) for claim in installed_claims()[0]}
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "held.txt"
        held = [f"{name}=={importlib.metadata.version(name)}\n" for name in HELD]
        constraints.write_text("".join(held), encoding="utf-8")
        run_installer("install", "--constraint", str(constraints), *words)
    importlib.invalidate_caches()
    return [claim for claim in installed_claims()[0] if (claim.name, claim.origin) not in before]


def uninstall(name: str) -> list[Plugin]:
    """Uninstall a plugin's distribution. None of its code is imported.

    Args:
        name: of the plugin, or of the distribution.

    Returns:
        The plugins of that distribution.

    Raises:
        ConfigurationError: there is no such plugin, it is ganvae's own, several distributions claim the name, or pip
            failed.
    """
    claims = installed_claims()[0]
    found = [claim for claim in claims if claim.name == name]
    found = found or [claim for claim in claims if normalised(claim.distribution) == normalised(name)]
    distributions = sorted({claim.distribution for claim in found})
    if not found:
        raise ConfigurationError(f"no plugin '{name}' is installed.", "ganvae plugins list")
    if len(distributions) > 1:
        raise ConfigurationError(
            f"'{name}' is claimed by {' and by '.join(distributions)}; name the distribution.",
            *(f"ganvae plugins uninstall {one}" for one in distributions if one != OWN),
        )
    if distributions == [OWN]:
        raise ConfigurationError(
            f"'{name}' is a part of ganvae itself.", f"leave it out:  --disable-plugin {name}"
        )
    run_installer("uninstall", *distributions)
    return [claim for claim in claims if claim.distribution == distributions[0]]


def requirements_of(known: KnownPlugin) -> list[str]:
    """The words after ``pip install`` in a registry's entry.

    Raises:
        ConfigurationError: the plugin comes with ganvae, or its command is not pip's.
    """
    if known.distribution == OWN:
        raise ConfigurationError(f"'{known.name}' is a part of ganvae itself.", "ganvae plugins list")
    words = shlex.split(known.install)
    if words[:2] != ["pip", "install"]:
        raise ConfigurationError(f"'{known.name}' is not installed by pip:  {known.install}")
    return words[2:]


def run_installer(verb: str, *arguments: str) -> None:
    """Run pip, or uv, for this interpreter's environment. Its output goes to standard error.

    Raises:
        ConfigurationError: it failed, or there is neither.
    """
    command = installer_command(verb, *arguments)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=2, check=False)
    if done.returncode:
        raise ConfigurationError(f"{verb} failed, for the reason above.")


def installer_command(verb: str, *arguments: str) -> list[str]:
    """A command of pip's, or of uv's where there is no pip, for this interpreter's environment.

    Raises:
        ConfigurationError: there is neither.
    """
    if find_spec("pip") is not None:
        yes = ["--yes"] if verb == "uninstall" else []
        return [sys.executable, "-m", "pip", "--no-input", verb, *yes, *arguments]
    uv = shutil.which("uv")
    if uv is None:
        raise ConfigurationError(
            "there is neither pip nor uv, so nothing can be installed.", f"{sys.executable} -m ensurepip"
        )
    return [uv, "pip", verb, "--python", sys.executable, *arguments]


def plugins_now(registry: Path | None = None) -> list[dict[str, Any]]:
    """All plugins as ``plugins list --json`` prints them, by a new process: this one does not see new ``.pth`` files.

    Args:
        registry: the user's registry file.

    Raises:
        PluginError: that process failed.
    """
    command = [sys.executable, "-m", "ganvae_core", "plugins", "list", "--json"]
    command += ["--registry", str(registry)] if registry else []
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise PluginError(f"`ganvae plugins list` ends with exit code {done.returncode}.")
    return json.loads(done.stdout)
