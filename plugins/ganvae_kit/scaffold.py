"""Writes a new plugin: a complete distribution with a component that works, for its author to edit."""

from __future__ import annotations

import datetime
import re
import shutil
import tomllib
from collections.abc import Mapping
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from ganvae_core.errors import ConfigurationError
from ganvae_core.plugins.discovery import installed_claims
from ganvae_core.plugins.known import KnownPlugin
from ganvae_core.plugins.specs import API_VERSION
from ganvae_core.plugins.validation import NAME

KINDS: dict[str, dict[str, str]] = tomllib.loads(
    files("ganvae_kit").joinpath("templates/kinds.toml").read_text("utf-8")
)
"""What a new plugin begins with, by the kind of its component: summaries of the component and of the recipe."""
NEW_KINDS = tuple(KINDS)
FILES = {
    "pyproject.toml": "common/pyproject.toml",
    "README.md": "common/README.md",
    "LICENSE": "common/LICENSE",
    ".gitignore": "common/gitignore",
    ".github/workflows/tests.yml": "common/tests.yml",
    "src/$package/__init__.py": "common/init.py",
    "src/$package/py.typed": "common/py.typed",
    "src/$package/plugin.py": "common/plugin.py",
    "src/$package/$kind.py": "$kind/part.py",
    "src/$package/recipes/$name.yaml": "$kind/recipe.yaml",
    "tests/test_conformance.py": "common/test_conformance.py",
    "tests/test_$kind.py": "$kind/test_part.py",
}
"""Path in the distribution, and the template that it is made from."""
OF_VIEWS = {"src/$package/plugin.py": "view/plugin.py", "src/$package/data.py": "view/data.py"}
"""A view comes with data to show."""


def write_plugin(name: str, kind: str, folder: Path | None, known: Mapping[str, KnownPlugin]) -> Path:
    """Write a distribution that passes ruff, pyright and its own tests, and trains.

    Args:
        name: of the plugin.
        kind: of the component that it begins with.
        folder: where it goes; by default ``ganvae-NAME`` in the current folder.
        known: the plugins whose names are taken, installed or not.

    Returns:
        The folder.

    Raises:
        ConfigurationError: the name cannot be used, or the folder is there already or cannot be made.
    """
    check_new_name(name, known)
    folder = folder or Path(f"ganvae-{name}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(
            f"'{folder}' is there already, and nothing is overwritten.", "name another folder:  --out DIR"
        )
    values = template_values(name, kind)
    new = not folder.exists()
    try:
        for path, template in {**FILES, **(OF_VIEWS if kind == "view" else {})}.items():
            target = folder / Template(path).substitute(values)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(filled(Template(template).substitute(values), values), encoding="utf-8")
    except OSError as error:
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        raise ConfigurationError(f"'{folder}' cannot be written: {error.strerror or error}.") from error
    return folder


def check_new_name(name: str, known: Mapping[str, KnownPlugin]) -> None:
    """Refuse a name that could not be used, or that is another's.

    Raises:
        ConfigurationError: says what the name has to be.
    """
    near = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
    near = near.removeprefix("ganvae-")
    usable = NAME.fullmatch(near) is not None and near[0].isalpha()
    if not usable or near != name:
        raise ConfigurationError(
            f"'{name}' cannot be the name of a plugin: it is lower-case letters and digits, with '-' between words,"
            " and without the 'ganvae-' of its distribution.",
            f"did you mean '{near}'?" if usable else "for example:  ganvae plugins new my-prior",
        )
    taken = {claim.name: claim.distribution for claim in installed_claims()[0]}
    taken |= {plugin.name: plugin.distribution for plugin in known.values()}
    if name in taken:
        raise ConfigurationError(
            f"the name '{name}' is that of a plugin of {taken[name]}; choose another one."
        )
    if find_spec(package_of(name)) is not None:
        raise ConfigurationError(f"there is a package '{package_of(name)}' already; choose another name.")


def package_of(name: str) -> str:
    """The package of a plugin."""
    return "ganvae_" + name.replace("-", "_")


def template_values(name: str, kind: str) -> dict[str, str]:
    """What stands for each ``$word`` of a template."""
    camel = "".join(word.capitalize() for word in name.split("-"))
    return {
        "name": name,
        "kind": kind,
        "article": "an" if kind[0] in "aeiou" else "a",
        "distribution": f"ganvae-{name}",
        "package": package_of(name),
        "camel": camel,
        "class_name": camel.removesuffix(kind.capitalize()) + kind.capitalize(),
        "summary": KINDS[kind]["component"],
        "recipe_summary": KINDS[kind]["recipe"],
        "api": str(API_VERSION),
        "ganvae_version": version("ganvae"),
        "author": f"the authors of ganvae-{name}",
        "year": str(datetime.datetime.now(datetime.UTC).year),
    }


def filled(template: str, values: Mapping[str, str]) -> str:
    """The text of a template with its words filled in."""
    text = files("ganvae_kit").joinpath("templates", f"{template}.template").read_text("utf-8")
    return Template(text).substitute(values)
