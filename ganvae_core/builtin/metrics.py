"""Metrics for models of any kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.builtin.option_checks import in_range
from ganvae_core.errors import NotApplicable
from ganvae_core.interfaces import MatchedPrior, Need
from ganvae_core.training import Metric, Subject
from ganvae_core.types import Batch, Figure

Compared = Literal["codes", "x"]
Distance = Literal["euclidean", "cosine"]
ROWS_A_NEIGHBOUR = 10
"""Rows for each neighbour that a ball reaches to: with fewer a ball holds more than a tenth of the data."""


@final
class Elbo(Metric):
    """The evidence lower bound of held-out rows (Kingma and Welling 2013), one draw of z a row.

    The KL divergence is in closed form where there is one.

    Args:
        rows: held-out rows that are measured at most, evenly spread.

    Raises:
        ConfigurationError: ``rows`` is not positive.
    """

    needs = frozenset[Need](("posterior", "likelihood", "prior"))
    figures = (Figure("elbo_nats", "ELBO", "nats", "higher"),)

    def __init__(self, *, rows: int = 2_000) -> None:
        in_range("elbo: ", least=1, rows=rows)
        self.rows = rows

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """``elbo_nats``: averaged over rows.

        Raises:
            NotApplicable: the density of the prior costs an integration for each row (``MatchedPrior``).
        """
        if isinstance(subject.model.prior, MatchedPrior):
            raise NotApplicable(
                "the prior's density costs an integration for each row; measure it on a few rows:  "
                "ganvae evaluate RUN --metrics '{name: importance-bound, draws: 1, rows: 100}'"
            )
        bounds = (
            subject.model.log_likelihood_bound(batch.x, batch.condition, mask=batch.mask)
            for batch in subject.held_out(self.rows)
        )
        return {"elbo_nats": _mean(bounds)}


@final
class Reconstruction(Metric):
    """The squared error of reconstructing held-out rows.

    Args:
        rows: held-out rows that are measured at most, evenly spread.

    Raises:
        ConfigurationError: ``rows`` is not positive.
    """

    needs = frozenset[Need](("encoder",))
    figures = (Figure("squared_error", "squared error", "a row", "lower"),)

    def __init__(self, *, rows: int = 2_000) -> None:
        in_range("reconstruction: ", least=1, rows=rows)
        self.rows = rows

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """``squared_error``: in the model's range, summed over the event's observed entries, averaged over rows."""

        def error(batch: Batch) -> Tensor:
            apart = (subject.reconstructions(batch) - batch.x).square()
            return (apart if batch.mask is None else apart * batch.mask).flatten(1).sum(1)

        return {"squared_error": _mean(error(batch) for batch in subject.held_out(self.rows))}


@final
class NearestNeighbour(Metric):
    """How often the nearest training row has a held-out row's label (Cover and Hart 1967).

    The labels need not be given to the model. Of codes it says how well they separate classes.

    Args:
        of: what is compared: codes (means of the posterior), or x itself.
        distance: ``euclidean``, or ``cosine``, under which the largest cosine of the angle is the nearest.
        known_rows: training rows that are compared with at most, evenly spread.
        rows: held-out rows that are measured at most, evenly spread.

    Raises:
        ConfigurationError: a number of rows is not positive.
    """

    def __init__(
        self,
        *,
        of: Compared = "codes",
        distance: Distance = "euclidean",
        known_rows: int = 10_000,
        rows: int = 2_000,
    ) -> None:
        self.of: Compared = of
        self.distance: Distance = distance
        in_range("nearest-neighbour: ", least=1, known_rows=known_rows, rows=rows)
        self.known_rows, self.rows = known_rows, rows
        self.needs = frozenset[Need](("labels", "encoder") if of == "codes" else ("labels",))
        self.figures = (Figure(f"{of}_neighbours", f"1-NN accuracy of {of}", "%", "higher"),)

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """``codes_neighbours`` or ``x_neighbours``: percent of the held-out rows."""
        known, known_labels = self._labelled(subject, subject.training(self.known_rows))
        rows, labels = self._labelled(subject, subject.held_out(self.rows))
        found = neighbour_accuracy(known, known_labels, rows, labels, self.distance)
        return {self.figures[0].name: found}

    def _labelled(self, subject: Subject, batches: Iterable[Batch]) -> tuple[np.ndarray, np.ndarray]:
        rows: list[Tensor] = []
        labels: list[Tensor] = []
        for batch in batches:
            found = subject.labels(batch)
            assert found is not None, "the metric needs labels"
            labels.append(found)
            rows.append(_compared(self.of, subject, batch))
        return torch.cat(rows).numpy(), torch.cat(labels).cpu().numpy()


@final
class Coverage(Metric):
    """How well samples cover held-out rows, and how close they are to them.

    Around each held-out row lies a ball that reaches to its k-th nearest held-out row. Coverage is the share of balls
    with a sample in them, and density the number of balls that a sample lies in, over k (Naeem et al. 2020). Precision
    is the share of samples in any ball; recall is the share of held-out rows in the balls around samples, of which
    there are as many (Kynkäänniemi et al. 2019). Samples from the data's own distribution have a density of 1 and,
    where k = 5, a coverage of about 0.97.

    It needs 10 k held-out rows. A ball holds k of the N - 1 other rows; where that is more than a tenth of the data,
    they fill the space between the rows, and noise or the mean of the data lies in them as well as a good sample does.

    Args:
        of: what is compared: x itself, or its codes (means of the posterior).
        nearest: k.
        rows: held-out rows that are compared at most, evenly spread; 10 k or more. Memory grows with their square.

    Raises:
        ConfigurationError: a number is too small.
    """

    cheap = False  # a few hundred rows give too rough a figure to choose a checkpoint by

    def __init__(self, *, of: Compared = "x", nearest: int = 5, rows: int = 2_000) -> None:
        self.of: Compared = of
        in_range("coverage: ", least=1, nearest=nearest)
        in_range("coverage: ", least=ROWS_A_NEIGHBOUR * nearest, rows=rows)
        self.nearest, self.rows = nearest, rows
        self.needs = frozenset[Need](("prior", "encoder") if of == "codes" else ("prior",))
        suffix, what = ("_of_codes", " of codes") if of == "codes" else ("", "")
        self.figures = tuple(
            Figure(f"{name}{suffix}", f"{name}{what}", "", "higher")
            for name in ("coverage", "density", "precision", "recall")
        )

    def measure(self, subject: Subject) -> Mapping[str, float]:
        """The four figures.

        Raises:
            NotApplicable: there are too few held-out rows.
        """
        real = self._all(subject, subject.held_out(self.rows))
        fewest = ROWS_A_NEIGHBOUR * self.nearest
        if len(real) < fewest:
            raise NotApplicable(f"{fewest} held-out rows are needed, and there are {len(real)}")
        made = self._all(subject, subject.samples(len(real)))
        found = coverage(real, made, self.nearest)
        return {figure.name: value for figure, value in zip(self.figures, found, strict=True)}

    def _all(self, subject: Subject, batches: Iterable[Batch]) -> Tensor:
        """(N, D). Of x, rows with missing values are left out: they have no distance to samples."""
        rows: list[Tensor] = []
        for batch in batches:
            row = _compared(self.of, subject, batch)
            mask = None if self.of == "codes" else batch.mask
            rows.append(row if mask is None else row[mask.flatten(1).all(1).cpu()])
        return torch.cat(rows)


def neighbour_accuracy(
    known: np.ndarray,
    known_labels: np.ndarray,
    rows: np.ndarray,
    labels: np.ndarray,
    distance: Distance = "euclidean",
) -> float:
    """Percent of rows (M, D) whose nearest known row (N, D) has their label.

    Args:
        known: (N, D).
        known_labels: (N,).
        rows: (M, D).
        labels: (M,).
        distance: as ``NearestNeighbour``'s.
    """
    from sklearn.neighbors import KNeighborsClassifier  # takes as long to import as all else that a run needs

    classifier = KNeighborsClassifier(1, metric=distance, algorithm="brute")
    classifier.fit(known, known_labels)
    return 100.0 * float(classifier.score(rows, labels))


def coverage(real: Tensor, made: Tensor, nearest: int) -> tuple[float, float, float, float]:
    """Coverage, density, precision and recall of made rows (M, D) against real rows (N, D); see ``Coverage``."""
    within_real, within_made = torch.cdist(real, real), torch.cdist(made, made)
    # A row is the nearest to itself.
    real_reach = within_real.kthvalue(nearest + 1, dim=1).values  # (N,)
    made_reach = within_made.kthvalue(nearest + 1, dim=1).values  # (M,)
    apart = torch.cdist(real, made)  # (N, M)
    inside = apart < real_reach[:, None]
    return (
        float(inside.any(1).double().mean()),
        float(inside.sum(0).double().mean() / nearest),
        float(inside.any(0).double().mean()),
        float((apart < made_reach).any(1).double().mean()),
    )


def _compared(of: Compared, subject: Subject, batch: Batch) -> Tensor:
    """(B, D) on the CPU."""
    return (subject.codes(batch) if of == "codes" else batch.x).flatten(1).float().cpu()


def _mean(values: Iterable[Tensor]) -> float:
    """The mean of per-row values that come in batches."""
    total, rows = 0.0, 0
    for value in values:
        total += float(value.double().sum())
        rows += len(value)
    return total / rows
