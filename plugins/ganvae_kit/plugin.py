"""What the kit plugin offers: two verbs for plugin authors. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import CommandSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_commands() -> list[CommandSpec]:
    return [
        CommandSpec(
            "new", "ganvae_kit.new_verb:new", "Write a plugin to start from, with its tests.", "plugins"
        ),
        CommandSpec(
            "check", "ganvae_kit.check_verb:check", "Check a plugin against its contract.", "plugins"
        ),
    ]
