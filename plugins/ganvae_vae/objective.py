"""The variational autoencoder."""

from __future__ import annotations

from typing import ClassVar, final

from ganvae_core import Batch, ConfigurationError, Loss, Model, Objective, Phase, Schedule, as_schedule, kl


@final
class ELBO(Objective):
    """The evidence lower bound, with a weight on its KL term.

    Minimises, in nats a row,

        -E_q(z|x)[log p(x|z)] + beta KL(q(z|x) || p(z))

    with one reparameterised draw of z. Kingma and Welling, Auto-Encoding Variational Bayes, 2013; beta from Higgins et
    al., beta-VAE, 2017.

    Args:
        beta: weight of the KL term, or a schedule of it; 1 is the bound itself, more gives up detail for a tidier
            latent space.
    """

    accepts: ClassVar = frozenset({"real"})
    needs: ClassVar = frozenset({"prior", "posterior", "likelihood"})

    def __init__(self, model: Model, *, beta: Schedule | float = 1.0) -> None:
        super().__init__()
        if not isinstance(beta, Schedule) and beta < 0:
            raise ConfigurationError(f"objective.beta: {beta} is not possible: it must not be negative.")
        self.model = model
        self.beta = as_schedule(beta)

    def phases(self) -> list[Phase]:
        """One phase that trains the whole model."""
        return [Phase("elbo", self.loss, trains=[self.model])]

    def loss(self, batch: Batch) -> Loss:
        """Negative bound () in nats, with its two terms."""
        posterior = self.model.encode(batch.x, batch.condition)
        z = posterior.rsample()  # (B, *Z)
        reconstruction = -self.model.decode(z, batch.condition).log_prob(batch.x, batch.mask).mean()
        divergence = kl(posterior, self.model.prior, z=z, condition=batch.condition).mean()
        value = reconstruction + self.beta(batch.samples_seen) * divergence
        return Loss(value, {"reconstruction": reconstruction, "kl": divergence})
