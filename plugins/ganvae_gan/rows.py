"""The rows that a critic judges in one step, and further tasks on them."""

from __future__ import annotations

import abc
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Rows:
    """Real and generated rows, each with the condition that the critic is given.

    Args:
        real: (B, *X), in packs where the critic judges packs.
        real_condition: (B, *K) or None.
        fake: (B, *X) likewise.
        fake_condition: (B, *K) or None.
        codes: (B, *Z) that the generated rows were made from.
    """

    real: Tensor
    real_condition: Tensor | None
    fake: Tensor
    fake_condition: Tensor | None
    codes: Tensor


class Task(nn.Module, abc.ABC):
    """A further task of the critic, beside telling real rows from generated ones."""

    @abc.abstractmethod
    def critic_term(self, rows: Rows) -> Tensor:
        """() nats, weighted: what the task adds to the critic's loss."""

    @abc.abstractmethod
    def generator_term(self, rows: Rows) -> Tensor:
        """() nats, weighted: what the task adds to the generator's loss."""
