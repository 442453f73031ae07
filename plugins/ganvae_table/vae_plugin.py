"""What the table-vae plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "source",
            "diabetes",
            "ganvae_table.diabetes:diabetes",
            "442 people with diabetes, a table with 11 columns",
        )
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [
        RecipeSpec(
            "table-vae",
            "recipes/table-vae.yaml",
            "a variational autoencoder for tables (TVAE, Xu et al. 2019), and flow matching on its codes",
        ),
    ]
