"""``registry.toml`` says what is true of the plugins that are shipped with the core."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import ganvae_core
from ganvae_core.errors import ConfigurationError
from ganvae_core.plugins import discover, registry
from ganvae_core.plugins.known import parse_registry


def test_the_registry_lists_exactly_the_entry_points_of_ganvae() -> None:
    shipped = {
        point.name: point.value for point in entry_points(group="ganvae") if point.dist.name == "ganvae"
    }
    assert {
        name: known.entry_point for name, known in registry().items() if known.distribution == "ganvae"
    } == shipped


@pytest.mark.parametrize("name", sorted(registry()))
def test_the_registry_says_what_the_hooks_say(name: str) -> None:
    plugin, known = discover().plugin(name), registry()[name]
    assert sorted(known.components) == sorted(f"{part.kind}/{part.name}" for part in plugin.components)
    assert sorted(known.recipes) == sorted(recipe.name for recipe in plugin.recipes)
    assert (known.distribution, known.entry_point) == (plugin.distribution, plugin.entry_point)
    assert known.summary
    assert known.install == f"pip install {known.distribution}"


@pytest.mark.parametrize("name", sorted(registry()))
def test_every_component_that_is_listed_can_be_imported(name: str) -> None:
    catalogue = discover()
    for component in catalogue.plugin(name).components:
        assert callable(catalogue.load(component))


@pytest.mark.parametrize("name", [name for name, known in sorted(registry().items()) if known.recipes])
def test_every_default_recipe_can_be_read(name: str) -> None:
    spec, text = discover().recipe(name)
    assert spec.name == name
    assert text.strip()


def test_a_registry_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="does not begin with  version = 1"):
        parse_registry("version = 2", "registry.toml")


@pytest.mark.parametrize("layout", ["inside the package, as in a wheel", "beside it, as in a checkout"])
def test_the_registry_is_found(layout: str, tmp_path: Path) -> None:
    package = tmp_path / "ganvae_core"
    unwanted = shutil.ignore_patterns("__pycache__", "registry.toml")
    shutil.copytree(Path(ganvae_core.__file__).parent, package, ignore=unwanted)
    place = package if layout.startswith("inside") else tmp_path
    (place / "registry.toml").write_text("version = 1\n[plugins]\n")
    script = "from ganvae_core.plugins import registry; print(dict(registry()))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    assert (done.stdout, done.stderr) == ("{}\n", "")
