"""The latent space of a model: paths, ranked dimensions, neighbours and maps.

Functions on a ``Model`` and its codes, without files. The verbs of the plugin ``latent`` are thin over them.
"""

from ganvae_core.latent.completion import Completion, complete, drawn_at
from ganvae_core.latent.directions import (
    closed_form_directions,
    mean_difference,
    moved,
    pca_directions,
    supervised_direction,
)
from ganvae_core.latent.inversion import Inversion, invert
from ganvae_core.latent.maps import decoded_plane, nearest, project
from ganvae_core.latent.paths import interpolate
from ganvae_core.latent.scores import anomaly_scores, scorings_of
from ganvae_core.latent.traversal import Axis, axes, coordinate_kl, output_change, traverse

__all__ = [
    "Axis",
    "Completion",
    "Inversion",
    "anomaly_scores",
    "axes",
    "closed_form_directions",
    "complete",
    "coordinate_kl",
    "decoded_plane",
    "drawn_at",
    "interpolate",
    "invert",
    "mean_difference",
    "moved",
    "nearest",
    "output_change",
    "pca_directions",
    "project",
    "scorings_of",
    "supervised_direction",
    "traverse",
]
