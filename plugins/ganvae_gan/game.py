"""The game of critic and generator that the losses of this plugin share, with the options of all of them."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, ItemsView, Mapping
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from ganvae_core import (
    AdaptiveAugmentation,
    Batch,
    ConfigurationError,
    Critic,
    DataSpec,
    Loss,
    Model,
    Objective,
    Phase,
    Schedule,
    in_range,
    normalise_spectrally,
    penalties,
)
from ganvae_gan.information import Information
from ganvae_gan.packing import packed, packed_spec
from ganvae_gan.rotation import Rotation
from ganvae_gan.rows import Rows, Task


class AdversarialGame(Objective):
    """A critic that separates real rows from generated ones, and a generator that opposes it.

    Subclasses give the two losses, and in ``paper_defaults`` the options that their papers set differently. Each option
    goes with any of them. The penalties (R1, R2, DRAGAN and ``lipschitz_weight``) are of the gradient with respect to
    the rows, and not with respect to the code or label that the critic is given beside each.

    Args:
        critic_steps: updates of the critic for one of the generator; null is 5 for wasserstein and wgan-gp, else 1.
        r1_weight: γ of γ/2 E||∇C(x)||² on real rows (Mescheder et al. 2018); null is 1 for relativistic, else 0.
            The weights of penalties may be schedules: R3GAN lets them fall tenfold in a training.
        r2_weight: the same on generated rows; null is 1 for relativistic, else 0.
        lipschitz_weight: of E(||∇C|| - 1)² between real and generated rows; null is 10 for wgan-gp, else 0.
        dragan_weight: of E(||∇C|| - 1)² around real rows (Kodali et al. 2017).
        spectral_norm: divide each of the critic's weights by its largest singular value (Miyato et al. 2018).
        clip_weights: clip the critic's weights to ± this after each update; null is 0.01 for wasserstein, else never.
        packing: rows that the critic judges together (PacGAN, Lin et al. 2018); a remainder is left out.
        rotation_weight: of classifying by how many quarter turns an image is rotated; 1 for SSGAN (Chen et al. 2019).
        information_weight: of the information that samples have about the codes of a composite prior; InfoGAN
            (Chen et al. 2016) has 1, and with 0.1 codes follow the classes of the data better.
        augmentation_target: augment images so that the mean sign of the critic's real logits is this; 0.6 for ADA
            (Karras et al. 2020). Of real logits less 0.5 for least-squares, and of real less generated ones
            for relativistic, wasserstein and wgan-gp.
    """

    paper_defaults: ClassVar[Mapping[str, float]] = {}
    pairs_rows: ClassVar[bool] = False  # whether the generator's loss depends on the real rows' logits
    judges_codes: ClassVar[bool] = False  # whether the critic is given the code of each row
    shift_invariant: ClassVar[bool] = False  # whether a constant added to all logits changes nothing
    neutral_logit: ClassVar[float] = 0.0  # the logit for rows that are as likely real as generated

    def __init__(
        self,
        model: Model,
        data: DataSpec,
        critic: Callable[[DataSpec], Critic],
        *,
        critic_steps: int | None = None,
        r1_weight: Schedule | float | None = None,
        r2_weight: Schedule | float | None = None,
        lipschitz_weight: Schedule | float | None = None,
        dragan_weight: Schedule | float = 0.0,
        spectral_norm: bool = False,
        clip_weights: float | None = None,
        packing: int = 1,
        rotation_weight: float = 0.0,
        information_weight: float = 0.0,
        augmentation_target: float | None = None,
    ) -> None:
        super().__init__()
        in_range("objective.", least=1, critic_steps=critic_steps, packing=packing)
        in_range("objective.", r1_weight=r1_weight, r2_weight=r2_weight, lipschitz_weight=lipschitz_weight)
        in_range("objective.", dragan_weight=dragan_weight, clip_weights=clip_weights)
        in_range("objective.", rotation_weight=rotation_weight, information_weight=information_weight)
        self.critic_steps = int(self._chosen("critic_steps", critic_steps, 1))
        self.penalties = penalties.Penalties(
            r1=self._weight("r1_weight", r1_weight),
            r2=self._weight("r2_weight", r2_weight),
            lipschitz=self._weight("lipschitz_weight", lipschitz_weight),
            dragan=self._weight("dragan_weight", dragan_weight),
        )
        self.clip_weights = self._chosen("clip_weights", clip_weights)
        self.packing = packing
        self.model = model
        judged = _with_codes(data, model) if self.judges_codes else data
        self.critic = critic(packed_spec(judged, packing))
        self.penalties.check_critic(self.critic)
        if spectral_norm:
            normalise_spectrally(self.critic)
        self.tasks = self._tasks(
            data,
            rotation=self._chosen("rotation_weight", rotation_weight),
            information=self._chosen("information_weight", information_weight),
        )
        self.augmentation = (
            None if augmentation_target is None else AdaptiveAugmentation(data, augmentation_target)
        )

    def _tasks(self, data: DataSpec, *, rotation: float, information: float) -> nn.ModuleDict:
        """The critic's further tasks that have a weight, by name."""
        tasks = nn.ModuleDict()
        if rotation:
            tasks["rotation"] = Rotation(data, self.critic, rotation)
        if information:
            if self.judges_codes:
                raise ConfigurationError(
                    "objective.information_weight: this critic is given the codes, so it has none to estimate.",
                    "turn it off:  objective.information_weight=0",
                )
            tasks["information"] = Information(self.model.prior, self.critic, information)
        if tasks and self.packing > 1:
            raise ConfigurationError(
                f"objective: {' and '.join(tasks)} judges single rows, which a packing critic never sees.",
                "set:  objective.packing=1",
            )
        return tasks

    @abc.abstractmethod
    def critic_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """() what the critic minimises, given (B,) logits of real and of generated rows."""

    @abc.abstractmethod
    def generator_value(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """() what the generator minimises, given the same; most losses ignore the real ones."""

    def phases(self) -> list[Phase]:
        """The critic at every step, the generator at every ``critic_steps``-th."""
        packs = self.packing > 1
        return [
            Phase(
                "critic",
                self.critic_loss,
                trains=[self.critic, self.tasks],
                second_order=self.penalties.active,
                couples_rows=packs
                or self.penalties.uses("dragan"),  # DRAGAN's noise has the scale of the batch
                after=self._after_critic if self.clip_weights or self.augmentation else None,
            ),
            Phase(
                "generator",
                self.generator_loss,
                trains=[self.model],
                every=self.critic_steps,
                couples_rows=packs,
            ),
        ]

    def critic_loss(self, batch: Batch) -> Loss:
        """The critic's loss () with its penalties; ``accuracy`` is the share of pairs it ranks rightly."""
        rows = self._rows(batch)
        real = rows.real.detach().requires_grad_(self.penalties.uses("r1"))
        fake = rows.fake.detach().requires_grad_(self.penalties.uses("r2"))
        real_logits = self._judge(real, rows.real_condition)
        fake_logits = self._judge(fake, rows.fake_condition)
        value = self.critic_value(real_logits, fake_logits)
        terms = {"accuracy": (real_logits > fake_logits).float().mean()}

        def judge_real(x: Tensor) -> Tensor:
            return self._judge(x, rows.real_condition)

        extra = self.penalties.terms(judge_real, real, fake, real_logits, fake_logits, batch.samples_seen)
        for name, task in self._each_task():
            extra[name] = task.critic_term(rows)
        for name, term in extra.items():
            value = value + term
            terms[name] = term
        if self.augmentation is not None:
            terms["augmentation"] = self.augmentation.strength.clone()  # it changes before the log is read
        return Loss(value, terms, self._statistics(real_logits, fake_logits, batch))

    def generator_loss(self, batch: Batch) -> Loss:
        """The generator's loss ()."""
        rows = self._rows(batch)
        real_logits = fake_logits = self._judge(rows.fake, rows.fake_condition)
        if self.pairs_rows:
            real_logits = self._judge(rows.real, rows.real_condition)
        value = self.generator_value(real_logits, fake_logits)
        terms: dict[str, Tensor] = {}
        for name, task in self._each_task():
            terms[name] = task.generator_term(rows)
            value = value + terms[name]
        return Loss(value, terms)

    def _each_task(self) -> ItemsView[str, Task]:
        return cast("Mapping[str, Task]", self.tasks).items()

    def _rows(self, batch: Batch) -> Rows:
        """The judged rows, in packs."""
        condition = batch.condition
        codes = self.model.prior.sample(len(batch.x), condition)
        fake = self.model.decode(codes, condition).mean
        if batch.mask is not None:
            # Hidden entries of both sides are zero, so that they distinguish nothing (Bora et al., AmbientGAN, 2018).
            fake = fake.where(batch.mask, 0)
        real_condition = fake_condition = condition
        if self.judges_codes:
            real_condition = _joined(self.model.encode(batch.x, condition).rsample(), condition)
            fake_condition = _joined(codes, condition)
        return Rows(
            packed(batch.x, self.packing),
            None if real_condition is None else packed(real_condition, self.packing),
            packed(fake, self.packing),
            None if fake_condition is None else packed(fake_condition, self.packing),
            codes,
        )

    def _judge(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """(B,) logits of rows as the critic is given them."""
        return self.critic(x if self.augmentation is None else self.augmentation(x), condition)

    def _statistics(self, real_logits: Tensor, fake_logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The signal that the strength of the augmentation follows."""
        if self.augmentation is None:
            return {}
        # The sign of a real logit says nothing where a constant added to all logits changes nothing.
        margin = real_logits - (fake_logits if self.shift_invariant else self.neutral_logit)
        return self.augmentation.statistics(margin, batch.samples_seen)

    def _after_critic(self, averages: Mapping[str, Tensor]) -> None:
        if self.clip_weights:
            for weight in self.critic.parameters():
                weight.clamp_(-self.clip_weights, self.clip_weights)
        if self.augmentation is not None:
            self.augmentation.adapt(averages)

    def _weight(self, name: str, given: Schedule | float | None) -> Schedule | float:
        return given if isinstance(given, Schedule) else self._chosen(name, given)

    def _chosen(self, name: str, given: float | None, default: float = 0.0) -> float:
        return self.paper_defaults.get(name, default) if given is None else given


def _with_codes(data: DataSpec, model: Model) -> DataSpec:
    """What the data is for a critic that is given a code beside each row."""
    if model.encoder is None:
        return data  # ``needs`` refuses such a model
    given = None if data.condition is None else torch.zeros(2, *data.condition)
    with torch.no_grad():
        width = model.encoder.eval()(torch.zeros(2, *data.shape), given).mean[0].numel()
    model.encoder.train()
    return dataclasses.replace(data, condition=(width + (0 if given is None else given[0].numel()),))


def _joined(codes: Tensor, condition: Tensor | None) -> Tensor:
    """(B, *Z) and (B, *K)? -> (B, Z + K)."""
    parts = [codes] if condition is None else [codes, condition]
    return torch.cat([part.flatten(1) for part in parts], dim=1)
