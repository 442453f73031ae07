"""A run's lock file: what it records, what is said when a version changed or a plugin is missing."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from fake_distributions import Environment

from ganvae_core.config.configuration import configure
from ganvae_core.config.layers import parse_yaml
from ganvae_core.errors import ConfigurationError, RunError
from ganvae_core.plugins import Catalogue, discover, installed_plugins
from ganvae_core.plugins.lock import LockedPlugin, changes, lock_text, read_lock, refuse_missing


@pytest.fixture
def acme(environment: Environment) -> Catalogue:
    environment.plugin("acme")
    return discover()


@pytest.fixture
def lock(acme: Catalogue, tmp_path: Path) -> Path:
    path = tmp_path / "run" / "plugins.lock.toml"
    path.parent.mkdir()
    path.write_text(lock_text(acme, ["acme"]))
    return path


def test_it_names_distributions_and_versions(lock: Path, acme: Catalogue) -> None:
    values = tomllib.loads(lock.read_text())
    assert values["torch"] == version("torch")
    assert values["plugins"] == {"acme": {"distribution": "x-acme", "version": "1.0"}}
    assert changes(lock, acme) == ()


def test_another_version_is_said(lock: Path, acme: Catalogue) -> None:
    lock.write_text(lock.read_text().replace('version = "1.0"', 'version = "0.9"'))
    assert changes(lock, acme) == ("x-acme is 1.0 here, and was 0.9 when this run began",)


def test_another_torch_is_said(lock: Path, acme: Catalogue) -> None:
    lock.write_text(lock.read_text().replace(f'torch = "{version("torch")}"', 'torch = "1.0"'))
    assert changes(lock, acme) == (f"torch is {version('torch')} here, and was 1.0 when this run began",)


def test_a_lock_file_of_the_first_release_is_read(lock: Path) -> None:
    lock.write_text(lock.read_text() + f'editable = true\nsha256 = "{"0" * 64}"\n')
    assert read_lock(lock).plugins == {"acme": LockedPlugin("x-acme", "1.0")}


def test_an_absent_plugin_is_said_with_where_it_came_from(lock: Path) -> None:
    with pytest.raises(ConfigurationError, match="needs the plugin 'acme', which is not installed") as caught:
        refuse_missing(lock, Catalogue(()))
    assert caught.value.hints == ("it came with x-acme 1.0:  ganvae plugins install x-acme==1.0",)


def damaged(key: str, value: str) -> str:
    """A lock file of one plugin, one of whose values is another one."""
    entry = {"distribution": '"x"', "version": '"1"', key: value}
    return "[plugins.acme]\n" + "\n".join(f"{name} = {text}" for name, text in entry.items())


DAMAGED = (
    None, "= 1", "[plugins.acme]\nwhat = 1", "plugins = 1", "torch = ['2.13']",
    'torch = "\\u001b[2J"', "[plugins]\nacme = 1",
    damaged("distribution", '["x"]'), damaged("version", "{ x = 1 }"), damaged("distribution", '"x\'; rm -rf ~ #"'),
    damaged("version", '"1\\n"'), damaged("version", '""'), "[plugins.acme]\ndistribution = 'x'",
    '[plugins."a; b"]\ndistribution = "x"\nversion = "1"',
)  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_lock_is_an_error_only_where_it_is_shown(
    text: str | None, lock: Path, acme: Catalogue
) -> None:
    lock.unlink() if text is None else lock.write_text(text)
    refuse_missing(lock, acme)
    assert changes(lock, acme) == ()
    with pytest.raises(RunError, match=r"plugins\.lock\.toml"):
        read_lock(lock)


def test_all_components_of_a_run_count_nested_ones_too(environment: Environment) -> None:
    environment.plugin("acme")
    environment.write(
        "x_acme/parts.py",
        "import ganvae_core as gv\nclass Flat(gv.LatentPrior):\n    support = 'real'\n"
        "    def __init__(self, latent_shape): super().__init__()\n"
        "    def sample(self, count, condition=None): ...\n    def log_prob(self, z, condition=None): ...\n",
    )
    installed_plugins.cache_clear()
    layer = "prior: {name: composite, parts: [{name: acme/flat, latent_shape: [16]}]}\ncallbacks: [infogan/code-grid]"
    configuration = configure(discover(), "vae", None, [parse_yaml(layer, "here")])
    assert configuration.plugins == {"vae", "builtin", "acme", "infogan"}
