"""The descriptions that a plugin's hooks return. They are plain data, so that listing them imports nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

API_VERSION = 1
"""The core API's major version. A plugin declares the one that it was written for as ``ganvae_api = 1``."""

Kind = Literal[
    "generator",
    "encoder",
    "critic",
    "objective",
    "prior",
    "observation",
    "source",
    "view",
    "metric",
    "callback",
    "schedule",
    "optimizer",
]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True)
class ComponentSpec:
    """A component that a plugin offers.

    Args:
        kind: what it is, one of ``KINDS``.
        name: lower case, unique in the plugin for its kind; the identity is ``plugin/name``. A view has the name of the
            modality that it shows.
        target: ``package.module:Class``, imported only when a run uses it.
        summary: one line for people.
        reads: for sources: patterns of the paths that it reads, so that ``--data PATH`` finds it: ``*.csv`` for files,
            ``*/**/*.wav`` for folders with such files at any depth, ``*/`` for any folder.
        also_reads: for sources: patterns of paths that another source reads, and this one where the recipe's data is
            its plugin's.
    """

    kind: Kind
    name: str
    target: str
    summary: str
    reads: tuple[str, ...] = ()
    also_reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecipeSpec:
    """A complete configuration that a plugin ships. The default recipe bears the plugin's name.

    Args:
        name: lower case, unique in the plugin.
        resource: path of the YAML file inside the plugin's package.
        summary: one line for people.
        more: one line that is printed after a run, on what more time or an accelerator would bring; or nothing.
    """

    name: str
    resource: str
    summary: str
    more: str = ""


@dataclass(frozen=True)
class CommandSpec:
    """A verb that a plugin adds to the command line.

    Args:
        name: lower case, as it is typed. A built-in verb of the same name takes precedence.
        target: ``package.module:function``, a click command, imported only when the verb is used.
        summary: one line for the help page.
        group: empty for ``ganvae NAME``, ``"plugins"`` for ``ganvae plugins NAME``.
    """

    name: str
    target: str
    summary: str
    group: Literal["", "plugins"] = ""
