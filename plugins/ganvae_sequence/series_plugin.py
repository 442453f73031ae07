"""What the series-vae plugin offers. This module imports no torch."""

from __future__ import annotations

from ganvae_core.plugins import ComponentSpec, RecipeSpec, hookimpl

ganvae_api = 1
TABLES = ("*.csv", "*.csv.gz", "*.tsv", "*.parquet", "*.feather", "*.npy")
NETWORKS = "ganvae_sequence.series_networks"


@hookimpl
def ganvae_components() -> list[ComponentSpec]:
    return [
        ComponentSpec(
            "source",
            "series",
            "ganvae_sequence.series:Series",
            "windows of a series: a table with a time column, or an array",
            also_reads=TABLES,
        ),
        ComponentSpec(
            "source", "tides", "ganvae_sequence.series:Tides", "two years of made-up tides, each hour"
        ),
        ComponentSpec(
            "view", "series", "ganvae_sequence.series_view:SeriesView", "line plots; tables with times"
        ),
        ComponentSpec("generator", "series", f"{NETWORKS}:SeriesGenerator", "1-D convolutions, or a GRU"),
        ComponentSpec("encoder", "series", f"{NETWORKS}:SeriesEncoder", "1-D convolutions, or a GRU"),
        ComponentSpec("critic", "series", f"{NETWORKS}:SeriesCritic", "1-D convolutions, or a GRU"),
    ]


@hookimpl
def ganvae_recipes() -> list[RecipeSpec]:
    return [RecipeSpec("series-vae", "recipes/series-vae.yaml", "a VAE of windows of a series")]
