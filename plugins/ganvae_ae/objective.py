"""The autoencoder, and its denoising, contractive and regularised kinds."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from ganvae_core import (
    Batch,
    ConfigurationError,
    Loss,
    Model,
    Objective,
    Phase,
    QuantisedEncoder,
    Reconstruction,
    in_range,
    normalise_spectrally,
    penalties,
    reconstruction_error,
)


@final
class Autoencoder(Objective):
    """Reconstruction through a code: no distribution over codes, and no prior while training.

    Minimises, averaged over the batch and summed over the event,

        squared-error:  || x - mean(decode(encode(x))) ||^2
        likelihood:     -log p(x | encode(x))   in nats, under the observation (Bernoulli: cross-entropy)

    Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006. Sampling needs a prior
    that is fitted or trained on the codes after training, such as ``gaussian-mixture`` or ``latent-flow``.

    The other options are off by default. ``noise`` and ``masking`` make it a denoising autoencoder: it is given a
    corrupted row and reconstructs the clean one (Vincent et al. 2010). ``contraction`` makes it a contractive one
    (Rifai et al. 2011). ``code_weight`` with one of ``generator_decay``, ``generator_gradient`` and
    ``spectral_norm`` makes it a regularised autoencoder, RAE-L2, RAE-GP and RAE-SN (Ghosh et al., From Variational
    to Deterministic Autoencoders, 2020).

    Args:
        reconstruction: squared-error (with any observation) or likelihood (with bernoulli or gaussian).
        code_weight: weight of the squared length of the codes, which keeps them near zero so that a prior fits.
        noise: standard deviation of normal noise on the encoder's input, in units of x.
        masking: share of the entries of the encoder's input that are set to zero.
        contraction: weight of ||∂ code / ∂ x||², by one random projection.
        generator_decay: weight of the squared length of the generator's parameters.
        generator_gradient: weight of ||∂ mean / ∂ code||², by one random projection.
        spectral_norm: divide each weight of the generator by its largest singular value.

    Raises:
        ConfigurationError: an option is out of its range, or the encoder's codebook is not trained by this objective.
    """

    needs: ClassVar = frozenset({"encoder"})

    def __init__(
        self,
        model: Model,
        *,
        reconstruction: Reconstruction = "squared-error",
        code_weight: float = 0.0,
        noise: float = 0.0,
        masking: float = 0.0,
        contraction: float = 0.0,
        generator_decay: float = 0.0,
        generator_gradient: float = 0.0,
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.noise, self.masking = model, noise, masking
        self.reconstruction: Reconstruction = reconstruction
        self.weights = {
            "code_length": code_weight, "contraction": contraction,
            "generator_length": generator_decay, "generator_gradient": generator_gradient,
        }  # fmt: skip
        in_range("objective.", below=1, masking=masking)
        in_range("objective.", noise=noise, code_weight=code_weight, contraction=contraction)
        in_range("objective.", generator_decay=generator_decay, generator_gradient=generator_gradient)
        if isinstance(model.encoder, QuantisedEncoder) and model.encoder.learns:
            raise ConfigurationError(
                "this objective does not train the codebook of this encoder.",
                "take the one that does:  objective=vq",
            )
        if reconstruction == "likelihood":
            self.needs = frozenset({"encoder", "likelihood"})  # pyright: ignore[reportAttributeAccessIssue]
        if spectral_norm:
            normalise_spectrally(model.generator)

    def phases(self) -> list[Phase]:
        """One phase that trains encoder, generator and observation."""
        second = bool(self.weights["contraction"] or self.weights["generator_gradient"])
        return [Phase("autoencoder", self.loss, trains=[self.model], second_order=second)]

    def loss(self, batch: Batch) -> Loss:
        """Reconstruction error () and the weighted penalties."""
        x = self._corrupted(batch).requires_grad_(self.weights["contraction"] > 0)
        z = self.model.encode(x, batch.condition).mean  # (B, *Z)
        observed = self.model.decode(z, batch.condition)
        error = reconstruction_error(observed, batch.x, batch.mask, self.reconstruction)
        value, terms = error, {"reconstruction": error}
        for name, weight in self.weights.items():
            if weight:
                terms[name] = self._penalty(name, x, z, observed.mean)
                value = value + weight * terms[name]
        return Loss(value, terms)

    def _penalty(self, name: str, x: Tensor, z: Tensor, mean: Tensor) -> Tensor:
        if name == "code_length":
            return z.square().flatten(1).sum(1).mean()
        if name == "contraction":
            return penalties.squared_jacobian_norm(z, x).mean()
        if name == "generator_gradient":
            return penalties.squared_jacobian_norm(mean, z).mean()
        return torch.stack([weight.square().sum() for weight in self.model.generator.parameters()]).sum()

    def _corrupted(self, batch: Batch) -> Tensor:
        """(B, *X) what the encoder is given; entries that were not observed stay zero."""
        x = batch.x
        if self.noise:
            x = x + self.noise * torch.randn_like(x)
        if self.masking:
            x = x * (torch.rand_like(x) >= self.masking)
        if x is not batch.x and batch.mask is not None:
            x = x.where(batch.mask, 0)
        return x.detach()
