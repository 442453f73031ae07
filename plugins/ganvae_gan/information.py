"""InfoGAN's bound on the information that a generated sample has about its codes (Chen et al. 2016)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvae_core import Composite, ConfigurationError, Critic, DiagonalNormal, LatentPrior, name_of
from ganvae_gan.rows import Rows, Task

HIDDEN = 128


@final
class Information(Task):
    """A head on the critic's features that estimates the codes of a generated row: Q(c|x).

    The codes are the parts of a composite prior that have a meaning: the discrete and the bounded ones, unless the
    option ``meaning`` of the prior names others. Critic and generator both minimise

        weight · E -log Q(c | G(z, c))

    which, up to the codes' constant entropy, is minus a lower bound of the mutual information between c and G(z, c).
    Q is categorical for discrete codes, and for continuous ones a normal of variance 1, as in the authors' code, whose
    loss is small once a code is roughly known. Chen et al., InfoGAN, 2016.

    Args:
        prior: a composite one.
        critic: whose features are used; kept outside of this module's state.
        weight: of the term.

    Raises:
        ConfigurationError: the prior has no codes, or one whose entropy is not constant.
    """

    def __init__(self, prior: LatentPrior, critic: Critic, weight: float) -> None:
        super().__init__()
        if not isinstance(prior, Composite) or not _codes(prior):
            raise ConfigurationError(
                "objective.information_weight: it needs a prior with codes beside the noise.",
                "for example:  latent.shape=[74] prior=composite 'prior.parts=[{name: normal, latent_shape: [62]},"
                " {name: categorical, latent_shape: [10]}, {name: uniform, latent_shape: [2]}]'",
                "turn it off:  objective.information_weight=0",
            )
        for part, is_code in zip(prior.parts, prior.has_meaning, strict=True):
            if is_code and (isinstance(part, Composite) or any(True for _ in part.parameters())):
                raise ConfigurationError(
                    f"prior: {name_of(part)} cannot be a code: the distribution of a code is fixed.",
                    "say which parts are codes, one for each part:  'prior.meaning=[false, …]'",
                )
        self.weight = weight
        self.codes = _codes(prior)
        self._prior, self._critic = (prior,), (critic,)  # tuples, so that their weights are not stored twice
        outputs = [size for _, size, _ in self.codes]
        self.head = nn.Sequential(
            nn.Linear(critic.feature_size, HIDDEN), nn.LeakyReLU(0.2), nn.Linear(HIDDEN, sum(outputs))
        )
        self._outputs = outputs

    def critic_term(self, rows: Rows) -> Tensor:
        """() nats, weighted: on generated rows and their codes."""
        parts = self._prior[0].split(rows.codes)
        total = rows.codes.new_zeros(())
        for (position, _, discrete), estimate in self._estimates(rows.fake, rows.fake_condition):
            if discrete:
                total = total + F.cross_entropy(estimate, parts[position])
            else:
                total = (
                    total
                    - DiagonalNormal(estimate, torch.zeros_like(estimate)).log_prob(parts[position]).mean()
                )
        return self.weight * total

    def generator_term(self, rows: Rows) -> Tensor:
        """() nats, weighted: the same as the critic's."""
        return self.critic_term(rows)

    def guesses(self, x: Tensor, condition: Tensor | None = None) -> dict[int, Tensor]:
        """What Q estimates for rows (B, *X): by position of the part, probabilities (B, K) or means (B, size)."""
        made: dict[int, Tensor] = {}
        for (position, _, discrete), estimate in self._estimates(x, condition):
            made[position] = estimate.softmax(1) if discrete else estimate
        return made

    def _estimates(self, x: Tensor, condition: Tensor | None) -> list[tuple[tuple[int, int, bool], Tensor]]:
        """Each code with (B, outputs) what the head puts out for it."""
        out = self.head(self._critic[0].features(x, condition))
        return list(zip(self.codes, torch.split(out, self._outputs, dim=1), strict=True))


def _codes(prior: Composite) -> list[tuple[int, int, bool]]:
    """(position, size, whether it is discrete) of the parts that are codes and not noise."""
    return [
        (position, prior.sizes[position], part.support == "discrete")
        for position, part in enumerate(prior.parts)
        if prior.has_meaning[position]
    ]
