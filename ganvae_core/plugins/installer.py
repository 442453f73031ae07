"""Installs plugins with this interpreter's pip or uv, torch and ganvae held at the versions that are installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ganvae_core.errors import ConfigurationError, PluginError
from ganvae_core.plugins.discovery import GROUP, Claim, installed_claims, normalised
from ganvae_core.plugins.known import KnownPlugin
from ganvae_core.plugins.policy import OWN

HELD = ("torch", "ganvae")
"""Distributions that an installation must not change."""
SHOWN_LINES = 10
BOILERPLATE = (
    "To fix this you could try",
    "1. loosen the range",
    "2. remove package versions",
    "ResolutionImpossible:",
    "note: This error originates from a subprocess",
    "note: This is an issue with the package",
    "[end of output]",
    "metadata-generation-failed",
    "See above for output",
    "^",
)
"""How lines of pip's begin that say nothing about the case at hand."""


class InstallerError(ConfigurationError):
    """pip or uv refused.

    Args:
        message: what could not be done.
        output: all that the program said.
        hints: further lines.
    """

    def __init__(self, message: str, output: str, *hints: str) -> None:
        super().__init__(message, *hints)
        self.output = output


def install(target: str, *, editable: bool = False, upgrade: bool = False) -> list[Claim]:
    """Install a distribution, and say which plugins it has.

    Args:
        target: a requirement, a wheel, a URL, or the path of a project.
        editable: as ``pip install -e``: the project's files themselves are used.
        upgrade: take a newer version where there is one.

    Raises:
        InstallerError: pip or uv refused.
        PluginError: it is installed and offers no plugin.
    """
    path = Path(target.partition("[")[0])
    is_path = editable or target.startswith((".", "/", "~")) or path.suffix == ".whl"
    if is_path and "://" not in target and not path.exists():
        raise ConfigurationError(f"there is no file and no folder '{path}' to install.")
    before = plugin_records()
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "held.txt"
        held = [f"{name}=={importlib.metadata.version(name)}" for name in HELD]
        constraints.write_text("\n".join(held) + "\n", encoding="utf-8")
        options = [*(["--upgrade"] if upgrade else []), *(["--editable"] if editable else [])]
        run_installer(
            ["install", "--constraint", str(constraints), *options, target],
            f"{target} could not be installed.",
        )
    importlib.invalidate_caches()
    after = plugin_records()
    name = distribution_named(target)
    changed = {key for key in after if after[key] != before.get(key)}
    wanted = {normalised(name)} if name else changed
    claims = [claim for claim in installed_claims()[0] if normalised(claim.distribution) in wanted]
    if not claims:
        raise PluginError(
            f"{name or target} is installed, and offers no plugin: it has no entry point in the group '{GROUP}'.",
            f"remove it:  {sys.executable} -m pip uninstall {name}" if name else "",
        )
    return claims


def uninstall(name: str) -> list[Claim]:
    """Uninstall the distribution that a plugin came with; nothing of it is imported.

    Args:
        name: of the plugin, or of the distribution.

    Returns:
        The plugins that went with it.

    Raises:
        ConfigurationError: there is no such plugin, it is ganvae's own, or several distributions claim the name.
        InstallerError: pip or uv refused.
    """
    claims, _ = installed_claims()
    found = {claim.distribution for claim in claims if name == claim.name}
    found = found or {
        claim.distribution for claim in claims if normalised(name) == normalised(claim.distribution)
    }
    if not found:
        raise ConfigurationError(f"no plugin '{name}' is installed.", "ganvae plugins list")
    if len(found) > 1:
        raise ConfigurationError(
            f"'{name}' is claimed by {' and by '.join(sorted(found))}; name the distribution.",
            *(
                f"ganvae plugins uninstall {distribution}"
                for distribution in sorted(found)
                if distribution != OWN
            ),
        )
    [distribution] = found
    if normalised(distribution) == OWN:
        raise ConfigurationError(
            f"'{name}' is a part of ganvae itself.", f"leave it out:  --disable-plugin {name}"
        )
    run_installer(["uninstall", distribution], f"{distribution} could not be uninstalled.")
    return [claim for claim in claims if claim.distribution == distribution]


def requirement_of(known: KnownPlugin) -> str:
    """What is to be installed for a plugin of a registry.

    Raises:
        ConfigurationError: it comes with ganvae, or its registry has instructions that are for a person.
    """
    if normalised(known.distribution) == OWN:
        raise ConfigurationError(f"'{known.name}' is a part of ganvae itself.", "ganvae plugins list")
    words = known.install.split()
    if words[:2] != ["pip", "install"] or len(words) != 3 or words[2].startswith("-"):
        raise ConfigurationError(f"'{known.name}' is installed by hand:  {known.install}")
    return words[2].strip("'\"")


