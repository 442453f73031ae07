"""``plugins.lock.toml``: the distributions and versions that took part in a run."""

from __future__ import annotations

import json
import platform
from collections.abc import Collection
from importlib.metadata import version

from ganvae_core.plugins.catalogue import Catalogue


def lock_text(catalogue: Catalogue, names: Collection[str]) -> str:
    """TOML with a table for each plugin, and the versions of what they run on."""
    lines = ["# What took part in this run.", f"python = {json.dumps(platform.python_version())}"]
    lines += [f"{name} = {json.dumps(version(name))}" for name in ("ganvae", "torch", "numpy")]
    for plugin in catalogue.plugins:
        if plugin.name in names:
            lines += ["", f"[plugins.{plugin.name}]"]
            lines += [
                f"distribution = {json.dumps(plugin.distribution)}",
                f"version = {json.dumps(plugin.version)}",
            ]
    return "\n".join(lines) + "\n"
