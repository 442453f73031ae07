"""What a run's lock file says, and when installed plugins are those that it names."""

from __future__ import annotations

import json
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from fake_distributions import Environment

from ganvae_core.config.configuration import configure
from ganvae_core.config.layers import parse_yaml
from ganvae_core.errors import ConfigurationError, PluginError, RunError
from ganvae_core.plugins import Catalogue, discover, installed_plugins
from ganvae_core.plugins.lock import (
    changes,
    lock_text,
    read_lock,
    refuse_differences,
    refuse_missing,
    refuse_newcomers,
)


def record(environment: Environment) -> None:
    environment.write(
        "x_acme-1.0.dist-info/RECORD", "x_acme/__init__.py,sha256=abc,0\nx_acme/plugin.py,sha256=abc,0\n"
    )


def make_editable(environment: Environment) -> None:
    environment.write("x_acme-1.0.dist-info/direct_url.json", json.dumps({"dir_info": {"editable": True}}))


@pytest.fixture
def acme(environment: Environment) -> Catalogue:
    environment.plugin("acme")
    record(environment)
    return discover()


@pytest.fixture
def lock(acme: Catalogue, tmp_path: Path) -> Path:
    path = tmp_path / "run" / "plugins.lock.toml"
    path.parent.mkdir()
    path.write_text(lock_text(acme, ["acme"]))
    return path


def test_it_names_versions_and_files(lock: Path) -> None:
    values = tomllib.loads(lock.read_text())
    assert values["torch"] == version("torch")
    assert (values["plugins"]["acme"]["distribution"], values["plugins"]["acme"]["version"]) == (
        "x-acme",
        "1.0",
    )
    assert len(values["plugins"]["acme"]["sha256"]) == 64
    assert list(values["plugins"]) == ["acme"]


def test_the_very_plugins_are_accepted(lock: Path, acme: Catalogue) -> None:
    refuse_differences(lock, acme)
    refuse_newcomers(lock, ["acme"])
    assert changes(lock, acme) == ()


def test_a_changed_file_is_refused(lock: Path, acme: Catalogue, environment: Environment) -> None:
    environment.write("x_acme/__init__.py", "x = 1")
    with pytest.raises(PluginError, match=r"'acme': the files of x-acme 1\.0 are not those") as caught:
        refuse_differences(lock, acme)
    assert caught.value.hints == (f"compared with {lock}", "without --locked it is used as it is")


def test_an_install_that_became_editable_is_refused(
    lock: Path, acme: Catalogue, environment: Environment
) -> None:
    make_editable(environment)
    with pytest.raises(PluginError, match=r"x-acme 1\.0 is an editable install"):
        refuse_differences(lock, acme)


def test_an_install_that_was_editable_is_recorded_as_such_and_refused(
    environment: Environment, tmp_path: Path
) -> None:
    environment.plugin("acme")
    make_editable(environment)
    path = tmp_path / "plugins.lock.toml"
    path.write_text(lock_text(discover(), ["acme"]))
    assert tomllib.loads(path.read_text())["plugins"]["acme"]["editable"] is True
    with pytest.raises(PluginError, match=r"x-acme 1\.0 was an editable install"):
        refuse_differences(path, discover())


def test_an_install_without_a_record_cannot_be_compared(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    path = tmp_path / "plugins.lock.toml"
    path.write_text(lock_text(discover(), ["acme"]))
    with pytest.raises(PluginError, match="keeps no record of its files"):
        refuse_differences(path, discover())


@pytest.mark.parametrize(("field", "value"), [("version", "0.9"), ("distribution", "y-acme")])
def test_another_distribution_is_refused_and_another_version_is_said(
    field: str, value: str, lock: Path, acme: Catalogue
) -> None:
    before = {"version": 'version = "1.0"', "distribution": 'distribution = "x-acme"'}[field]
    lock.write_text(lock.read_text().replace(before, f'{field} = "{value}"'))
    with pytest.raises(PluginError, match=r"and x-acme 1\.0 is installed"):
        refuse_differences(lock, acme)
    said = ("x-acme is 1.0 here, and was 0.9 when this run began",) if field == "version" else ()
    assert changes(lock, acme) == said


def test_another_torch_is_said(lock: Path, acme: Catalogue) -> None:
    lock.write_text(lock.read_text().replace(f'torch = "{version("torch")}"', 'torch = "1.0"'))
    assert changes(lock, acme) == (f"torch is {version('torch')} here, and was 1.0 when this run began",)
    refuse_differences(lock, acme)


def test_a_plugin_that_is_not_ready_is_refused(lock: Path) -> None:
    with pytest.raises(PluginError, match="is disabled"):
        refuse_differences(lock, discover(["acme"]))


def test_a_newcomer_is_refused(lock: Path) -> None:
    with pytest.raises(PluginError, match="the plugin 'vae' took no part in"):
        refuse_newcomers(lock, ["acme", "vae"])


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
    damaged("version", '"1\\n"'), damaged("version", '""'), damaged("sha256", '"xyz"'), damaged("sha256", "1"),
    damaged("editable", '"yes"'), damaged("editable", "1"), '[plugins."a; b"]\ndistribution = "x"\nversion = "1"',
)  # fmt: skip


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_lock_is_an_error_only_where_it_is_compared_with(
    text: str | None, lock: Path, acme: Catalogue
) -> None:
    lock.unlink() if text is None else lock.write_text(text)
    refuse_missing(lock, acme)
    assert changes(lock, acme) == ()
    with pytest.raises(RunError, match=r"plugins\.lock\.toml"):
        refuse_differences(lock, acme)
    with pytest.raises(RunError):
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
