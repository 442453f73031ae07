"""Codes in the plane, and rows near each other."""

from __future__ import annotations

import importlib
import math
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ganvae_core.errors import ConfigurationError
from ganvae_core.model import Model

Projection = Literal["pca", "tsne", "umap"]
PROJECTIONS: tuple[Projection, ...] = get_args(Projection)
FEWEST = 3
PERPLEXITY = 30.0
COMPARED_VALUES = 2**24
"""Distances that are held in memory at once."""


def project(codes: np.ndarray, method: Projection = "pca", *, seed: int = 0) -> np.ndarray:
    """(N, 2) places of codes (N, *Z) in the plane.

    Args:
        codes: of at least two dimensions. Codes of exactly two keep their places under ``pca``.
        method: ``pca``, the two directions of most variance; ``tsne`` (van der Maaten and Hinton 2008), by
            scikit-learn; ``umap`` (McInnes et al. 2018), which needs umap-learn.
        seed: of the random numbers of the last two.

    Raises:
        ConfigurationError: the codes have one dimension, are fewer than three, or umap-learn is not installed.
    """
    if method not in PROJECTIONS:
        raise ConfigurationError(
            f"there is no projection '{method}'.", f"projections: {', '.join(PROJECTIONS)}"
        )
    flat = codes.reshape(len(codes), -1).astype(np.float64)
    if flat.shape[1] < 2:
        raise ConfigurationError(
            "codes of one dimension have no place in a plane.", "traverse shows such a dimension"
        )
    if len(flat) < FEWEST:
        raise ConfigurationError(f"{len(flat)} codes are too few for a map: give at least {FEWEST}.")
    if method == "pca":
        if flat.shape[1] == 2:
            return flat
        centre, directions = principal_plane(flat)
        return (flat - centre) @ directions.T
    if method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(PERPLEXITY, (len(flat) - 1) / 3)
        return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(flat)
    umap = _umap()
    return umap.UMAP(random_state=seed, n_neighbors=min(15, len(flat) - 1)).fit_transform(flat)


def principal_plane(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(D,) mean of codes (N, D) and (2, D) the orthogonal directions of most variance, with fixed signs."""
    centre = codes.mean(0, dtype=np.float64)
    _, _, directions = np.linalg.svd(codes - centre, full_matrices=False)
    return centre, _with_fixed_signs(directions[:2])


@torch.no_grad()
def decoded_plane(
    model: Model,
    low: tuple[float, float],
    high: tuple[float, float],
    side: int,
    condition: Tensor | None = None,
) -> Tensor:
    """(side · side, *X) means of the observation over a grid in a latent space of two dimensions.

    Lines run from the largest second coordinate to the smallest, as a plot has them, and the first grows to the right.

    Args:
        model: with codes of two values.
        low: the smallest of both coordinates.
        high: the largest.
        side: codes along each of them.
        condition: (*K) one condition for all.

    Raises:
        ConfigurationError: codes have another size than two.
    """
    shape: tuple[int, ...] | None = getattr(model.prior, "latent_shape", None)
    if shape is None or math.prod(shape) != 2:
        raise ConfigurationError(
            f"a grid is decoded from codes of two values, and this model has codes of shape {shape}.",
            "train one that has:  ganvae run --plugin vae latent.shape=[2]",
        )
    device = next(model.parameters()).device
    across = torch.linspace(low[0], high[0], side, device=device)
    down = torch.linspace(high[1], low[1], side, device=device)
    places = torch.stack([across.repeat(side), down.repeat_interleave(side)], 1)
    given = None if condition is None else condition.expand(len(places), *condition.shape)
    return model(places.reshape(-1, *shape), given)


@torch.no_grad()
def nearest(queries: Tensor, rows: Tensor, count: int, *, differing: bool = False) -> tuple[Tensor, Tensor]:
    """The nearest of rows (M, …) to each query (N, …): their distances and their numbers, (N, count) each.

    Args:
        queries: in pixels, codes or any features.
        rows: in the same space.
        count: of neighbours for each query; at most M.
        differing: the distance is the number of values that differ, and not the Euclidean one.

    Raises:
        ConfigurationError: there are fewer rows than neighbours are asked for.
    """
    if not 1 <= count <= len(rows):
        raise ConfigurationError(f"there are {len(rows):,} rows, so no query has {count} neighbours.")
    flat = rows.flatten(1)
    parts = queries.flatten(1).split(max(1, COMPARED_VALUES // len(rows)))
    found = [torch.cdist(part, flat, 0.0 if differing else 2.0).topk(count, largest=False) for part in parts]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])


def _with_fixed_signs(directions: np.ndarray) -> np.ndarray:
    """Directions whose largest entry is positive, so that they do not depend on the library."""
    largest = np.abs(directions).argmax(1)
    return directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]


def _umap() -> Any:
    try:
        return importlib.import_module("umap")
    except ImportError as error:
        raise ConfigurationError(
            "the projection 'umap' needs umap-learn, which is not installed.", "pip install umap-learn"
        ) from error
