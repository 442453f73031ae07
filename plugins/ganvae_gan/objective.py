"""Generative adversarial networks: one game, in which each loss is a pair of small functions."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from ganvae_core import Batch, ConfigurationError, Critic, DataSpec, Loss, Model, Objective, Phase, losses
from ganvae_gan.packing import packed, packed_spec


class AdversarialGame(Objective):
    """A critic that tells real rows from generated ones, and a generator that works against it.

    Subclasses give the two losses, and in ``own`` what their papers set differently from the defaults. Each option goes
    with any of them.

    Args:
        critic_steps: updates of the critic for one of the generator; null is 5 for wasserstein and wgan-gp, else 1.
        r1_weight: γ of γ/2 E||∇C(x)||² on real rows (Mescheder et al. 2018); null is 1 for relativistic, else 0.
        r2_weight: the same on generated rows; null is 1 for relativistic, else 0.
        lipschitz_weight: of E(||∇C|| - 1)² between real and generated rows; null is 10 for wgan-gp, else 0.
        dragan_weight: of E(||∇C|| - 1)² around real rows (Kodali et al. 2017).
        spectral_norm: divide each of the critic's weights by its largest singular value (Miyato et al. 2018).
        clip_weights: clip the critic's weights to ± this after each update; null is 0.01 for wasserstein, else never.
        packing: rows that the critic judges together (PacGAN, Lin et al. 2018); rows beyond a multiple are left out.
    """

    own: ClassVar[Mapping[str, float]] = {}
    pairs_rows: ClassVar[bool] = False  # whether the generator's loss looks at the real rows' logits

    def __init__(
        self,
        model: Model,
        data: DataSpec,
        critic: Callable[[DataSpec], Critic],
        *,
        critic_steps: int | None = None,
        r1_weight: float | None = None,
        r2_weight: float | None = None,
        lipschitz_weight: float | None = None,
        dragan_weight: float = 0.0,
        spectral_norm: bool = False,
        clip_weights: float | None = None,
        packing: int = 1,
    ) -> None:
        super().__init__()
        self.critic_steps = int(self._chosen("critic_steps", critic_steps, 1))
        self.r1_weight = self._chosen("r1_weight", r1_weight)
        self.r2_weight = self._chosen("r2_weight", r2_weight)
        self.lipschitz_weight = self._chosen("lipschitz_weight", lipschitz_weight)
        self.dragan_weight = self._chosen("dragan_weight", dragan_weight)
        self.clip_weights = self._chosen("clip_weights", clip_weights)
        self.packing = packing
        if self.critic_steps < 1 or packing < 1:
            raise ConfigurationError("objective: critic_steps and packing must be at least 1.")
        self.model = model
        self.critic = critic(packed_spec(data, packing))
        if self._penalised:
            _refuse_batch_norm(self.critic)
        if spectral_norm:
            _normalise_spectrally(self.critic)

    @abc.abstractmethod
    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """() what the critic minimises, given (B,) logits of real and of generated rows."""

    @abc.abstractmethod
    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """() what the generator minimises, given the same; most losses ignore the real ones."""

    def phases(self) -> list[Phase]:
        """The critic at every step, the generator at every ``critic_steps``-th."""
        packs = self.packing > 1
        made = [self.model.generator, self.model.observation, self.model.prior]
        return [
            Phase(
                "critic",
                self.critic_loss,
                trains=[self.critic],
                second_order=self._penalised,
                couples_rows=packs or self.dragan_weight > 0,  # DRAGAN's noise has the scale of the batch
                after=self._clip if self.clip_weights else None,
            ),
            Phase(
                "generator",
                self.generator_loss,
                trains=made,
                every=self.critic_steps,
                couples_rows=packs,
            ),
        ]

    def critic_loss(self, batch: Batch) -> Loss:
        """The critic's loss () with its penalties; ``accuracy`` is the share of pairs it ranks rightly."""
        real, fake, condition = self._rows(batch)
        real = real.detach().requires_grad_(self.r1_weight > 0)
        fake = fake.detach().requires_grad_(self.r2_weight > 0)
        real_logits, fake_logits = self.critic(real, condition), self.critic(fake, condition)
        value = self.critic_value(real_logits, fake_logits)
        terms = {"accuracy": (real_logits > fake_logits).float().mean()}
        for name, penalty in self._penalties(real, fake, real_logits, fake_logits, condition).items():
            value = value + penalty
            terms[name] = penalty
        return Loss(value, terms)

    def generator_loss(self, batch: Batch) -> Loss:
        """The generator's loss ()."""
        real, fake, condition = self._rows(batch)
        with torch.no_grad():
            real_logits = self.critic(real, condition) if self.pairs_rows else torch.zeros(())
        return Loss(self.generator_value(real_logits, self.critic(fake, condition)))

    def _rows(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor | None]:
        """Real rows, as many generated ones, and their condition, in packs."""
        made = self.model.sample(len(batch.x), batch.condition)
        condition = None if batch.condition is None else packed(batch.condition, self.packing)
        return packed(batch.x, self.packing), packed(made, self.packing), condition

    def _penalties(
        self,
        real: Tensor,
        fake: Tensor,
        real_logits: Tensor,
        fake_logits: Tensor,
        condition: Tensor | None,
    ) -> dict[str, Tensor]:
        """Each penalty () that has a weight, weighted."""
        penalties: dict[str, Tensor] = {}
        if self.r1_weight:
            penalties["r1"] = self.r1_weight / 2 * losses.squared_gradient_norm(real_logits, real).mean()
        if self.r2_weight:
            penalties["r2"] = self.r2_weight / 2 * losses.squared_gradient_norm(fake_logits, fake).mean()

        def judged(x: Tensor) -> Tensor:
            return self.critic(x, condition)

        if self.lipschitz_weight:
            between = losses.interpolated(real, fake)
            penalties["lipschitz"] = self.lipschitz_weight * losses.one_centred_penalty(judged, between)
        if self.dragan_weight:
            around = losses.perturbed(real)
            penalties["dragan"] = self.dragan_weight * losses.one_centred_penalty(judged, around)
        return penalties

    def _clip(self, averages: Mapping[str, Tensor]) -> None:
        for weight in self.critic.parameters():
            weight.clamp_(-self.clip_weights, self.clip_weights)

    @property
    def _penalised(self) -> bool:
        weights = (self.r1_weight, self.r2_weight, self.lipschitz_weight, self.dragan_weight)
        return any(weight > 0 for weight in weights)

    def _chosen(self, name: str, given: float | None, default: float = 0.0) -> float:
        value = self.own.get(name, default) if given is None else given
        if value < 0:
            raise ConfigurationError(f"objective.{name}: {value} is not possible: it must not be negative.")
        return value


