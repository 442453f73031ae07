"""Distributions made of real ``*.dist-info`` folders on ``sys.path``, as an installer leaves them."""

from __future__ import annotations

from pathlib import Path

from ganvae_core.plugins import Catalogue, Plugin, discover

GOOD = """
from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1

@hookimpl
def ganvae_components():
    return [ComponentSpec("prior", "flat", "{package}.parts:Flat", "a flat prior")]
"""


class Environment:
    """A folder on ``sys.path`` in which distributions are installed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, path: str, text: str) -> None:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def distribution(
        self, name: str, entry_points: str, version: str = "1.0", metadata: str | None = None
    ) -> None:
        """Install a distribution whose ``entry_points.txt`` is this text."""
        info = f"{name.replace('-', '_')}-{version}.dist-info"
        self.write(
            f"{info}/METADATA", metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        self.write(f"{info}/entry_points.txt", entry_points)

    def plugin(self, name: str, module: str = GOOD, package: str | None = None) -> str:
        """Install a distribution ``x-<name>`` with one plugin, and return its package's name."""
        package = package or f"x_{name.replace('-', '_')}"
        self.write(f"{package}/__init__.py", "")
        self.write(f"{package}/plugin.py", module.replace("{package}", package))
        self.distribution(f"x-{name}", f"[ganvae]\n{name} = {package}.plugin\n")
        return package

    def found(self, name: str, **options: object) -> Plugin:
        """The only plugin of that name that discovery finds."""
        [plugin] = claimants(discover(**options), name)
        return plugin


def claimants(catalogue: Catalogue, name: str) -> list[Plugin]:
    return [plugin for plugin in catalogue.plugins if plugin.name == name]
