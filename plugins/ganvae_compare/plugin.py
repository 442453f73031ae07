"""The verbs that this plugin adds. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import CommandSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_commands() -> list[CommandSpec]:
    return [
        CommandSpec(
            "evaluate", "ganvae_compare.evaluate_verb:evaluate", "measure runs, beside floors and a ceiling"
        ),
    ]
