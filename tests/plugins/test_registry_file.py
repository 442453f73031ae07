"""``ganvae plugins catalogue`` writes what hooks say, keeps what only a person could say, and notices what is stale."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from fake_distributions import GOOD, Environment

from ganvae_core.cli.main import main
from ganvae_core.plugins import KnownPlugin, discover, installed_plugins
from ganvae_core.plugins.known import parse_registry, registry_path
from ganvae_core.plugins.registry_file import rewritten, stale

MINE = """\
# What we use here.
version = 1

disable = ["sketch"]  # until it is mended

[plugins.zebra]
distribution = "x-zebra"
summary = "not installed here"
"""


@pytest.fixture
def own_text() -> str:
    return Path(str(registry_path())).read_text("utf-8")


def test_ganvae_s_own_file_is_what_its_hooks_say(own_text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugins", "catalogue", "--check"]) == 0
    assert "is up to date" in capsys.readouterr().err
    own = [plugin for plugin in discover().ready if plugin.distribution == "ganvae"]
    assert rewritten(own_text, entries(own_text), own) == own_text


def entries(text: str) -> Mapping[str, KnownPlugin]:
    return parse_registry(text, "registry.toml").plugins


def entries_without(text: str, name: str) -> str:
    """The text of a registry without one entry."""
    start = text.index(f"[plugins.{name}]")
    later = text.find("\n[plugins.", text.index(f"[plugins.{name}.provides]"))
    return text[:start] + text[later + 1 :]


def test_a_lost_entry_is_noticed_and_written_in_its_place(own_text: str) -> None:
    plugin = discover().plugin("dcgan")
    lost = entries_without(own_text, "dcgan")
    assert stale([plugin], entries(lost)) == ["dcgan: it has no entry"]
    made = rewritten(lost, entries(lost), [plugin])
    assert list(tomllib.loads(made)["plugins"]) == sorted(tomllib.loads(own_text)["plugins"])
    assert (
        tomllib.loads(made)["plugins"]["dcgan"]["provides"]
        == tomllib.loads(own_text)["plugins"]["dcgan"]["provides"]
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"critic/dcgan"]', '"critic/old"]'),
        ('recipes = ["dcgan", "photos", "small"]', 'recipes = ["dcgan"]'),
        ('entry_point = "ganvae_dcgan.plugin"', 'entry_point = "ganvae_dcgan"'),
    ],
)
def test_what_changed_is_noticed_and_written(before: str, after: str, own_text: str) -> None:
    assert before in own_text
    old = own_text.replace(before, after)
    plugin = discover().plugin("dcgan")
    assert stale([plugin], entries(old)) == ["dcgan: its entry differs from its hooks"]
    assert rewritten(old, entries(old), [plugin]) == own_text


def test_summary_and_install_hint_are_a_person_s(own_text: str) -> None:
    changed = own_text.replace("convolutional networks for images", "my words")
    plugin = discover().plugin("dcgan")
    assert stale([plugin], entries(changed)) == []
    assert rewritten(changed, entries(changed), [plugin]) == changed


def test_an_entry_of_what_is_gone_is_dropped(own_text: str) -> None:
    assert rewritten(own_text, entries(own_text), [], ["dcgan"]) == entries_without(own_text, "dcgan")


@pytest.fixture
def mine(environment: Environment, tmp_path: Path) -> Path:
    """A file of one's own, where the plugin acme is installed."""
    environment.plugin("acme", GOOD)
    environment.distribution(
        "x-acme",
        "[ganvae]\nacme = x_acme.plugin\n",
        metadata="Name: x-acme\nVersion: 1.0\nSummary: what acme does\n",
    )
    installed_plugins.cache_clear()
    path = tmp_path / "mine.toml"
    path.write_text(MINE, encoding="utf-8")
    return path


def catalogue(path: Path, *options: str) -> int:
    try:
        return main(["plugins", "catalogue", "--registry", str(path), *options])
    finally:
        installed_plugins.cache_clear()


def test_one_s_own_file_gets_the_plugins_of_others_and_keeps_the_rest(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert catalogue(mine, "--check") == 2
    assert "error: " in (said := capsys.readouterr().err)
    assert "acme: it has no entry" in said
    assert mine.read_text("utf-8") == MINE

    assert catalogue(mine) == 0
    assert capsys.readouterr().out == f"{mine}\n"
    text = mine.read_text("utf-8")
    for kept in ("# What we use here.", "# until it is mended", 'summary = "not installed here"'):
        assert kept in text
    values = tomllib.loads(text)
    assert list(values["plugins"]) == ["acme", "zebra"]
    assert values["plugins"]["acme"] == {
        "distribution": "x-acme",
        "entry_point": "x_acme.plugin",
        "summary": "what acme does",
        "install": "pip install x-acme",
        "provides": {"components": ["prior/flat"], "recipes": []},
    }

    assert catalogue(mine, "--check") == 0
    assert catalogue(mine) == 0
    assert mine.read_text("utf-8") == text
    assert "was up to date" in capsys.readouterr().err
