"""What the text-vae plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "source",
            "text",
            "ganvae_sequence.texts:Text",
            "lines of a text file, a column of a table, or windows of one long text",
            ("*.txt", "*.txt.gz"),
        ),
        ComponentSpec(
            "source",
            "python-help",
            "ganvae_sequence.texts:PythonHelp",
            "sentences of the help pages that come with Python",
        ),
        ComponentSpec("view", "text", "ganvae_sequence.text_view:TextView", "texts: .txt and .csv files"),
        ComponentSpec(
            "encoder",
            "text",
            "ganvae_sequence.text_networks:TextEncoder",
            "one-dimensional convolutions over embedded characters",
        ),
        ComponentSpec(
            "observation",
            "tokens",
            "ganvae_sequence.text_networks:Tokens",
            "characters, each given those before it by a GRU, or independent of each other",
        ),
        ComponentSpec(
            "metric",
            "bits",
            "ganvae_sequence.bits:Bits",
            "bits per character of held-out texts, and how much of them the code holds",
        ),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("text-vae", "recipes/text-vae.yaml", "a VAE of short texts with a recurrent decoder")]
