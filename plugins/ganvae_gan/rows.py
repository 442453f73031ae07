"""The rows that a critic judges in one step."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


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
