"""Every example of the documentation runs, in the order of its page."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pages import DOCS, PAGES, Block, blocks, name_of
from reader import Reader

from ganvae_core.config.configuration import configure
from ganvae_core.config.layers import parse_yaml
from ganvae_core.plugins import installed_plugins

# What a page takes as done before: such a page tells no story from the beginning.
BEFORE = {
    "docs/command-line.md": [
        "ganvae run --plugin vae --data wine.csv",
        "ganvae run --plugin vae --data photos/ data.resize=64",
        "ganvae run --plugin vae --data mnist.npz data.key=x_train",
        "ganvae run --plugin ae",
        "ganvae run --plugin gan",
    ],
    "docs/configuration.md": ["ganvae run --plugin vae"],
}
TUTORIAL = DOCS / "first-objective.md"
"""It installs what it writes, so it is followed in an environment of its own: test_tutorial.py."""
EXAMPLES = [page for page in PAGES if blocks(page, "python", "console") and page != TUTORIAL]
SETTINGS = [(page, block) for page in PAGES for block in blocks(page, "yaml")]
LANGUAGES = {"python", "console", "yaml", "toml", "pyi", "text"}


@pytest.mark.parametrize("page", EXAMPLES, ids=name_of)
def test_everything_that_a_page_says_can_be_done(page: Path, reader: Reader) -> None:
    for command in BEFORE.get(name_of(page), []):
        reader.type_in(command, [], "before the page")
    for block in blocks(page):
        reader.follow(block, f"{name_of(page)}, line {block.line}")


@pytest.mark.parametrize(
    ("page", "block"), SETTINGS, ids=[f"{name_of(page)}:{block.line}" for page, block in SETTINGS]
)
def test_settings_that_a_page_shows_are_possible(page: Path, block: Block) -> None:
    if "/recipes/" in block.title:
        yaml.safe_load(block.text)  # its plugin is the page's own: it is run where the page installs it
        return
    tree = parse_yaml(block.text, name_of(page))
    configure(installed_plugins(), str(tree.get("plugin", "vae")), None, [tree])


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_is_of_a_language_that_is_tested(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES


def test_a_command_that_fails_is_noticed(reader: Reader) -> None:
    with pytest.raises(AssertionError, match="ended with 2"):
        reader.type_in("ganvae run --plugin vea", [], "here")


def test_a_line_that_is_not_printed_is_noticed(reader: Reader) -> None:
    with pytest.raises(AssertionError, match="did not print"):
        reader.type_in("ganvae plugins list", ["vae      broken"], "here")
