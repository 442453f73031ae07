"""The autoencoder."""

from __future__ import annotations

from typing import ClassVar, Literal, final

from ganvae_core import Batch, Loss, Model, Objective, Phase, sum_event


@final
class Autoencoder(Objective):
    """Reconstruction through a code: no distribution over codes, and no prior while training.

    Minimises, averaged over the batch and summed over the event,

        squared-error:  || x - mean(decode(encode(x))) ||^2
        likelihood:     -log p(x | encode(x))   in nats, under the observation (Bernoulli: cross-entropy)

    Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, 2006. Sampling needs a prior
    that is fitted on the codes after training, such as ``gaussian-mixture`` (Ghosh et al., From Variational to
    Deterministic Autoencoders, 2020).

    Args:
        reconstruction: squared-error (with any observation) or likelihood (with bernoulli or gaussian).
        code_weight: weight of the squared length of the codes, which keeps them near zero so that a prior fits.
    """

    needs: ClassVar = frozenset({"encoder"})

    def __init__(
        self,
        model: Model,
        *,
        reconstruction: Literal["squared-error", "likelihood"] = "squared-error",
        code_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.model = model
        self.reconstruction = reconstruction
        self.code_weight = code_weight
        if reconstruction == "likelihood":
            self.needs = frozenset({"encoder", "likelihood"})

    def phases(self) -> list[Phase]:
        """One phase that trains encoder, generator and observation."""
        return [Phase("autoencoder", self.loss, trains=[self.model])]

    def loss(self, batch: Batch) -> Loss:
        """Reconstruction error ()."""
        z = self.model.encode(batch.x, batch.condition).mean  # (B, *Z)
        observed = self.model.decode(z, batch.condition)
        if self.reconstruction == "likelihood":
            error = -observed.log_prob(batch.x, batch.mask).mean()
        else:
            squares = (observed.mean - batch.x).square()
            error = sum_event(squares, squares.dim() - 1, batch.mask).mean()
        if not self.code_weight:
            return Loss(error, {"reconstruction": error})
        length = z.square().flatten(1).sum(1).mean()
        return Loss(error + self.code_weight * length, {"reconstruction": error, "code_length": length})
