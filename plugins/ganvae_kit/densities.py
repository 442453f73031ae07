"""Compares a density with draws, by a test of known false-alarm rate.

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

from ganvae_kit.checks import CheckFailure, NotChecked

DRAWS = 20_000
FALSE_ALARMS = 1e-6
"""Most often that a correct density is reported, if seeds were drawn at random; they are fixed, so reports repeat."""
LEAST_EXPECTED = 10.0
"""Cells with fewer expected draws go into the rest, as the chi-squared distribution would not hold for them."""
CELLS = {0: 1, 1: 16, 2: 5, 3: 3}
PIECES = {0: 1, 1: 64, 2: 16, 3: 5}
POINTS = {0: (1,), 1: (8, 16, 64), 2: (2, 4, 8), 3: (2, 4)}
"""Cells for each continuous axis, pieces of a cell, which are the smaller the more draws there are, and points in each
piece: more of them, until the integral no longer changes. By the number of continuous coordinates."""
MOST_PATTERNS = 300
"""Combinations of discrete values that have cells of their own: the most frequent ones."""
SETTLED = 0.3
"""How much an integral may change with more points, in standard errors of the share of draws that is in a cell."""
FEW_VALUES = 300
"""A coordinate that takes no more values than this in all draws is a discrete one."""
CHUNK = 65_536

Sample = Callable[[int], Tensor]
LogProb = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Evidence:
    """The comparison of a density with draws.

    Args:
        mass: integral of the density over all cells.
        share: of the draws that lie in the cells.
        p_value: a bound from the chi-squared test: below p for at most a share p of the seeds.
        cells: how many there are.
    """

    mass: float
    share: float
    p_value: float
    cells: int

    @property
    def message(self) -> str:
        """What is wrong, or nothing."""
        if self.mass > 1.01 + 5 * math.sqrt(self.share * (1 - self.share) / DRAWS):
            return f"exp(log_prob) adds up to {self.mass:.4g} where {self.share:.1%} of its draws are"
        if self.p_value < FALSE_ALARMS:
            return (
                f"its draws do not follow exp(log_prob): {self.share:.1%} of {DRAWS:,} are where it adds up to"
                f" {self.mass:.1%} (a chi-squared test over {self.cells} cells gives p = {self.p_value:.1g})"
            )
        return ""


def compared(sample: Sample, log_prob: LogProb, *, on_sphere: bool = False) -> Evidence:
    """Compare a density with draws.

    Args:
        sample: count -> (count, *Z).
        log_prob: (B, *Z) -> (B,) nats.
        on_sphere: codes lie on a sphere around the origin, and the density is with respect to its area.

    Raises:
        CheckFailure: the density is not finite at a draw, or a draw is not on the sphere.
        NotChecked: the codes have more continuous coordinates than are integrated over.
    """
    first, second = sample(DRAWS).flatten(1), sample(DRAWS)
    shape, flat = tuple(second.shape[1:]), second.flatten(1)
    if not_finite := float((~_in_chunks(log_prob, second).isfinite()).double().mean()):
        raise CheckFailure(f"log_prob is not finite for {not_finite:.2%} of its own draws")
    space = _Sphere(first) if on_sphere else _Flat(first)

    def density(z: Tensor) -> Tensor:
        return _in_chunks(log_prob, z.reshape(-1, *shape).to(second.dtype)).double().exp()

    cells = list(space.cells(first))
    keys, coordinates = space.coordinates(flat)
    counts = torch.stack([cell.holds(keys, coordinates).sum() for cell in cells]).double()
    share = float(counts.sum()) / DRAWS
    masses = _integrals(cells, density, share)
    return Evidence(float(masses.sum()), share, _p_value(masses, counts), len(cells))


def _integrals(cells: Sequence[_Cell], density: Callable[[Tensor], Tensor], share: float) -> Tensor:
    """(cells,) the integral of the density over each of the cells, which hold a share of the draws.

    Raises:
        NotChecked: they go on changing with the number of points.
    """
    before: Tensor | None = None
    for points in POINTS[len(cells[0].nodes)]:
        masses = torch.tensor([cell.mass(density, points) for cell in cells], dtype=torch.float64)
        if before is None and not cells[0].nodes:
            return masses  # nothing to integrate over
        if before is not None and (_settled(before, masses, share) or _far_beyond_one(before, masses)):
            return masses
        before = masses
    raise NotChecked("its density varies too quickly to be integrated over cells")


def _settled(before: Tensor, after: Tensor, share: float) -> bool:
    errors = (after.clamp(min=LEAST_EXPECTED / DRAWS) / DRAWS).sqrt()
    error = math.sqrt(max(share * (1 - share), LEAST_EXPECTED / DRAWS) / DRAWS)
    together = float((before.sum() - after.sum()).abs()) <= SETTLED * error
    return together and bool(((before - after).abs() <= SETTLED * errors).all())


def _far_beyond_one(before: Tensor, after: Tensor) -> bool:
    """Whether the cells hold more than everything, by far more than the integrals still change."""
    excess = float(torch.minimum(before.sum(), after.sum())) - 1
    return excess > 0.1 and float((before.sum() - after.sum()).abs()) < 0.1 * excess


def _p_value(masses: Tensor, counts: Tensor) -> float:
    """Of Pearson's test over the cells and the rest, and of the rest by itself where little is expected there: a bound.

    The smaller of the two, doubled: a correct density gives a value below p with a probability of at most p.
    """
    from scipy.stats import chi2, poisson

    large = masses * DRAWS >= LEAST_EXPECTED
    expected, observed = (masses[large] * DRAWS).tolist(), counts[large].tolist()
    rest_expected, rest_observed = max(0.0, DRAWS - sum(expected)), DRAWS - sum(observed)
    lowest = 1.0
    if rest_expected >= LEAST_EXPECTED:
        expected, observed = [*expected, rest_expected], [*observed, rest_observed]
    elif rest_observed > 0:  # with room for the error of integration
        lowest = 2 * float(poisson.sf(rest_observed - 1, rest_expected + 1e-3 * DRAWS))
    if len(expected) < 2:
        return lowest
    statistic = sum((found - due) ** 2 / due for found, due in zip(observed, expected, strict=True))
    return min(lowest, 2 * float(chi2.sf(statistic, len(expected) - 1)))


@dataclass(frozen=True)
class _Cell:
    """A value for each discrete coordinate, and an interval for each continuous one.

    Args:
        key: stands for the values of the discrete coordinates.
        nodes: for each continuous coordinate, where its interval begins, is divided, and ends.
        embed: (n, continuous coordinates) -> (n, D) codes with these discrete values.
        area: of the code space for one unit of volume of the coordinates.
    """

    key: Tensor
    nodes: tuple[Tensor, ...]
    embed: Callable[[Tensor], Tensor]
    area: float = 1.0

    def mass(self, density: Callable[[Tensor], Tensor], points: int) -> float:
        """The integral of a density, by the midpoint rule with so many points in each piece of an interval."""
        if not self.nodes:
            return float(density(self.embed(torch.zeros(1, 0, dtype=torch.float64))).sum())
        shares = (torch.arange(points, dtype=torch.float64) + 0.5) / points
        axes = [(nodes[:-1, None] + nodes.diff()[:, None] * shares).flatten() for nodes in self.nodes]
        widths = [(nodes.diff() / points).repeat_interleave(points) for nodes in self.nodes]
        at = torch.cartesian_prod(*axes).reshape(-1, len(axes))
        weights = torch.cartesian_prod(*widths).reshape(-1, len(axes)).prod(1)
        return float((density(self.embed(at)) * weights).sum()) * self.area

    def holds(self, keys: Tensor, coordinates: Tensor) -> Tensor:
        """(B,) whether codes are in the cell, by (B,) keys and (B, continuous coordinates)."""
        found = keys == self.key
        for column, nodes in zip(coordinates.T, self.nodes, strict=True):
            found &= (column >= nodes[0]) & (column < nodes[-1])
        return found


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

    def cells(self, draws: Tensor) -> Iterator[_Cell]:
        """Cells between quantiles of the draws, for each combination of discrete values."""
        values = draws[:, self.discrete]
        keys, first, counts = _distinct(self.coordinates(draws)[0])
        most = counts.argsort(descending=True, stable=True)[:MOST_PATTERNS]
        boxes = _boxes([draws[:, axis] for axis in self.continuous])
        for number, box in itertools.product(most.tolist(), boxes):
            yield _Cell(keys[number], box, self._embedding(values[first[number]]))

    def coordinates(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) keys, a number for each combination of discrete values, and the continuous coordinates."""
        generator = torch.Generator().manual_seed(0)
        weights = torch.rand(len(self.discrete), dtype=torch.float64, generator=generator)
        return (draws[:, self.discrete].double() * weights).sum(1), draws[:, self.continuous]

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

    def cells(self, draws: Tensor) -> Iterator[_Cell]:
        """Cells between quantiles of the coordinates."""
        for box in _boxes(list(self.coordinates(draws)[1].T)):
            yield _Cell(torch.zeros(()), box, self._embed, self.radius)

    def coordinates(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) zeros, and the angle, with the height if there are three coordinates."""
        if not ((draws.double().norm(dim=1) - self.radius).abs() <= 1e-4 * self.radius).all():
            raise CheckFailure("its support is a sphere, and its draws differ in length")
        angle = torch.atan2(draws[:, 1], draws[:, 0])
        return torch.zeros(len(draws)), torch.column_stack([angle, draws[:, 2:]])

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
            f"densities are integrated in up to three dimensions, and its smallest codes have {count}"
        )


def _distinct(keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct values of (B,) keys, where each stands first, and how often it is there."""
    distinct, inverse, counts = keys.unique(return_inverse=True, return_counts=True)
    first = torch.full((len(distinct),), len(keys)).scatter_reduce_(
        0, inverse, torch.arange(len(keys)), "amin"
    )
    return distinct, first, counts


def _boxes(columns: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    """All combinations of intervals between quantiles of each coordinate, divided where further quantiles are.

    About as many draws are in each interval; one in a hundred lies beyond either end of all of them.
    """
    cells, pieces = CELLS[len(columns)], PIECES[len(columns)]
    shares = torch.linspace(0.01, 0.99, cells * pieces + 1, dtype=torch.float64)
    nodes = [column.double().quantile(shares) for column in columns]
    each = [[n[k * pieces : (k + 1) * pieces + 1] for k in range(cells)] for n in nodes]
    return list(itertools.product(*each))


def _in_chunks(log_prob: LogProb, z: Tensor) -> Tensor:
    return torch.cat([log_prob(part).detach() for part in z.split(CHUNK)])
