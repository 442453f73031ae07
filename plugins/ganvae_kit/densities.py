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

from ganvae_kit.checks import NotChecked

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
    """Compare a density with draws.

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
    counts = torch.stack([space.inside(cell, flat).sum() for cell in cells]).double()
    share = float(counts.sum()) / DRAWS
    masses = _integrals(cells, density, share)
    return Evidence(0.0, float(masses.sum()), share, _p_value(masses, counts), len(cells))


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

    def holds(self, coordinates: Tensor) -> Tensor:
        """(B,) whether continuous coordinates (B, continuous coordinates) lie within the intervals."""
        found = torch.ones(len(coordinates), dtype=torch.bool)
        for column, nodes in zip(coordinates.T, self.nodes, strict=True):
            found &= (column >= nodes[0]) & (column < nodes[-1])
        return found


class _Flat:
    """Codes as they are, some coordinates discrete and some continuous."""

    def __init__(self, draws: Tensor) -> None:
        self._keyed: tuple[Tensor, Tensor] | None = None
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
        values = draws[:, self.discrete]
        keys, first, counts = _distinct(self._keys(draws))
        most = counts.argsort(descending=True, stable=True)[:MOST_PATTERNS]
        boxes = _boxes([draws[:, axis] for axis in self.continuous])
        for number, box in itertools.product(most.tolist(), boxes):
            yield _Cell(keys[number], box, self._embedding(values[first[number]]))

    def inside(self, cell: _Cell, draws: Tensor) -> Tensor:
        """(B,) whether each draw falls into a cell."""
        return (self._keys(draws) == cell.key) & cell.holds(draws[:, self.continuous])

    def _keys(self, draws: Tensor) -> Tensor:
        """(B,) a number for the discrete values of each draw: the same for the same values, and else another."""
        if self._keyed is None or self._keyed[0] is not draws:
            weights = torch.rand(
                len(self.discrete), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
            )
            self._keyed = (draws, (draws[:, self.discrete].double() * weights).sum(1))
        return self._keyed[1]

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
        for box in _boxes(list(self._coordinates(draws).T)):
            yield _Cell(torch.zeros(()), box, self._embed, self.radius)

    def inside(self, cell: _Cell, draws: Tensor) -> Tensor:
        """(B,) whether each draw falls into a cell."""
        return cell.holds(self._coordinates(draws))

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
