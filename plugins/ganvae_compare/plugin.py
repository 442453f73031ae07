"""The verbs that this plugin adds. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import CommandSpec, ComponentSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_commands() -> list[CommandSpec]:
    return [
        CommandSpec(
            "evaluate", "ganvae_compare.evaluate_verb:evaluate", "measure runs, beside floors and a ceiling"
        ),
        CommandSpec(
            "compare", "ganvae_compare.compare_verb:compare", "train families alike, and write one report"
        ),
        CommandSpec("sweep", "ganvae_compare.sweep_verb:sweep", "search over settings (ganvae[sweep])"),
    ]


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "callback", "budget", "ganvae_compare.budget:Budget", "end training when its time is spent"
        )
    ]
