"""What the table-gan plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "generator", "conditional-vector", "ganvae_table.networks:ConditionalVectorGenerator",
            "the generator of CTGAN, which is asked for a category of a column",
        ),
        ComponentSpec(
            "objective", "ctgan", "ganvae_table.objective:CTGAN",
            "a Wasserstein GAN for tables with training by sampling (Xu et al. 2019)",
        ),
    ]  # fmt: skip


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("table-gan", "recipes/table-gan.yaml", "a GAN for tables (CTGAN, Xu et al. 2019)")]
