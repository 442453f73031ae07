"""The verbs that this plugin adds. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import CommandSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_commands() -> list[CommandSpec]:
    return [
        CommandSpec(
            "interpolate", "ganvae_latent.interpolate_verb:interpolate", "draw paths between samples or rows"
        ),
        CommandSpec("traverse", "ganvae_latent.traverse_verb:traverse", "draw what each dimension does"),
        CommandSpec(
            "neighbours", "ganvae_latent.neighbours_verb:neighbours", "draw the nearest training rows"
        ),
        CommandSpec("map", "ganvae_latent.map_verb:draw_map", "draw the codes of data in the plane"),
        CommandSpec(
            "directions", "ganvae_latent.directions_verb:directions", "find directions and keep them"
        ),
        CommandSpec("invert", "ganvae_latent.invert_verb:invert", "find the codes of rows by optimisation"),
        CommandSpec("complete", "ganvae_latent.complete_verb:complete", "fill in missing pixels and cells"),
        CommandSpec(
            "export", "ganvae_latent.export_verb:export", "write a part of a model for other runtimes"
        ),
        CommandSpec("score", "ganvae_latent.score_verb:score", "score how unusual rows are"),
        CommandSpec("edit", "ganvae_latent.edit_verb:edit", "move samples and rows along directions"),
    ]
