"""The losses of the GAN papers, each a pair of small functions for the game of ``game.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

from torch import Tensor

from ganvae_core import losses
from ganvae_gan.game import AdversarialGame


@final
class NonSaturating(AdversarialGame):
    """The GAN whose generator maximises the critic's log-probability of "real".

    Critic: ``-E log D(x) - E log(1 - D(G(z)))``; generator: ``-E log D(G(z))``; D is the sigmoid of the
    critic's logit. Goodfellow et al., Generative Adversarial Nets, 2014.
    """

    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.non_saturating_critic(real_logits, fake_logits)

    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.non_saturating_generator(fake_logits)


@final
class Minimax(AdversarialGame):
    """The GAN as the zero-sum game of its theory; its generator learns little while the critic wins.

    Critic as for ``non-saturating``; generator: ``E log(1 - D(G(z)))``. Goodfellow et al. 2014.
    """

    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.non_saturating_critic(real_logits, fake_logits)

    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.minimax_generator(fake_logits)


@final
class LeastSquares(AdversarialGame):
    """LSGAN. Critic: ``½ E(C(x) - 1)² + ½ E C(G(z))²``; generator: ``½ E(C(G(z)) - 1)²``. Mao et al. 2017."""

    neutral_logit: ClassVar[float] = 0.5

    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.least_squares_critic(real_logits, fake_logits)

    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.least_squares_generator(fake_logits)


@final
class Hinge(AdversarialGame):
    """Critic: ``E max(0, 1 - C(x)) + E max(0, 1 + C(G(z)))``; generator: ``-E C(G(z))``. Lim and Ye 2017."""

    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.hinge_critic(real_logits, fake_logits)

    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.hinge_generator(fake_logits)


class WassersteinGame(AdversarialGame):
    """Critic: ``E C(G(z)) - E C(x)``; generator: ``-E C(G(z))``, for a critic that is kept 1-Lipschitz."""

    shift_invariant: ClassVar[bool] = True

    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.wasserstein_critic(real_logits, fake_logits)

    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.wasserstein_generator(fake_logits)


@final
class Wasserstein(WassersteinGame):
    """WGAN: the critic's weights are clipped to ± 0.01. Arjovsky et al. 2017 (with optimizers.critic.name=rmsprop)."""

    paper_defaults: ClassVar[Mapping[str, float]] = {"critic_steps": 5, "clip_weights": 0.01}


@final
class WassersteinPenalised(WassersteinGame):
    """WGAN-GP: ``10 E(||∇C|| - 1)²`` between real and generated rows in place of clipping. Gulrajani et al. 2017."""

    paper_defaults: ClassVar[Mapping[str, float]] = {"critic_steps": 5, "lipschitz_weight": 10.0}


@final
class Relativistic(AdversarialGame):
    """R3GAN's loss: each real row is to look more real than the generated row it is paired with, with R1 and R2.

    Critic: ``E -log sigmoid(C(x) - C(G(z)))``; generator: the same with the two exchanged. Jolicoeur-Martineau 2018;
    with both penalties at every step, Huang et al., The GAN is dead; long live the GAN!, 2024.
    """

    paper_defaults: ClassVar[Mapping[str, float]] = {"r1_weight": 1.0, "r2_weight": 1.0}
    pairs_rows: ClassVar[bool] = True
    shift_invariant: ClassVar[bool] = True

    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.relativistic_critic(real_logits, fake_logits)

    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.relativistic_generator(real_logits, fake_logits)


@final
class BiGAN(AdversarialGame):
    """A GAN that encodes: its critic separates pairs (x, E(x)) from pairs (G(z), z), and E and G oppose it.

    Critic: ``-E log D(x, E(x)) - E log(1 - D(G(z), z))``; generator and encoder: the same with the two exchanged, so
    that in the end E inverts G. The critic is given the code as a condition. Donahue et al., Adversarial Feature
    Learning, 2017; with an encoder that has a posterior it is ALI (Dumoulin et al., Adversarially Learned Inference,
    2017).
    """

    accepts: ClassVar = frozenset(
        {"real", "bounded"}
    )  # no encoder puts out one-hot codes or points on a sphere
    needs: ClassVar = frozenset({"prior", "encoder"})
    pairs_rows: ClassVar[bool] = True
    judges_codes: ClassVar[bool] = True

    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.non_saturating_critic(real_logits, fake_logits)

    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.non_saturating_critic(fake_logits, real_logits)
