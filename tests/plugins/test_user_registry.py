"""A registry file of the user's: further plugins, plugins left out, preferences; a mistake in it is an error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_distributions import Environment

from ganvae_core.errors import ConfigurationError, PluginError
from ganvae_core.plugins import Catalogue, installed_plugins
from ganvae_core.plugins.known import user_registry


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text("version = 1\n" + text, encoding="utf-8")
    return path


def under(folder: Path, text: str) -> Catalogue:
    """The installed plugins under a registry file."""
    return installed_plugins.__wrapped__(registry_file=write(folder, text))


def state(catalogue: Catalogue, name: str) -> tuple[str, str]:
    found = catalogue.find(name)
    return found.state, found.reason


def test_a_disabled_plugin_is_not_imported(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    environment.plugin("other")
    catalogue = under(tmp_path, 'disable = ["acme", "ssgan", "not-installed"]')
    assert state(catalogue, "acme") == ("disabled", f"by {tmp_path / 'mine.toml'} (disable)")
    assert state(catalogue, "ssgan")[0] == "disabled"
    assert state(catalogue, "other") == ("ready", "")
    assert "x_acme.plugin" not in sys.modules
    with pytest.raises(PluginError, match=r"'acme' \(x-acme 1.0\) is disabled: by .*mine.toml"):
        catalogue.plugin("acme")


def test_a_preference_settles_a_short_name(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    environment.plugin("other")
    with pytest.raises(ConfigurationError, match="could be any of acme/flat, other/flat"):
        under(tmp_path, "").component("prior", "flat")
    preferring = under(tmp_path, '[prefer]\n"prior/flat" = "other/flat"')
    assert preferring.component("prior", "flat")[0] == "other/flat"
    absent = under(tmp_path, '[prefer]\n"prior/flat" = "gone/flat"')
    with pytest.raises(ConfigurationError, match="could be any of acme/flat, other/flat"):
        absent.component("prior", "flat")


SWAE = '[plugins.swae]\ndistribution = "my-swae"\ninstall = "pip install my-swae"\n'


def test_further_plugins_are_known(tmp_path: Path) -> None:
    catalogue = under(tmp_path, SWAE + '[plugins.swae.provides]\ncomponents = ["prior/ring"]')
    with pytest.raises(ConfigurationError) as caught:
        catalogue.plugin("swae")
    assert "not installed: pip install my-swae" in caught.value.hints
    with pytest.raises(ConfigurationError) as caught:
        catalogue.component("prior", "ring")
    assert caught.value.hints[0] == "plugin 'swae' is not installed: pip install my-swae"
    assert catalogue.find("vae").ready


def test_a_name_is_reserved_though_its_owner_is_not_installed(
    environment: Environment, tmp_path: Path
) -> None:
    environment.plugin("swae")
    assert state(under(tmp_path, SWAE), "swae") == ("conflict", "the name 'swae' is reserved for my-swae")
    assert "x_swae.plugin" not in sys.modules


WRONG = {
    "[plugin.acme]": ("there is no key plugin. Did you mean 'plugins'?", "version, disable, prefer, plugins"),
    "[policy]\ndeny = []": ("there is no key policy.", "keys: version, disable, prefer, plugins"),
    "disable = 'acme'": ("disable is 'acme', not a list of texts",),
    "disable = [1]": ("disable is [1], not a list of texts",),
    "prefer = 1": ("prefer is 1, not a table",),
    "[prefer]\nflat = 'acme/flat'": ("prefer: 'flat' = 'acme/flat' is not of the form KIND/NAME",),
    "[prefer]\n'priors/flat' = 'acme/flat'": ("Did you mean 'prior'?",),
    "[prefer]\n'prior/flat' = 'acme'": ("prefer: 'prior/flat' = 'acme' is not",),
    "[plugins.acme]\nsummary = 'x'": ("plugins.acme has no distribution",),
    "[plugins.acme]\ndistribution = 1": ("plugins.acme.distribution is 1, not a text",),
    "[plugins]\nacme = 1": ("plugins.acme is 1, not a table",),
    "[plugins.acme]\ndistribution = 'x'\nhomepage = 'y'": ("there is no key plugins.acme.homepage",),
    "[plugins.acme]\ndistribution = 'x'\nprovides = []": ("plugins.acme.provides is [], not a table",),
    "[plugins.acme]\ndistribution = 'x'\nprovides = {component = []}": ("Did you mean 'components'?",),
    "[plugins.acme]\ndistribution = 'x'\nprovides = {recipes = [1]}": (
        "plugins.acme.provides.recipes is [1], not a list of texts",
    ),
    "= 1": ("not TOML",),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_mistake_is_an_error_that_names_the_file_and_the_key(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        user_registry(path)
    assert caught.value.message.startswith(f"{path}: ")
    for part in WRONG[text]:
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["", "version = 2", "version = '1'"])
def test_another_version_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="does not begin with  version = 1"):
        user_registry(path)


@pytest.mark.parametrize(
    ("there", "reason"),
    [("nothing", "No such file"), ("a folder", "directory"), ("no text", "it is not UTF-8")],
)
def test_a_file_that_cannot_be_read_is_an_error(there: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    if there == "a folder":
        path.mkdir()
    elif there == "no text":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=rf"mine\.toml' cannot be read: .*{reason}"):
        user_registry(path)


def test_the_option_goes_before_the_variable(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.plugin("acme")
    disabling = tmp_path / "disabling.toml"
    disabling.write_text('version = 1\ndisable = ["acme"]\n')
    monkeypatch.setenv("GANVAE_REGISTRY", str(disabling))
    assert state(installed_plugins.__wrapped__(), "acme")[0] == "disabled"
    assert state(under(tmp_path, ""), "acme")[0] == "ready"
    monkeypatch.setenv("GANVAE_REGISTRY", "")
    assert state(installed_plugins.__wrapped__(), "acme")[0] == "ready"
