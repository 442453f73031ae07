"""The objective that trains the prior of a trained autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from ganvae_core.builtin.priors.standardised import StandardisedPrior
from ganvae_core.errors import ConfigurationError, name_of
from ganvae_core.interfaces import MatchedPrior
from ganvae_core.model import Model
from ganvae_core.training import Objective
from ganvae_core.types import Batch, Loss, Phase


@final
class PriorLikelihood(Objective):
    """Trains the prior, and nothing else, on the codes of a trained encoder.

    Minimises -E log p(z | condition) in nats, over codes z that are drawn from the averaged encoder's posteriors of the
    data (two-stage training: Dai and Wipf, Diagnosing and Enhancing VAE Models, 2019; Ghosh et al. 2020). A
    ``gv.MatchedPrior``, such as ``latent-flow``, has a loss of its own in place of the likelihood. Its place is a stage
    after that of the autoencoder, with a prior that has parameters, such as ``flow`` or ``mixture``.

    Raises:
        ConfigurationError: the prior has no parameters.
    """

    batches: ClassVar = "codes"
    needs: ClassVar = frozenset({"encoder"})

    def __init__(self, model: Model) -> None:
        super().__init__()
        if not any(True for _ in model.prior.parameters()):
            raise ConfigurationError(
                f"prior-likelihood trains a prior, and {name_of(model.prior)} has no parameters.",
                "take another:  prior=flow",
            )
        self.model = model

    def phases(self) -> list[Phase]:
        """One phase that trains the prior."""
        after = self._standardise if isinstance(self.model.prior, StandardisedPrior) else None
        return [Phase("prior", self.loss, trains=[self.model.prior], after=after)]

    def loss(self, batch: Batch) -> Loss:
        """-log p(z) () in nats of codes (B, *Z), or the loss that the prior has in its place."""
        prior = self.model.prior
        if isinstance(prior, MatchedPrior):
            value = prior.matching(batch.x, batch.condition).mean()
        else:
            value = -prior.log_prob(batch.x, batch.condition).mean()
        if not isinstance(prior, StandardisedPrior):
            return Loss(value)
        codes = batch.x.flatten(1)
        # The first batch gives the codes' scale and trains nothing: its gradient is that of codes of another scale.
        value = torch.where(prior.batches > 0, value, value.detach())
        return Loss(value, {}, {"mean": codes.mean(0), "square": codes.square().mean(0)})

    def _standardise(self, averages: Mapping[str, Tensor]) -> None:
        assert isinstance(self.model.prior, StandardisedPrior)
        self.model.prior.standardise(averages["mean"], averages["square"])
