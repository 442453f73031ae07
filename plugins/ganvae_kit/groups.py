"""The modules of checks, in the order in which checks are run: each needs none that comes after it."""

from __future__ import annotations

import importlib

GROUPS = (
    "static",
    "declarations",
    "modules",
    "distributions",
    "objectives",
    "batches",
    "micro_batches",
    "sources",
    "watchers",
    "recipes",
)

for _group in GROUPS:
    importlib.import_module(f"ganvae_kit.{_group}")
