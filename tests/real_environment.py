"""Fresh virtual environments in which ganvae and plugins are really installed, as wheels, by pip.

torch and the rest come from the environment that runs the tests, by a ``.pth`` file: what is installed in the fresh one
comes before it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path

from warm import Done, Python, warm

ROOT = Path(__file__).parents[1]
HEAVY = {"run", "sample", "encode", "check"}
"""Verbs that import torch."""


class RealEnvironment:
    """A virtual environment with ganvae in it.

    Args:
        folder: where it is made.
        ganvae_wheel: what is installed into it.
    """

    def __init__(self, folder: Path, ganvae_wheel: Path) -> None:
        self.folder = folder
        venv.create(folder, with_pip=False, symlinks=True)
        paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
        self.site = Path(paths["purelib"])
        self.scripts = Path(paths["scripts"])
        (self.site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.install(ganvae_wheel)

    @property
    def python(self) -> Path:
        return self.scripts / "python"

    def install(self, *wheels: Path) -> None:
        """Install wheels, as they are."""
        done = self.run(self.python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", *wheels)
        assert done.code == 0, done.err

    def ganvae(self, *arguments: object, **variables: str) -> Done:
        """Run ganvae in the environment's folder: the installed script, or a process that begins with torch."""
        if HEAVY & {str(word) for word in arguments[:2]}:
            return self.warm("ganvae_core", *arguments, **variables)
        return self.run(self.scripts / "ganvae", *arguments, **variables)

    def warm(self, module: str, *arguments: object, code: str = "", **variables: str) -> Done:
        """Run a module, or code, in a process that begins with torch, and sees nothing of the checkout."""
        python = Python(self.python, self.folder, self.site)
        environment = self.variables() | variables
        return warm(module, *arguments, code=code, folder=self.folder, variables=environment, python=python)

    def run(self, *command: object, **variables: str) -> Done:
        """Run a command that sees nothing of the checkout."""
        done = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            env=self.variables() | variables,
            capture_output=True,
            text=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def variables(self) -> dict[str, str]:
        """Of the processes that run in the environment: pip asks no server, and builds with what is there."""
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PYTHON", "PIP_", "GANVAE_"))
        }
        path = os.pathsep.join([str(self.scripts), kept.get("PATH", "")])
        return kept | {
            "PATH": path,
            "OMP_NUM_THREADS": "1",
            "PIP_CONFIG_FILE": os.devnull,  # what this machine's pip is told is no part of what is tested
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "false",  # pip reads a negated option's variable as the option's value
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def ganvae_wheel(folder: Path) -> Path:
    """A wheel of this checkout."""
    return built(ROOT, folder)


def built(project: Path, folder: Path) -> Path:
    """The wheel of a project that hatchling builds."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def wheel(
    folder: Path,
    name: str,
    entry_points: str,
    files: Mapping[str, str],
    version: str = "1.0",
    requires: str = "",
) -> Path:
    """A wheel made by hand, as any build backend might make it.

    Args:
        folder: where it goes.
        name: of the distribution.
        entry_points: text of ``entry_points.txt``.
        files: path and text of what it installs.
        version: of the distribution.
        requires: a requirement.
    """
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    everything = dict(files) | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": entry_points,
    }
    rows = [f"{path},{recorded(text)},{len(text.encode())}" for path, text in everything.items()]
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in everything.items():
            archive.writestr(inside, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    return path


def recorded(text: str) -> str:
    """A hash as RECORD writes it."""
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
