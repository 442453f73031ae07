"""A registry file of one's own: what it says of plugins, what it allows, and that a slip in it is an error."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path

import pytest
from fake_distributions import GOOD, Environment, claimants

from ganvae_core.errors import ConfigurationError, PluginError
from ganvae_core.plugins import Catalogue, installed_plugins
from ganvae_core.plugins.installation import installation
from ganvae_core.plugins.overlay import read_overlay


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


def test_a_denied_plugin_is_not_imported(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    environment.plugin("other")
    catalogue = under(tmp_path, '[policy]\ndeny = ["acme", "ssgan"]')
    assert state(catalogue, "acme") == ("denied", f"by {tmp_path / 'mine.toml'} (deny)")
    assert state(catalogue, "ssgan")[0] == "denied"
    assert state(catalogue, "other") == ("ready", "")
    assert "x_acme.plugin" not in sys.modules
    with pytest.raises(PluginError, match=r"'acme' \(x-acme 1.0\) is denied: by .*mine.toml"):
        catalogue.plugin("acme")


def test_an_allowlist_allows_what_it_names_and_ganvae_s_own(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    environment.plugin("other")
    catalogue = under(tmp_path, '[policy]\nmode = "allowlist"\nallow = ["acme", "not-here"]')
    assert state(catalogue, "acme")[0] == "ready"
    assert state(catalogue, "other") == ("denied", f"{tmp_path / 'mine.toml'} does not allow it (allow)")
    assert state(catalogue, "vae")[0] == "ready"
    assert "x_other.plugin" not in sys.modules


def test_what_is_denied_is_denied_though_it_is_allowed(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    policy = '[policy]\nmode = "allowlist"\nallow = ["acme"]\ndeny = ["acme"]'
    assert state(under(tmp_path, policy), "acme")[0] == "denied"


def test_what_the_user_left_out_is_disabled_and_not_denied(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    file = write(tmp_path, '[policy]\ndeny = ["acme"]')
    found = installed_plugins.__wrapped__(frozenset({"acme"}), file)
    assert state(found, "acme")[0] == "disabled"


@pytest.mark.parametrize(("pin", "expected"), [("==1.0", "ready"), ("==1.0.0", "ready"), ("==1.1", "denied")])
def test_a_version_is_pinned(pin: str, expected: str, environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    found = state(under(tmp_path, f'[policy.pins]\nacme = "{pin}"'), "acme")
    assert found[0] == expected
    if expected == "denied":
        assert found[1] == f"{tmp_path / 'mine.toml'} pins x-acme==1.1, and 1.0 is installed"
        assert "x_acme.plugin" not in sys.modules


def record(environment: Environment, name: str = "x_acme", extra: str = "") -> str:
    """Write RECORD as an installer does, and return the hash that its rule gives, worked out here by itself."""
    files = sorted(path for path in (environment.folder / name).rglob("*") if path.is_file())
    digest = {path: hashlib.sha256(path.read_bytes()).digest() for path in files}
    written = {
        path.relative_to(environment.folder).as_posix():
        "sha256=" + base64.urlsafe_b64encode(digest[path]).decode().rstrip("=")
        for path in files
    }  # fmt: skip
    rows = [f"{path},{value},1" for path, value in written.items()]
    info = f"{name}-1.0.dist-info"
    rows += [
        f"{info}/METADATA,sha256=abc,1",
        f"{info}/RECORD,,",
        f"{name}/__pycache__/plugin.cpython-311.pyc,,",
    ]
    rows += ["../../../bin/acme,sha256=def,9", *([extra] if extra else [])]
    environment.write(f"{info}/RECORD", "\n".join(rows) + "\n")
    lines = sorted(f"{path},{value}" for path, value in written.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_the_hash_is_that_of_the_rule(environment: Environment) -> None:
    environment.plugin("acme")
    expected = record(environment)
    assert installation("x-acme") == installation("X.Acme")
    assert (installation("x-acme").sha256, installation("x-acme").editable) == (expected, False)


def test_the_hash_does_not_see_what_differs_between_environments(environment: Environment) -> None:
    environment.plugin("acme")
    expected = record(environment)
    record(environment, extra="x_acme-1.0.dist-info/INSTALLER,sha256=xyz,4")
    assert installation("x-acme").sha256 == expected


@pytest.mark.parametrize("change", ["edited", "removed", "added"])
def test_the_hash_sees_every_change_of_a_file(change: str, environment: Environment) -> None:
    environment.plugin("acme")
    environment.write("x_acme/parts.py", "")
    before = record(environment)
    if change == "edited":
        environment.write("x_acme/parts.py", "x = 1")
    elif change == "removed":
        (environment.folder / "x_acme/parts.py").unlink()
    else:
        environment.write("x_acme/more.py", "")
        record(environment)
    assert installation("x-acme").sha256 not in ("", before)


def test_files_are_pinned(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    sha256 = record(environment)
    policy = f'[policy.pins]\nacme = {{version = "==1.0", sha256 = "{sha256}"}}'
    assert state(under(tmp_path, policy), "acme")[0] == "ready"
    environment.write("x_acme/__init__.py", "# another one")
    found = state(under(tmp_path, policy), "acme")
    assert found[0] == "denied"
    assert f"pins the files of x-acme to {sha256}; those installed are " in found[1]


def test_an_editable_install_satisfies_no_pin_of_its_files(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    record(environment)
    origin = {"url": "file:///home/me/acme", "dir_info": {"editable": True}}
    environment.write("x_acme-1.0.dist-info/direct_url.json", json.dumps(origin))
    assert (installation("x-acme").editable, installation("x-acme").sha256) == (True, "")
    found = state(under(tmp_path, f'[policy.pins.acme]\nsha256 = "{"0" * 64}"'), "acme")
    assert found[0] == "denied"
    assert "editable" in found[1]


def test_without_a_record_no_pin_of_files_is_satisfied(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    found = state(under(tmp_path, f'[policy.pins.acme]\nsha256 = "{"0" * 64}"'), "acme")
    assert found == ("denied", found[1])
    assert "are not recorded" in found[1]


def test_a_pin_decides_between_two_claimants(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    environment.distribution("x-rival", "[ganvae]\nacme = x_acme.plugin\n", version="2.0")
    catalogue = under(tmp_path, '[policy.pins]\nacme = "==1.0"')
    assert {found.distribution: found.state for found in claimants(catalogue, "acme")} == {
        "x-acme": "ready",
        "x-rival": "denied",
    }


def test_a_preference_settles_a_short_name(environment: Environment, tmp_path: Path) -> None:
    environment.plugin("acme")
    environment.plugin("other")
    with pytest.raises(ConfigurationError, match="could be any of acme/flat, other/flat"):
        under(tmp_path, "").component("prior", "flat")
    preferring = under(tmp_path, '[policy.prefer]\n"prior/flat" = "other/flat"')
    assert preferring.component("prior", "flat")[0] == "other/flat"
    absent = under(tmp_path, '[policy.prefer]\n"prior/flat" = "gone/flat"')
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
    "[plugin.acme]": ("plugin: there is no such key. Did you mean 'plugins'?", "version, policy, plugins"),
    "[policy]\nallwo = []": ("policy.allwo: there is no such key. Did you mean 'allow'?",),
    "[policy]\nmode = 'alowlist'": ("policy.mode: there is no mode 'alowlist'. Did you mean 'allowlist'?",),
    "[policy]\nallow = 'acme'": ("policy.allow: it is a list of names", "'acme'"),
    "[policy]\ndeny = [1]": ("policy.deny: it is a list of names",),
    "[policy]\ndeny = ['builtin']": ("policy.deny: 'builtin' cannot be denied",),
    "policy = 1": ("policy: it is a table",),
    "[policy.pins]\nacme = '1.0'": ("policy.pins.acme: '1.0' is no pin",),
    "[policy.pins]\nacme = '>=1.0'": ("policy.pins.acme: '>=1.0' is no pin",),
    "[policy.pins]\nacme = '==1.*'": ("policy.pins.acme: '==1.*' is no pin",),
    "[policy.pins.acme]": ("policy.pins.acme: '' is no pin",),
    "[policy.pins.acme]\nsha265 = ''": (
        "policy.pins.acme.sha265: there is no such key. Did you mean 'sha256'?",
    ),
    "[policy.pins.acme]\nsha256 = 'ABC'": (
        "policy.pins.acme.sha256: 'ABC' is no SHA-256",
        "ganvae plugins info",
    ),
    "[policy.prefer]\nflat = 'acme/flat'": ("policy.prefer.'flat': it is for a kind and a name",),
    "[policy.prefer]\n'priors/flat' = 'acme/flat'": ("Did you mean 'prior'?",),
    "[policy.prefer]\n'prior/flat' = 'acme'": ("'acme' is no prior called 'flat'",),
    "[plugins.acme]\nsummary = 'x'": ("plugins.acme: it lacks the distribution", "ganvae-acme"),
    "[plugins.acme]\ndistribution = 1": ("plugins.acme.distribution: it is text",),
    "[plugins.acme]\ndistribution = 'x'\nhomepage = 'y'": ("plugins.acme.homepage: there is no such key",),
    "[plugins.acme]\ndistribution = 'x'\nprovides = []": ("plugins.acme.provides: it is a table",),
    "[plugins.acme]\ndistribution = 'x'\nprovides = {component = []}": ("Did you mean 'components'?",),
    "[plugins.acme]\ndistribution = 'x'\nprovides = {recipes = [1]}": (
        "plugins.acme.provides.recipes: it is a list",
    ),
    "[plugins.vae]\ndistribution = 'evil'": ("plugins.vae: the name 'vae' is ganvae's own",),
    "= 1": ("not TOML",),
}


@pytest.mark.parametrize("text", WRONG)
def test_a_slip_is_an_error_that_names_the_file_and_the_key(text: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        read_overlay(path)
    assert caught.value.message.startswith(f"{path}: ")
    for part in WRONG[text]:
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", "does not say its version"), ("version = 2", "is of version 2"), ("version = '1'", "'1'")],
)
def test_another_version_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=expected):
        read_overlay(path)


@pytest.mark.parametrize("there", ["nothing", "a folder", "no text"])
def test_a_file_that_cannot_be_read_is_an_error(there: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    if there == "a folder":
        path.mkdir()
    elif there == "no text":
        path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match=r"mine\.toml"):
        read_overlay(path)


def test_the_option_goes_before_the_variable(
    environment: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.plugin("acme")
    denying = tmp_path / "denying.toml"
    denying.write_text('version = 1\n[policy]\ndeny = ["acme"]\n')
    monkeypatch.setenv("GANVAE_REGISTRY", str(denying))
    assert state(installed_plugins.__wrapped__(), "acme")[0] == "denied"
    assert state(under(tmp_path, ""), "acme")[0] == "ready"
    monkeypatch.setenv("GANVAE_REGISTRY", "")
    assert state(installed_plugins.__wrapped__(), "acme")[0] == "ready"


def test_the_rows_of_a_record_may_be_quoted(environment: Environment) -> None:
    environment.plugin("acme", GOOD)
    environment.write("x_acme/one, two.txt", "")
    environment.write("x_acme-1.0.dist-info/RECORD", '"x_acme/one, two.txt",sha256=abc,0\n')
    before = installation("x-acme").sha256
    environment.write("x_acme/one, two.txt", "changed")
    assert installation("x-acme").sha256 not in ("", before)
