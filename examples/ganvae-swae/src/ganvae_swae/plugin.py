"""What this plugin offers. The module imports no torch."""

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec("objective", "swae", "ganvae_swae.parts:SlicedWasserstein",
                      "reconstruction, and codes drawn to the prior along random lines"),
        ComponentSpec("prior", "annulus", "ganvae_swae.parts:Annulus", "uniform on a ring in the plane"),
    ]  # fmt: skip


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("swae", "recipes/swae.yaml", "an autoencoder with codes on a ring in the plane")]
