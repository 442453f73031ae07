"""What the specimen offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec("objective", "contrast", "ganvae_specimen.objective:Contrast", "a noisy GAN"),
        ComponentSpec("generator", "plain", "ganvae_specimen.networks:Plain", "two layers"),
        ComponentSpec("encoder", "plain", "ganvae_specimen.networks:PlainEncoder", "one layer"),
        ComponentSpec("critic", "plain", "ganvae_specimen.networks:PlainCritic", "two layers"),
        ComponentSpec("prior", "logistic", "ganvae_specimen.densities:Logistic", "logistic codes"),
        ComponentSpec("observation", "laplace", "ganvae_specimen.densities:Laplace", "without bounds"),
        ComponentSpec("source", "spiral", "ganvae_specimen.rows:Spiral", "two arms, labelled"),
        ComponentSpec("metric", "spread", "ganvae_specimen.watchers:Spread", "how far samples lie apart"),
        ComponentSpec("callback", "tally", "ganvae_specimen.watchers:Tally", "counts logged steps"),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("specimen", "recipes/specimen.yaml", "a noisy least-squares GAN on two arms")]
