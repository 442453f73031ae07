"""Holds a density against draws, by a test of known false-alarm rate.

One set of draws lays out cells, and the density is integrated over each of them. How many of a second set of draws fall
into each is compared with the integrals by Pearson's chi-squared test. That shows both a density that does not
integrate to one and draws that follow another distribution. Coordinates that take few values are summed over, the
others integrated over, so discrete, continuous and mixed codes are one case; of a sphere, its area is integrated over.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ganvae_core.testing.checks import NotChecked

DRAWS = 20_000
FALSE_ALARMS = 1e-6
"""Most often that a correct density is reported, if seeds were drawn at random; they are fixed, so reports repeat."""
LEAST_EXPECTED = 10.0
"""Cells with fewer expected draws go into the rest, as the chi-squared distribution would not hold for them."""
CELLS = {0: 1, 1: 16, 2: 5, 3: 3}
POINTS = {0: 1, 1: 1_024, 2: 64, 3: 24}
"""Cells for each axis, and points along each axis of a cell, by the number of continuous coordinates."""
FEW_VALUES = 300
"""A coordinate that takes no more values than this in all draws is a discrete one."""
CHUNK = 65_536

Sample = Callable[[int], Tensor]
LogProb = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evidence:
    """A density held against draws.

    Args:
        not_finite: share of the draws at which the density is not finite.
        mass: integral of the density over all cells.
        share: of the draws that lie in the cells.
        p_value: a bound from the chi-squared test: below p for at most a share p of the seeds.
        cells: how many there are.
        on_support: whether all draws are on the sphere that they are said to be on.
    """

    not_finite: float = 0.0
    mass: float = 1.0
    share: float = 1.0
    p_value: float = 1.0
    cells: int = 0
    on_support: bool = True

    @property
    def of_density(self) -> bool:
        """Whether the density is wrong by itself, and not only for these draws: it adds up to more than one."""
        return self.mass > 1.01 + 5 * math.sqrt(self.share * (1 - self.share) / DRAWS)

    @property
    def message(self) -> str:
        """What is wrong, or nothing."""
        if self.not_finite:
            return f"log_prob is not finite for {self.not_finite:.2%} of its own draws"
        if not self.on_support:
            return "its support is a sphere, and its draws are not equally long"
        if self.of_density:
            return f"exp(log_prob) adds up to {self.mass:.4g} where {self.share:.1%} of its draws are"
        if self.p_value < FALSE_ALARMS:
            return (
                f"its draws do not follow exp(log_prob): {self.share:.1%} of {DRAWS:,} are where it adds up to"
                f" {self.mass:.1%} (a chi-squared test over {self.cells} cells gives p = {self.p_value:.1g})"
            )
        return ""


def compared(sample: Sample, log_prob: LogProb, *, on_sphere: bool = False) -> Evidence:
    """Hold a density against draws.

    Args:
        sample: count -> (count, *Z).
        log_prob: (B, *Z) -> (B,) nats.
        on_sphere: codes lie on a sphere around the origin, and the density is with respect to its area.

    Raises:
        NotChecked: the codes have more continuous coordinates than are integrated over.
    """
    first, second = sample(DRAWS).flatten(1), sample(DRAWS)
    shape, flat = tuple(second.shape[1:]), second.flatten(1)
    at_draws = _in_chunks(log_prob, second)
    if not at_draws.isfinite().all():
        return Evidence(not_finite=float((~at_draws.isfinite()).double().mean()))
    space = _Sphere(first) if on_sphere else _Flat(first)
    if not space.holds(flat):
        return Evidence(on_support=False)

    def density(z: Tensor) -> Tensor:
        return _in_chunks(log_prob, z.reshape(-1, *shape).to(second.dtype)).double().exp()

    cells = list(space.cells(first))
    masses = torch.tensor([cell.mass(density) for cell in cells], dtype=torch.float64)
    counts = torch.stack([space.inside(cell, flat).sum() for cell in cells]).double()
    share = float(counts.sum()) / DRAWS
    return Evidence(0.0, float(masses.sum()), share, _p_value(masses, counts), len(cells))


def _p_value(masses: Tensor, counts: Tensor) -> float:
    """Of Pearson's test over the cells and the rest, and of the rest by itself where little is expected there: a bound.

    The smaller of the two, doubled: a correct density gives a value below p with a probability of at most p.
    """
    large = masses * DRAWS >= LEAST_EXPECTED
    expected, observed = masses[large] * DRAWS, counts[large]
    rest_expected = max(0.0, DRAWS - float(expected.sum()))
    rest_observed = DRAWS - float(observed.sum())
    lowest = 1.0
    if rest_expected >= LEAST_EXPECTED:
        expected = torch.cat([expected, expected.new_tensor([rest_expected])])
        observed = torch.cat([observed, observed.new_tensor([rest_observed])])
    elif rest_observed > 0:
        # P(Poisson(expected) >= observed), with room for the error of integration.
        rate = torch.tensor(rest_expected + 1e-3 * DRAWS, dtype=torch.float64)
        lowest = 2 * float(torch.special.gammainc(torch.tensor(rest_observed, dtype=torch.float64), rate))
    if len(expected) < 2:
        return lowest
    statistic = ((observed - expected).square() / expected).sum()
    freedom = torch.tensor(len(expected) - 1.0, dtype=torch.float64)
    return min(lowest, 2 * float(torch.special.gammaincc(freedom / 2, statistic / 2)))


@dataclass(frozen=True)
class _Cell:
    """A value for each discrete coordinate, and an interval for each continuous one.

    Args:
        values: of the discrete coordinates.
        low: ends of the intervals.
        high: their other ends.
        embed: (n, continuous coordinates) -> (n, D) codes with these discrete values.
        area: of the code space for one unit of volume of the coordinates.
    """

    values: Tensor
    low: tuple[float, ...]
    high: tuple[float, ...]
    embed: Callable[[Tensor], Tensor]
    area: float = 1.0

    def mass(self, density: Callable[[Tensor], Tensor]) -> float:
        """The integral of a density, by the midpoint rule."""
        count = POINTS[len(self.low)]
        axes = [
            low + (high - low) * (torch.arange(count, dtype=torch.float64) + 0.5) / count
            for low, high in zip(self.low, self.high, strict=True)
        ]
        points = (
            torch.cartesian_prod(*axes).reshape(-1, len(axes))
            if axes
            else torch.zeros(1, 0, dtype=torch.float64)
        )
        volume = math.prod((high - low) / count for low, high in zip(self.low, self.high, strict=True))
        return float(density(self.embed(points)).sum()) * volume * self.area


class _Flat:
    """Codes as they are, some coordinates discrete and some continuous."""

    def __init__(self, draws: Tensor) -> None:
        distinct = [len(column.unique()) for column in draws.T]
        self.discrete = [axis for axis, number in enumerate(distinct) if number <= FEW_VALUES]
        self.continuous = [axis for axis in range(draws.shape[1]) if axis not in self.discrete]
        refuse_dimensions(len(self.continuous))
        for axis in self.continuous:
            most = int(draws[:, axis].unique(return_counts=True)[1].max())
            if most > 0.005 * len(draws):
                raise NotChecked("one of its coordinates is both discrete and continuous")

    def holds(self, draws: Tensor) -> bool:
        """Whether all draws are codes of this space."""
        return True

    def cells(self, draws: Tensor) -> Iterator[_Cell]:
        """Cells between quantiles of the draws, for each combination of discrete values."""
        patterns = draws[:, self.discrete].unique(dim=0) if self.discrete else draws.new_zeros(1, 0)
        edges = [quantiles(draws[:, axis], CELLS[len(self.continuous)]) for axis in self.continuous]
        for pattern, box in itertools.product(
            patterns, itertools.product(*(itertools.pairwise(e) for e in edges))
        ):
            low, high = (tuple(edge[end] for edge in box) for end in (0, 1))
            yield _Cell(pattern, low, high, self._embedding(pattern))

    def inside(self, cell: _Cell, draws: Tensor) -> Tensor:
        """(B,) whether each draw falls into a cell."""
        found = (draws[:, self.discrete] == cell.values).all(1)
        for axis, low, high in zip(self.continuous, cell.low, cell.high, strict=True):
            found &= (draws[:, axis] >= low) & (draws[:, axis] < high)
        return found

    def _embedding(self, pattern: Tensor) -> Callable[[Tensor], Tensor]:
        def embed(points: Tensor) -> Tensor:
            codes = points.new_zeros(len(points), len(self.discrete) + len(self.continuous))
            codes[:, self.discrete] = pattern.to(codes.dtype)
            codes[:, self.continuous] = points
            return codes

        return embed


class _Sphere:
    """Codes of two coordinates by their angle, of three by their angle and height; of one, the two ends."""

    def __init__(self, draws: Tensor) -> None:
        if draws.shape[1] not in (2, 3):
            raise NotChecked(
                "the density on a sphere is checked in two and three dimensions, and it accepts neither"
            )
        self.radius = float(draws.double().norm(dim=1).mean())
        self.size = draws.shape[1]

    def holds(self, draws: Tensor) -> bool:
        """Whether all draws have the radius, but for rounding."""
        return bool(((draws.double().norm(dim=1) - self.radius).abs() <= 1e-4 * self.radius).all())

    def cells(self, draws: Tensor) -> Iterator[_Cell]:
        """Cells between quantiles of the coordinates."""
        coordinates = self._coordinates(draws)
        edges = [quantiles(column, CELLS[self.size - 1]) for column in coordinates.T]
        for box in itertools.product(*(itertools.pairwise(e) for e in edges)):
            low, high = (tuple(edge[end] for edge in box) for end in (0, 1))
            yield _Cell(torch.zeros(0), low, high, self._embed, self.radius)

    def inside(self, cell: _Cell, draws: Tensor) -> Tensor:
        """(B,) whether each draw falls into a cell."""
        coordinates = self._coordinates(draws)
        low, high = torch.tensor(cell.low), torch.tensor(cell.high)
        return ((coordinates >= low) & (coordinates < high)).all(1)

    def _coordinates(self, draws: Tensor) -> Tensor:
        angle = torch.atan2(draws[:, 1], draws[:, 0])
        return angle[:, None] if self.size == 2 else torch.stack([angle, draws[:, 2]], dim=1)

    def _embed(self, points: Tensor) -> Tensor:
        angle = points[:, 0]
        if self.size == 2:
            return self.radius * torch.stack([angle.cos(), angle.sin()], dim=1)
        height = points[:, 1]  # the area between two heights is that of the cylinder around the sphere
        ring = (self.radius**2 - height.square()).clamp(min=0).sqrt()
        return torch.stack([ring * angle.cos(), ring * angle.sin(), height], dim=1)


def refuse_dimensions(count: int) -> None:
    """Integration over cells is exact enough in up to three dimensions.

    Raises:
        NotChecked: there are more.
    """
    if count > 3:
        raise NotChecked(
            f"a density is integrated over in up to three dimensions, and its smallest codes have {count}"
        )


def quantiles(values: Tensor, cells: int) -> Sequence[float]:
    """Edges of cells with about as many values each; one in a hundred values lies beyond either end."""
    shares = torch.linspace(0.01, 0.99, cells + 1, dtype=torch.float64)
    return values.double().quantile(shares).tolist()


def _in_chunks(log_prob: LogProb, z: Tensor) -> Tensor:
    return torch.cat([log_prob(part).detach() for part in z.split(CHUNK)])
