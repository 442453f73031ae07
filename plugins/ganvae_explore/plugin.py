"""The verb that this plugin adds. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import CommandSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_commands() -> list[CommandSpec]:
    return [CommandSpec("explore", "ganvae_explore.verb:explore", "show the latent space in a browser")]