def distribution_named(target: str) -> str | None:
    """The name of the distribution that a requirement, a file or a project is for; None where it does not say."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import (
        InvalidSdistFilename,
        InvalidWheelFilename,
        parse_sdist_filename,
        parse_wheel_filename,
    )

    path = Path(target.partition("[")[0])
    try:
        if " @ " in target:
            return Requirement(target).name
        if path.is_dir():
            return project_name(path)
        if path.suffix == ".whl":
            return str(parse_wheel_filename(path.name)[0])
        if path.is_file():
            return str(parse_sdist_filename(path.name)[0])
        return Requirement(target).name
    except (InvalidRequirement, InvalidSdistFilename, InvalidWheelFilename):
        return None


def plugins_meant(target: str, known: Mapping[str, KnownPlugin]) -> set[str]:
    """Names of the plugins that an installation would bring, as far as that is said before it.

    Args:
        target: a requirement, a wheel, a URL, or the path of a project.
        known: the plugins of the registries.
    """
    path = Path(target.partition("[")[0])
    found = plugins_in(path)
    name = distribution_named(target)
    if name:
        found |= {one.name for one in known.values() if normalised(one.distribution) == normalised(name)}
        # What says nothing of itself is taken for what it is called.
        found |= set() if found else {normalised(name), normalised(name).removeprefix(f"{OWN}-")}
    return {normalised(one) for one in found}


def plugins_in(path: Path) -> set[str]:
    """Names of the plugins that a wheel or a project's ``pyproject.toml`` declares; none where it does not say."""
    import configparser
    import zipfile

    try:
        if path.is_dir():
            return {*project_table(path)["entry-points"][GROUP]}
        with zipfile.ZipFile(path) as archive:
            [points] = [one for one in archive.namelist() if one.endswith(".dist-info/entry_points.txt")]
            parser = configparser.ConfigParser(delimiters=("=",))
            parser.read_string(archive.read(points).decode())
            return {*parser[GROUP]}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, configparser.Error):
        return set()


def project_name(folder: Path) -> str | None:
    """The name in a project's ``pyproject.toml``; None where another file has it."""
    try:
        return project_table(folder)["name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def project_table(folder: Path) -> Any:
    """The table ``project`` of a ``pyproject.toml``, whatever it is.

    Raises:
        OSError, ValueError, KeyError, TypeError: there is none.
    """
    import tomllib

    values: Any = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    return values["project"]


def plugin_records() -> Mapping[str, tuple[str, ...]]:
    """What is written down of each installed distribution with plugins: another text after another installation."""
    records: dict[str, tuple[str, ...]] = {}
    for claim in installed_claims()[0]:
        found = importlib.metadata.distribution(claim.distribution)
        texts = (found.read_text(name) or "" for name in ("METADATA", "RECORD", "direct_url.json"))
        records[normalised(claim.distribution)] = tuple(texts)
    return records


def run_installer(arguments: Sequence[str], failure: str) -> None:
    """Let pip, or uv where there is no pip, do something to this interpreter's environment.

    Args:
        arguments: the verb and what follows it.
        failure: what to say when it refuses.

    Raises:
        InstallerError: it refused; the hints are its reasons.
        ConfigurationError: there is neither.
    """
    done = subprocess.run(
        installer_command(*arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        raise InstallerError(failure, output, *reasons(output))


def installer_command(verb: str, *arguments: str) -> list[str]:
    """A command of pip's, or of uv's where there is no pip, for this interpreter's environment.

    Raises:
        ConfigurationError: there is neither.
    """
    if find_spec("pip") is not None:
        quiet = ["--disable-pip-version-check", "--no-input", "--no-color"]
        yes = ["--yes"] if verb == "uninstall" else []
        return [sys.executable, "-m", "pip", *quiet, verb, *yes, *arguments]
    uv = shutil.which("uv")
    if uv is None:
        raise ConfigurationError(
            "there is neither pip nor uv, so nothing can be installed.", f"{sys.executable} -m ensurepip"
        )
    return [uv, "--no-progress", "--color", "never", "pip", verb, "--python", sys.executable, *arguments]


def reasons(output: str) -> list[str]:
    """The lines of an installer's output that say what is wrong."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    chosen: list[str] = []
    in_reason = False
    after_frame = False
    for line in lines:
        text = line.strip()
        begins = text.lower().startswith(("error:", "the conflict is caused by", "× "))
        # What follows is indented, or is drawn by uv beside its reason.
        in_reason = begins or (in_reason and line.startswith((" ", "│", "╰")))
        # Of a traceback only the exception counts: not the frames, each of which is followed by its line of code.
        is_frame = text.startswith(("Traceback (", 'File "'))
        if in_reason and not is_frame and not after_frame:
            text = text.removeprefix("ERROR: ").removeprefix("error: ")
            chosen += [] if text.startswith(BOILERPLATE) else [text]
        after_frame = text.startswith('File "')
    if "Exception:" in chosen:  # pip itself failed, and its traceback follows
        chosen = lines[-1:]
    return (list(dict.fromkeys(chosen)) or lines)[-SHOWN_LINES:]


def states(registry: Path | None = None) -> Mapping[str, Mapping[str, Any]]:
    """All plugins by name, as a new process finds them, in which what was just installed can be seen.

    Args:
        registry: the registry file in force.

    Raises:
        PluginError: that process did not survive its plugins.
    """
    command = [sys.executable, "-m", "ganvae_core", "plugins", "list", "--json"]
    command += ["--registry", str(registry)] if registry else []
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    try:
        listed: Any = json.loads(done.stdout)
    except ValueError:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-SHOWN_LINES:]
        raise PluginError(f"with it `ganvae plugins list` ends with {done.returncode}.", *said) from None
    return {plugin["name"]: plugin for plugin in listed}
