"""CTGAN: a GAN for tables that learns rare categories."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F

from ganvae_core import (
    Batch,
    ConfigurationError,
    Critic,
    DataSpec,
    Loss,
    Model,
    Objective,
    Phase,
    in_range,
    losses,
    penalties,
)
from ganvae_table.networks import ConditionalVectorGenerator


@final
class CTGAN(Objective):
    """A Wasserstein GAN with a gradient penalty whose generator is asked for a category of a column.

    In each step every row draws a column, and a category of it with a probability that grows with the logarithm of its
    frequency; the real row has that category, the generated one is asked for it, and the cross-entropy of what the
    generator makes of that column is added to its loss. So rare categories are trained as those of medium frequency
    are, and samples have each as often as the data (training by sampling). The real rows are drawn from those of the
    batch. Xu et al., Modeling Tabular Data using Conditional GAN, 2019.

    Args:
        packing: rows that the critic judges together (PacGAN, Lin et al. 2018); a remainder is left out.
        lipschitz_weight: of E(||∇C|| - 1)² between real and generated packs (Gulrajani et al. 2017).
        critic_steps: updates of the critic for one of the generator.
        sampling: whether categories are drawn by the logarithm of their frequency; else by their frequency.
    """

    needs: ClassVar = frozenset({"prior"})

    def __init__(
        self,
        model: Model,
        data: DataSpec,
        critic: Callable[[DataSpec], Critic],
        *,
        packing: int = 10,
        lipschitz_weight: float = 10.0,
        critic_steps: int = 1,
        sampling: bool = True,
    ) -> None:
        super().__init__()
        in_range("objective.", least=1, packing=packing, critic_steps=critic_steps)
        in_range("objective.", lipschitz_weight=lipschitz_weight)
        if (
            not isinstance(model.generator, ConditionalVectorGenerator)
            or model.generator.raw_shape != data.shape
        ):
            raise ConfigurationError(
                "objective: 'ctgan' trains a generator with a conditional vector, and an observation of points.",
                "generator=table-gan/conditional-vector observation=point",
            )
        self.model, self.columns = model, model.generator.columns
        self.packing, self.critic_steps, self.sampling = packing, critic_steps, sampling
        self.penalties = penalties.Penalties(lipschitz=lipschitz_weight)
        given = self.columns.size + math.prod(data.condition or (0,))
        judged = dataclasses.replace(
            data,
            shape=(packing * math.prod(data.shape),),
            condition=(packing * given,) if given else None,
            fields=None,
        )
        self.critic = critic(judged)

    def phases(self) -> list[Phase]:
        """The critic at every step, the generator at every ``critic_steps``-th."""
        return [
            Phase("critic", self.critic_loss, trains=[self.critic], second_order=True, couples_rows=True),
            Phase(
                "generator",
                self.generator_loss,
                trains=[self.model],
                every=self.critic_steps,
                couples_rows=True,
            ),
        ]

    def critic_loss(self, batch: Batch) -> Loss:
        """The critic's loss () with its penalty."""
        column, category, rows = self._drawn(batch)
        vector = self._vector(column, category)
        real, given = self._packed(batch.x[rows]), self._given(vector, _of(batch.condition, rows))
        fake = self._packed(self._fake(batch, vector, rows)[0]).detach()

        def judge(x: Tensor) -> Tensor:
            return self.critic(x, given)

        real_logits, fake_logits = judge(real), judge(fake)
        value = losses.wasserstein_critic(real_logits, fake_logits)
        terms = {"accuracy": (real_logits > fake_logits).float().mean()}
        for name, term in self.penalties.terms(
            judge, real, fake, real_logits, fake_logits, batch.samples_seen
        ).items():
            value, terms[name] = value + term, term
        return Loss(value, terms)

    def generator_loss(self, batch: Batch) -> Loss:
        """The generator's loss (): the critic's judgement, and the cross-entropy of the category that was asked for."""
        column, category, rows = self._drawn(batch)
        vector = self._vector(column, category)
        fake, raw = self._fake(batch, vector, rows)
        logits = self.critic(self._packed(fake), self._given(vector, _of(batch.condition, rows)))
        value = losses.wasserstein_generator(logits)
        if not self.columns.size:
            return Loss(value)
        error = torch.zeros_like(category, dtype=raw.dtype)
        for number, part in enumerate(self.columns.categories(raw)):
            wanted = category.clamp(max=part.shape[1] - 1)
            error = error + F.cross_entropy(part, wanted, reduction="none") * (column == number)
        asked = error.mean()
        return Loss(value + asked, {"category": asked})

    def _drawn(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Columns (B,), categories (B,) of them, and the rows (B,) of the batch that have these."""
        count, device = len(batch.x), batch.x.device
        rows = torch.arange(count, device=device)
        if not self.columns.size:
            return torch.zeros_like(rows), torch.zeros_like(rows), rows
        column = torch.randint(len(self.columns.starts), (count,), device=device)
        weights, categories = [], []
        for part in self.columns.categories(batch.x):
            part = part.clamp(min=0)  # rows that are no table's, with numbers here, have no negative weights
            there = part.sum(0)
            weight = (1 + there).log() / there.clamp(min=1) if self.sampling else torch.ones_like(there)
            weights.append(part @ weight + 1e-9)  # of each row; a cell that is missing is hardly ever drawn
            categories.append(part.argmax(1))
        drawn = torch.multinomial(torch.stack(weights), count, replacement=True)  # (columns, B)
        rows = drawn.gather(0, column[None])[0]
        return column, torch.stack(categories)[column, rows], rows

    def _vector(self, column: Tensor, category: Tensor) -> Tensor:
        if not self.columns.size:
            return torch.zeros(len(column), 0, device=column.device)
        return self.columns.vector(column, category)

    def _fake(self, batch: Batch, vector: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Generated rows (B, D), and the generator's output for them."""
        generator, condition = self.model.generator, _of(batch.condition, rows)
        assert isinstance(generator, ConditionalVectorGenerator)
        raw = generator.given(self.model.prior.sample(len(rows), condition), vector, condition)
        fake = self.model.observation(raw).mean
        return (fake if batch.mask is None else fake.where(batch.mask[rows], 0.0)), raw

    def _given(self, vector: Tensor, condition: Tensor | None) -> Tensor | None:
        given = vector if condition is None else torch.cat([vector, condition.flatten(1)], 1)
        return self._packed(given) if given.shape[1] else None

    def _packed(self, rows: Tensor) -> Tensor:
        """(B, *X) -> (B // packing, packing · D), where D is the product of *X."""
        packs = len(rows) // self.packing
        if not packs:
            raise ConfigurationError(
                f"objective.packing: {self.packing} rows make a pack, and a step has {len(rows)}.",
                "objective.packing=1",
            )
        return rows[: packs * self.packing].reshape(packs, -1)


def _of(values: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if values is None else values[rows]
