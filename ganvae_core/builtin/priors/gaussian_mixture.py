"""A Gaussian mixture, fitted on the codes of the training data once training is over."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.builtin.option_checks import in_range, one_of, positive_sizes
from ganvae_core.distributions import LOG_2_PI
from ganvae_core.errors import NotFittedError, TrainingError
from ganvae_core.interfaces import FittedPrior, MixturePrior, Normals, NormalsPrior, Support

# A hundred times the rows that the estimate needs to settle, and a second or two of fitting.
MOST_ROWS = 20_000


@final
class GaussianMixture(FittedPrior, MixturePrior, NormalsPrior):
    """p(z) = sum over k of weights[k] N(means[k], covariances[k]), fitted by scikit-learn with a fixed seed.

    What makes a plain autoencoder generate (Ghosh et al. 2020, ex-post density estimation); the prior ``mixture``
    is trained with the model instead. It ignores the condition. With fewer codes than components only as many
    components are used, and the others have weight 0. From more than 20,000 codes, 20,000 evenly spaced ones are taken.

    Args:
        latent_shape: *Z.
        components: number of Gaussians, K.
        covariance: full, or diagonal (coordinates independent within a component).

    Raises:
        ConfigurationError: an option is out of its range.
    """

    support: Support = "real"
    weights: Tensor
    means: Tensor
    scale_trils: Tensor
    is_fitted: Tensor

    def __init__(
        self,
        latent_shape: Sequence[int],
        *,
        components: int = 10,
        covariance: Literal["full", "diagonal"] = "full",
    ) -> None:
        super().__init__()
        self.latent_shape = positive_sizes("the latent shape", latent_shape)
        in_range(least=1, components=components)
        self.components = components
        self.covariance = one_of("covariance", covariance, ("full", "diagonal"))
        size = math.prod(self.latent_shape)
        self.register_buffer("weights", torch.zeros(components))
        self.register_buffer("means", torch.zeros(components, size))
        self.register_buffer("scale_trils", torch.eye(size).repeat(components, 1, 1))
        self.register_buffer("is_fitted", torch.tensor(False))

    @property
    def fitted(self) -> bool:
        return bool(self.is_fitted)

    def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
        self._require_fit()
        chosen = torch.multinomial(self.weights, count, replacement=True)
        noise = torch.randn((count, self.means.shape[1], 1), dtype=self.means.dtype, device=self.means.device)
        codes = self.means[chosen] + (self.scale_trils[chosen] @ noise).squeeze(2)
        return codes.reshape(count, *self.latent_shape)

    def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.joint_log_prob(z).logsumexp(1)

    def joint_log_prob(self, z: Tensor) -> Tensor:
        self._require_fit()
        distances = z.flatten(1).T - self.means.unsqueeze(2)  # (K, D, B)
        whitened = torch.linalg.solve_triangular(self.scale_trils, distances, upper=False)
        log_determinants = self.scale_trils.diagonal(dim1=1, dim2=2).log().sum(1)
        log_normalisers = self.weights.log() - log_determinants - 0.5 * self.means.shape[1] * LOG_2_PI
        return (log_normalisers.unsqueeze(1) - 0.5 * whitened.square().sum(1)).T

    def fit(self, codes: Tensor, condition: Tensor | None = None) -> None:
        """Fit to (N, *Z) codes; the same codes give the same mixture.

        Raises:
            TrainingError: fewer than two codes, or codes that are not finite.
        """
        rows = _rows_for_fitting(codes)
        # In units of the codes' spread, so that the floor under the covariances means the same for any scale.
        centre, spread = rows.mean(0), math.sqrt(rows.var(0).mean()) or 1.0
        weights, means, scale_trils = _fit((rows - centre) / spread, self.components, self.covariance)
        used = len(weights)
        self.weights.zero_()[:used] = torch.from_numpy(weights)
        self.means.zero_()[:used] = torch.from_numpy(means * spread + centre)
        self.scale_trils[:used] = torch.from_numpy(scale_trils * spread)
        self.is_fitted.fill_(True)

    def normals(self) -> Normals:
        self._require_fit()
        used = self.weights > 0
        return Normals(self.weights[used], self.means[used], self.scale_trils[used])

    def _require_fit(self) -> None:
        if not self.fitted:
            raise NotFittedError(
                "this model's prior is a Gaussian mixture over codes, and it has not been fitted yet.",
                "a run fits it at its end; resume a run that was stopped:  ganvae run --resume RUN",
                "in Python:  model.prior.fit(codes)",
            )


def _rows_for_fitting(codes: Tensor) -> np.ndarray:
    """(at most 20,000, D) in float64, evenly spaced over all rows."""
    flat = codes.detach().flatten(1)
    if len(flat) < 2:
        raise TrainingError(
            f"a Gaussian mixture cannot be fitted on {len(flat)} codes: it needs two or more."
        )
    if len(flat) > MOST_ROWS:
        flat = flat[torch.arange(MOST_ROWS, device=flat.device) * len(flat) // MOST_ROWS]
    rows = flat.cpu().double().numpy()
    if not np.isfinite(rows).all():
        raise TrainingError(
            "a Gaussian mixture cannot be fitted: the encoder gives codes that are not finite.",
            "training diverged; try a smaller learning rate:  optimizers.default.lr=1e-4",
        )
    return rows


def _fit(rows: np.ndarray, components: int, covariance: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights (K,), means (K, D) and lower-triangular scales (K, D, D) for standardised rows."""
    from sklearn import mixture  # takes a second to import, and only the end of a run needs it
    from sklearn.exceptions import ConvergenceWarning

    estimator: Any = mixture.GaussianMixture(
        min(components, len(rows)),
        covariance_type="full" if covariance == "full" else "diag",
        random_state=0,
    )
    with warnings.catch_warnings():
        # Still improving after 100 rounds, or more components than distinct codes: it serves all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(rows)
    if covariance == "full":
        scale_trils = np.linalg.cholesky(estimator.covariances_)
    else:
        scale_trils = np.sqrt(estimator.covariances_)[:, :, None] * np.eye(rows.shape[1])
    return estimator.weights_, estimator.means_, scale_trils
