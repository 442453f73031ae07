"""Every loss that the game of critic and generator is played with."""

from __future__ import annotations

from ganvae_gan.objective import (
    AdversarialGame,
    Hinge,
    LeastSquares,
    Minimax,
    NonSaturating,
    Relativistic,
    Wasserstein,
    WassersteinPenalised,
)

EVERY_LOSS: list[type[AdversarialGame]] = [
    NonSaturating,
    Minimax,
    LeastSquares,
    Hinge,
    Wasserstein,
    WassersteinPenalised,
    Relativistic,
]
