"""The autoencoder of discrete codes."""

from __future__ import annotations

from typing import ClassVar, final

from ganvae_core import (
    Batch,
    Categorical,
    ConfigurationError,
    Loss,
    Model,
    Objective,
    Phase,
    QuantisedCodes,
    QuantisedEncoder,
    Reconstruction,
    in_range,
    reconstruction_error,
)


@final
class VectorQuantised(Objective):
    """Reconstruction through entries of a codebook: VQ-VAE, and with a scalar quantiser FSQ-VAE.

    Minimises, averaged over the batch,

        E c(x, decode(q(e))) + commitment || e - q(e) ||²      with e the encoder's output, and q(e) fixed

    The gradient passes the quantisation unchanged. The codebook is no parameter: it follows moving averages, which are
    updated after each step. Van den Oord, Vinyals and Kavukcuoglu, Neural Discrete Representation Learning, 2017. A
    scalar quantiser (Mentzer et al. 2024) has a fixed codebook and takes no commitment.

    ``usage``, the share of the codebook's entries that are in use, and ``perplexity``, the number of entries that would
    have the same entropy if used alike, are logged.

    Args:
        reconstruction: squared-error (with any observation) or likelihood, in nats.
        commitment: weight of the encoder's distance from the codebook, summed over the code.

    Raises:
        ConfigurationError: the encoder has no codebook, or the prior is not over one.
    """

    accepts: ClassVar = frozenset({"discrete"})
    needs: ClassVar = frozenset({"encoder"})

    def __init__(
        self,
        model: Model,
        *,
        reconstruction: Reconstruction = "squared-error",
        commitment: float = 0.25,
    ) -> None:
        super().__init__()
        if not isinstance(model.encoder, QuantisedEncoder):
            raise ConfigurationError(
                "objective 'vq' needs an encoder with a codebook.",
                "take the recipe that has one, with a prior for it:  ganvae run --plugin ae --recipe vq-vae",
                "or set it:  encoder=quantised prior=autoregressive",
            )
        if isinstance(model.prior, Categorical):
            raise ConfigurationError(
                "the prior 'categorical' draws one-hot codes, and these are entries of a codebook.",
                "take  prior=autoregressive",
            )
        in_range("objective.", commitment=commitment)
        self.model, self.encoder = model, (model.encoder,)
        self.reconstruction: Reconstruction = reconstruction
        self.commitment = commitment
        if reconstruction == "likelihood":
            self.needs = frozenset({"encoder", "likelihood"})  # pyright: ignore[reportAttributeAccessIssue]

    def phases(self) -> list[Phase]:
        """One phase that trains encoder, generator and observation, and moves the codebook."""
        return [Phase("vq", self.loss, trains=[self.model], after=self.encoder[0].learn)]

    def loss(self, batch: Batch) -> Loss:
        """Reconstruction error () and commitment."""
        posterior = self.model.encode(batch.x, batch.condition)
        assert isinstance(posterior, QuantisedCodes)
        (encoder,) = self.encoder
        observed = self.model.decode(posterior.mean, batch.condition)
        error = reconstruction_error(observed, batch.x, batch.mask, self.reconstruction)
        terms = {"reconstruction": error, **encoder.usage()}
        value = error
        if encoder.learns:
            entries = encoder.codebook[posterior.indices].to(posterior.encoded)
            terms["commitment"] = (posterior.encoded - entries).square().flatten(1).sum(1).mean()
            value = value + self.commitment * terms["commitment"]
        return Loss(value, terms, encoder.statistics(posterior))