def _refuse_batch_norm(critic: Critic) -> None:
    """A penalty on each row's gradient means nothing where batch norm ties the rows together."""
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in critic.modules()):
        raise ConfigurationError(
            "a gradient penalty does not go with batch norm in the critic, which ties rows together.",
            "turn it off:  critic.batch_norm=false",
        )


def _normalise_spectrally(critic: Critic) -> None:
    for module in list(critic.modules()):
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.utils.parametrizations.spectral_norm(module)


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

    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.wasserstein_critic(real_logits, fake_logits)

    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.wasserstein_generator(fake_logits)


@final
class Wasserstein(WassersteinGame):
    """WGAN: the critic's weights are clipped to ± 0.01. Arjovsky et al. 2017 (with optimizers.critic.name=rmsprop)."""

    own: ClassVar[Mapping[str, float]] = {"critic_steps": 5, "clip_weights": 0.01}


@final
class WassersteinPenalised(WassersteinGame):
    """WGAN-GP: ``10 E(||∇C|| - 1)²`` between real and generated rows in place of clipping. Gulrajani et al. 2017."""

    own: ClassVar[Mapping[str, float]] = {"critic_steps": 5, "lipschitz_weight": 10.0}


@final
class Relativistic(AdversarialGame):
    """R3GAN's loss: each real row is to look more real than the generated row it is paired with, with R1 and R2.

    Critic: ``E -log sigmoid(C(x) - C(G(z)))``; generator: the same with the two exchanged. Jolicoeur-Martineau 2018;
    with both penalties at every step, Huang et al., The GAN is dead; long live the GAN!, 2024.
    """

    own: ClassVar[Mapping[str, float]] = {"r1_weight": 1.0, "r2_weight": 1.0}
    pairs_rows: ClassVar[bool] = True

    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.relativistic_critic(real_logits, fake_logits)

    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return losses.relativistic_generator(real_logits, fake_logits)
