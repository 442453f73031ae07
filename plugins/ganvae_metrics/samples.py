"""Metrics of samples against held-out rows, in the features of a named net."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal, final

import torch
from torch import Tensor

import ganvae_core as gv
from ganvae_metrics import distances
from ganvae_metrics.nets import features, net_of

Net = Literal["pixels", "judge", "efficientnet-lite0", "inception"]
NEEDS = frozenset(("prior",))
ROWS_A_NEIGHBOUR = 10
"""Rows for each neighbour that a ball reaches to: with fewer a ball holds more than a tenth of the data."""
FEWEST = 20
"""Rows of either kind that any figure needs: of four, chance decides whether real rows or their mean are nearer."""
PAIRS = 50
"""Rows of either kind from which on a share of them has a standard error of 5 % or less."""
FOR_A_PERCENT = 100
"""Rows of which one is the first percent."""
CHEAP: Net = "pixels"
"""The net in which distances of a few hundred rows are taken in a moment, while training."""


class InFeatures(gv.Metric, abc.ABC):
    """A metric of samples against held-out rows, whose figures are named by the net that its features are of.

    Args:
        data: that is measured; None where it is not known yet.
        net: pixels (their principal components), judge (a small classifier of the data's own labels),
            efficientnet-lite0, or inception (the environment variable GANVAE_INCEPTION has its weights' path).
    """

    needs = NEEDS
    stems: Sequence[gv.Figure]
    """The figures, without the net in their names and labels."""
    is_quick = False
    """Whether it takes a moment in the net ``CHEAP``, so that it may be measured while training."""

    def __init__(self, data: gv.DataSpec | None = None, *, net: Net = "pixels") -> None:
        self.net: Net = net
        self.cheap = self.is_quick and net == CHEAP
        # Data other than images has values in place of pixels.
        words = "values" if net == "pixels" and data is not None and data.modality != "image" else net
        suffix = net.replace("-", "_")
        self.figures = tuple(
            replace(each, name=f"{each.name}_{suffix}", label=f"{each.label}, {words}") for each in self.stems
        )


def _compared(subject: gv.Subject, net: Net, fewest: int = FEWEST) -> tuple[Tensor, Tensor]:
    """Features (N, F) of held-out rows, and (M, F) of samples.

    Raises:
        NotApplicable: one of them has fewer rows than ``fewest``.
    """
    real = features(subject, subject.held_out(subject.sample_count), net)
    made = features(subject, subject.samples(subject.sample_count), net)
    for rows, what in ((real, "held-out rows"), (made, "samples")):
        if len(rows) < fewest:
            raise gv.NotApplicable(f"{fewest} {what} are needed, and {len(rows)} are compared")
    return real, made


def _reach(subject: gv.Subject, net: Net, real: Tensor, nearest: int) -> Tensor:
    """(N,) the distance of each held-out row to its ``nearest``-th other one, computed once for all samples."""
    return subject.once(("reach", net, len(real), nearest), lambda: distances.reach_of(real, nearest))


@final
class FrechetDistance(InFeatures):
    """The squared Fréchet distance of samples to held-out rows (Heusel et al. 2017, over features of the named net).

    It compares means and covariances alone, and is biased upwards by few rows: compare figures of equal counts and of
    one net. With fewer rows than features the covariances are singular, and the figure says little.
    """

    stems = (gv.Figure("fd", "FD", "", "lower"),)
    is_quick = True

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``fd_NET``."""
        found = distances.frechet_distance(*_compared(subject, self.net))
        return {self.figures[0].name: found}


@final
class KernelDistance(InFeatures):
    """The squared maximum mean discrepancy of samples to held-out rows (Bińkowski et al. 2018), times 1,000.

    Unlike Fréchet's it is unbiased, so it may be compared across counts; about zero, and negative at times, where both
    are of one distribution. ``NAME_error`` is its standard error.
    """

    # It is not quick: of a few hundred rows its errors are as large as the differences of good models.
    stems = (gv.Figure("kd", "KD × 1000", "", "lower"),)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``kd_NET`` and ``kd_NET_error``."""
        real, made = _compared(subject, self.net)
        own = subject.once(("own kernel", self.net), lambda: distances.own_kernel(real))
        found, name = distances.kernel_distance(real, made, own), self.figures[0].name
        error = {} if math.isnan(found.error) else {f"{name}_error": 1000 * found.error}
        return {name: 1000 * found.value, **error}


@final
class Manifolds(InFeatures):
    """Precision, recall, density and coverage of samples against held-out rows, in the features of the named net.

    Precision and recall are Kynkäänniemi et al.'s (2019), density and coverage Naeem et al.'s (2020). Recall rewards a
    manifold of samples that is too wide, and precision rewards samples at the modes: prefer density and coverage.
    Samples of the data's own distribution have a density of 1 and, for k = 5, a coverage of about 0.97.

    It needs 10 k held-out rows and samples. A ball holds k of the N - 1 other rows; where that is more than a tenth of
    the data, they fill the space between the rows, and noise or the mean of the data lies in them as well as a good
    sample does.

    Args:
        nearest: k, the neighbour that a row's ball reaches to.
    """

    stems = tuple(
        gv.Figure(name, name, "", "higher") for name in ("precision", "recall", "density", "coverage")
    )

    def __init__(self, data: gv.DataSpec | None = None, *, net: Net = "pixels", nearest: int = 5) -> None:
        super().__init__(data, net=net)
        gv.in_range(least=1, nearest=nearest)
        self.nearest = nearest

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """The four figures."""
        real, made = _compared(subject, self.net, ROWS_A_NEIGHBOUR * self.nearest)
        reach = _reach(subject, self.net, real, self.nearest)
        found = distances.manifolds(real, made, self.nearest, reach)
        return {figure.name: value for figure, value in zip(self.figures, found, strict=True)}


@final
class SlicedWasserstein(InFeatures):
    """The sliced 2-Wasserstein distance of samples to held-out rows, not squared (Bonneel et al. 2015).

    It sees all moments of projections, and is biased upwards by few rows. Of unequal numbers the first of the larger
    one are taken.

    Args:
        directions: random projections.
    """

    stems = (gv.Figure("sw", "sliced Wasserstein", "", "lower"),)
    is_quick = True

    def __init__(
        self, data: gv.DataSpec | None = None, *, net: Net = "pixels", directions: int = 512
    ) -> None:
        super().__init__(data, net=net)
        gv.in_range(least=1, directions=directions)
        self.directions = directions

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``sw_NET``."""
        real, made = _compared(subject, self.net)
        return {self.figures[0].name: distances.sliced_wasserstein(real, made, self.directions) ** 0.5}


@final
class TwoSample(InFeatures):
    """How often the nearest other row of a sample or held-out row is of its own kind (Lopez-Paz and Oquab 2017).

    50 % where samples are like data, 100 % where they are apart, and less than 50 % where they are copies of
    the data. It sees single defects that means and covariances miss, and soon reaches 100 %. Noise that surrounds the
    data has 50 % too, since the nearest rows of all are data: look at that floor. Of unequal numbers the first of the
    larger one are taken. It needs 50 held-out rows and samples, with which its standard error is 5 %.
    """

    stems = (gv.Figure("nn", "1-NN two-sample (50 ideal)", "%", "lower"),)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``nn_NET`` in percent."""
        real, made = _compared(subject, self.net, PAIRS)
        count = min(len(real), len(made))
        real = real[:count]
        accuracy = distances.two_sample_accuracy(real, made[:count], _reach(subject, self.net, real, 1))
        return {self.figures[0].name: 100 * accuracy}


@final
class DifferentBins(InFeatures):
    """Share of clusters of the training rows that samples fill otherwise than held-out rows do (NDB / K).

    Richardson and Weiss 2018. About 5 % for samples of the data's own distribution. Few rows make it insensitive: a bin
    differs from 4 rows against none on. It needs as many held-out rows and samples as there are bins.

    Args:
        bins: K, clusters of k-means.
    """

    def __init__(self, data: gv.DataSpec | None = None, *, net: Net = "pixels", bins: int = 100) -> None:
        gv.in_range(least=2, bins=bins)
        self.bins = bins
        self.stems = (gv.Figure("ndb", f"NDB of {bins}", "%", "lower"),)
        super().__init__(data, net=net)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``ndb_NET`` in percent."""
        known = features(subject, subject.training(20_000), self.net)
        if len(known) < 2 * self.bins:
            raise gv.NotApplicable(
                f"{self.bins} bins need {2 * self.bins} training rows, and there are {len(known)}"
            )
        real, made = _compared(subject, self.net, self.bins)
        return {self.figures[0].name: 100 * distances.different_bins(real, made, known, self.bins)}


@final
class Diversity(InFeatures):
    """The mean distance of two samples over that of two held-out rows: 1 where samples are as diverse as the data.

    A model that repeats itself is far below 1. Noise is above 1, so read it with a distance.
    """

    stems = (gv.Figure("diversity", "diversity", "", "higher"),)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``diversity_NET``."""
        real, made = _compared(subject, self.net)
        return {self.figures[0].name: distances.mean_distance(made) / distances.mean_distance(real)}


@final
class Memorisation(InFeatures):
    """Whether samples are copies of training rows: how near their nearest training row is.

    ``distance_to_record`` is the median distance of samples to their closest training row over that of held-out rows:
    1 for samples of the data's own distribution, near 0 for copies. ``copies`` is the share of near copies: samples
    that are nearer to a training row than all but 1 % of the held-out rows are to theirs. It is about 1 % where nothing
    is copied. Of fewer than 100 held-out rows there is no nearest percent.

    A near copy need not equal the training row: ``ganvae sample`` counts rows of tables that do. Samples that are all
    alike, such as blurs near the mean of the data, may be near a training row without being copies: the references say
    so, where the mean or a Gaussian has a large share, too. The ceiling is held-out rows in place of samples.

    Args:
        rows: training rows that are compared with, at most, evenly spread. A copy of a row that is left out is missed.
    """

    ceiling = "held-out"  # training rows are their own closest ones
    stems = (
        gv.Figure("distance_to_record", "distance to record", "", "higher"),
        gv.Figure("copies", "near copies (1 expected)", "%", "lower"),
    )

    def __init__(self, data: gv.DataSpec | None = None, *, net: Net = "pixels", rows: int = 50_000) -> None:
        super().__init__(data, net=net)
        gv.in_range(least=1, rows=rows)
        self.rows = rows

    def features(self, subject: gv.Subject) -> Callable[[Tensor], Tensor]:
        """(B, *X) -> (B, F) what distances are taken in, for whatever else compares rows.

        Raises:
            ConfigurationError: there is no such net.
            NotApplicable: it cannot be had for this data.
        """
        return net_of(subject, self.net).features

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """Both figures.

        Raises:
            NotApplicable: there are too few held-out rows or samples.
        """
        known = features(subject, subject.training(self.rows), self.net)
        real, made = (
            distances.nearest_distances(rows, known) for rows in _compared(subject, self.net, FOR_A_PERCENT)
        )
        usual, closest = float(real.median()), float(real.quantile(0.01))
        copies = 100 * float((made < closest).double().mean())
        ratio, share = (figure.name for figure in self.figures)
        # Where held-out rows are training rows too, as in a table of few values, no distance is unusual.
        return {share: copies} | ({ratio: float(made.median()) / usual} if usual else {})


@final
class Modes(gv.Metric):
    """Modes that samples reach, and the share of samples near one, where the source names its modes (Lin et al. 2018).

    A sample is of high quality within 3 standard deviations of its nearest mode; a mode counts from one such sample on.

    Args:
        samples: that are drawn.
    """

    needs = NEEDS
    cheap = False
    figures = (
        gv.Figure("modes", "modes", "", "higher"),
        gv.Figure("high_quality", "high quality", "%", "higher"),
        gv.Figure("mode_kl", "KL of modes to uniform", "nats", "lower"),
    )

    def __init__(self, *, samples: int = 2_500) -> None:
        gv.in_range(least=1, samples=samples)
        self.samples = samples

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """The three figures."""
        known = subject.source_spec.details.get("modes")
        if not known:
            raise gv.NotApplicable("the source does not name its modes")
        centres = torch.tensor(known["centres"], dtype=torch.float64)  # (M, D)
        points = torch.cat([batch.x.flatten(1).double().cpu() for batch in subject.samples(self.samples)])
        return distances.mode_coverage(points, centres, known["deviation"])


@final
class JudgeAccuracy(gv.Metric):
    """How often the judge, whose features other metrics are taken in, finds the class of a held-out row.

    The judge is a small classifier of the data's own labels. One that is hardly better than chance has features that
    say little.
    """

    needs = frozenset(("labels",))
    cheap = False
    has_references = False
    figures = (gv.Figure("accuracy_of_judge", "accuracy of the judge", "%", "higher"),)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``accuracy_of_judge`` in percent."""
        found = net_of(subject, "judge").accuracy
        assert found is not None
        return {"accuracy_of_judge": 100 * found}

    def classifier(self, subject: gv.Subject) -> Callable[[Tensor], Tensor]:
        """(B, *X) -> (B,) the class numbers that the judge finds, for whatever else sorts samples.

        Raises:
            NotApplicable: the data has no labels.
        """
        found = net_of(subject, "judge").classify
        assert found is not None
        return found


@final
class AsAsked(gv.Metric):
    """Share of samples in which a judge finds the class that they were made for.

    The judge is a small classifier of the data's own labels. Its accuracy (``judge``) bounds the figure.

    Args:
        samples: that are drawn.
    """

    needs = NEEDS
    cheap = False
    figures = (gv.Figure("as_asked", "classes as asked", "%", "higher"),)

    def __init__(self, *, samples: int = 2_000) -> None:
        gv.in_range(least=1, samples=samples)
        self.samples = samples

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``as_asked`` in percent."""
        if subject.spec.condition is None or not subject.spec.classes:
            raise gv.NotApplicable("the model is not given classes")
        net = net_of(subject, "judge")
        assert net.classify is not None
        right = rows = 0
        for batch in subject.samples(self.samples):
            wanted = subject.labels(batch)
            if wanted is None:
                raise gv.NotApplicable("these samples were made for no class")
            right += int((net.classify(batch.x) == wanted.cpu()).sum())
            rows += len(batch.x)
        return {"as_asked": 100 * right / rows}
