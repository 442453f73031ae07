"""Metrics of codes: what they say of labels and of known factors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import final

import numpy as np
import torch
from torch import Tensor

import ganvae_core as gv


@final
class Probe(gv.Metric):
    """What codes say of labels: a linear classifier's accuracy, that of the nearest neighbours, and k-means' clusters.

    Codes are the means of the posterior. Classifiers learn from training rows and are measured on held-out ones. NMI
    and ARI compare k-means' clusters of the held-out codes, as many as there are classes, with the classes; they do not
    depend on how clusters are numbered.

    Args:
        rows: training rows that are learned from at most, evenly spread.
        nearest: neighbours that vote.
    """

    needs = frozenset(("labels", "encoder"))
    cheap = False

    def __init__(self, *, rows: int = 5_000, nearest: int = 5) -> None:
        gv.in_range(least=1, rows=rows, nearest=nearest)
        self.rows, self.nearest = rows, nearest
        self.figures = (
            gv.Figure("linear_probe", "linear probe", "%", "higher"),
            gv.Figure("neighbours", f"{nearest}-NN accuracy", "%", "higher"),
            gv.Figure("nmi", "NMI of k-means", "", "higher"),
            gv.Figure("ari", "ARI of k-means", "", "higher"),
        )

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """The four figures."""
        from sklearn.cluster import KMeans
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        known, known_labels = _coded(subject, subject.training(self.rows))
        codes, labels = _coded(subject, subject.held_out(self.rows))
        if len(np.unique(known_labels)) < 2 or len(codes) < 2:
            raise gv.NotApplicable("it needs rows of two classes, and held-out rows")
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(known, known_labels)
        nearest = KNeighborsClassifier(min(self.nearest, len(known)), algorithm="brute").fit(
            known, known_labels
        )
        clusters = KMeans(min(len(np.unique(labels)), len(codes)), n_init=3, random_state=0).fit_predict(  # pyright: ignore
            codes
        )
        return {
            "linear_probe": 100 * float(linear.score(codes, labels)),
            "neighbours": 100 * float(nearest.score(codes, labels)),
            "nmi": float(normalized_mutual_info_score(labels, clusters)),
            "ari": float(adjusted_rand_score(labels, clusters)),
        }


@final
class OwnClasses(gv.Metric):
    """Whether the components of a mixture as the prior are the data's classes: NMI and ARI of held-out rows.

    A row's component is the one that is most probable given the mean of its posterior. The figures do not depend on how
    components are numbered.

    Args:
        rows: held-out rows at most, evenly spread.
    """

    needs = frozenset(("labels", "encoder", "prior"))
    cheap = False
    has_references = False
    figures = (
        gv.Figure("own_nmi", "NMI of the prior's components", "", "higher"),
        gv.Figure("own_ari", "ARI of the prior's components", "", "higher"),
    )

    def __init__(self, *, rows: int = 5_000) -> None:
        gv.in_range(least=2, rows=rows)
        self.rows = rows

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """The two figures."""
        from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

        prior = subject.model.prior
        if not isinstance(prior, gv.MixturePrior):
            raise gv.NotApplicable("the prior is not a mixture")
        found: list[Tensor] = []
        labels: list[Tensor] = []
        for batch in subject.held_out(self.rows):
            given = subject.labels(batch)
            assert given is not None, "the metric needs labels"
            found.append(prior.joint_log_prob(subject.codes(batch)).argmax(1))
            labels.append(given)
        own, true = torch.cat(found).cpu().numpy(), torch.cat(labels).cpu().numpy()
        return {
            "own_nmi": float(normalized_mutual_info_score(true, own)),
            "own_ari": float(adjusted_rand_score(true, own)),
        }


@final
class Disentanglement(gv.Metric):
    """Whether each dimension of a code stands for one factor, where the data is a grid of factors.

    ``DataSpec.details["factors"]`` has the number of values of each factor by name; the last one varies fastest.

    - ``mig``: the gap of mutual information between the two dimensions with most information on a factor, over
      the factor's entropy, averaged over factors (Chen et al. 2018); codes in 20 bins, as Locatello et al. (2019)
      take them.
    - ``sap``: the gap in explained variance (numbers) or accuracy (classes) between the two best dimensions
      (Kumar et al. 2018), here of squared correlations.
    - ``factor_vae``: accuracy of a majority vote that finds the factor that was fixed from the dimension that varies
      least (Kim and Mnih 2018).
    - ``dci``: disentanglement by the importances of gradient-boosted trees (Eastwood and Williams 2018).

    The four disagree often; report a spread over seeds.

    Args:
        rows: training rows that are encoded at most, evenly spread.
        votes: groups of rows of the FactorVAE score.
    """

    needs = frozenset(("encoder",))
    cheap = False
    figures = (
        gv.Figure("mig", "MIG", "", "higher"),
        gv.Figure("sap", "SAP", "", "higher"),
        gv.Figure("factor_vae", "FactorVAE score", "", "higher"),
        gv.Figure("dci", "DCI disentanglement", "", "higher"),
    )

    def __init__(self, *, rows: int = 10_000, votes: int = 800) -> None:
        gv.in_range(least=2, rows=rows, votes=votes)
        self.rows, self.votes = rows, votes

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """The four figures."""
        sizes = subject.source_spec.details.get("factors")
        if not sizes:
            raise gv.NotApplicable("the source does not name its factors")
        batches = list(subject.training(self.rows))
        codes = torch.cat([subject.codes(batch).flatten(1).double().cpu() for batch in batches]).numpy()
        rows = torch.cat([batch.index for batch in batches]).cpu().numpy()
        factors = np.stack(np.unravel_index(rows, tuple(sizes.values())), axis=1)
        varying = [column for column in factors.T if len(np.unique(column)) > 1]
        if len(varying) < 2 or codes.shape[1] < 2:
            raise gv.NotApplicable("it needs two factors that vary, and codes of two dimensions or more")
        classes = np.stack([np.unique(column, return_inverse=True)[1] for column in varying], axis=1)
        return {
            "mig": mutual_information_gap(codes, classes),
            "sap": separated_predictability(codes, classes),
            "factor_vae": factor_vae_score(codes, classes, self.votes, np.random.default_rng(0)),
            "dci": dci_disentanglement(codes, classes),
        }


def mutual_information_gap(codes: np.ndarray, factors: np.ndarray, bins: int = 20) -> float:
    """MIG of codes (N, D) for factors (N, K), class numbers; codes in bins of equal width."""
    from sklearn.metrics import mutual_info_score

    binned = [np.digitize(column, np.histogram(column, bins)[1][:-1]) for column in codes.T]
    gaps: list[float] = []
    for factor in factors.T:
        known = sorted((float(mutual_info_score(column, factor)) for column in binned), reverse=True)
        gaps.append((known[0] - known[1]) / float(mutual_info_score(factor, factor)))
    return float(np.mean(gaps))


def separated_predictability(codes: np.ndarray, factors: np.ndarray) -> float:
    """SAP of codes (N, D) for factors (N, K), by squared correlations of each dimension with each factor."""
    centred, wanted = codes - codes.mean(0), factors - factors.mean(0)
    scale = np.sqrt(np.outer(np.square(centred).sum(0), np.square(wanted).sum(0)))
    scores = np.square(np.divide(centred.T @ wanted, scale, out=np.zeros_like(scale), where=scale > 0))
    best = np.sort(scores, axis=0)
    return float((best[-1] - best[-2]).mean())


def factor_vae_score(
    codes: np.ndarray, factors: np.ndarray, votes: int, generator: np.random.Generator, group: int = 64
) -> float:
    """Accuracy of the majority vote of Kim and Mnih (2018) on as many new groups as it is made from.

    Args:
        codes: (N, D); dimensions that hardly vary are left out.
        factors: (N, K) class numbers.
        votes: groups of rows that share the value of one factor, for the vote and for its test each.
        generator: of the groups.
        group: rows of each.
    """
    deviation = codes.std(0)
    active = deviation > 0.05 * deviation.max()
    if not active.any():
        return 0.0
    scaled = codes[:, active] / deviation[active]

    def drawn() -> Iterator[tuple[int, int]]:
        for _ in range(votes):
            factor = int(generator.integers(factors.shape[1]))
            value = factors[generator.integers(len(factors)), factor]
            rows = np.flatnonzero(factors[:, factor] == value)
            chosen = generator.choice(rows, min(group, len(rows)))
            yield int(scaled[chosen].var(0).argmin()), factor

    counts = np.zeros((scaled.shape[1], factors.shape[1]))
    for dimension, factor in drawn():
        counts[dimension, factor] += 1
    guess = counts.argmax(1)
    return float(np.mean([guess[dimension] == factor for dimension, factor in drawn()]))


def dci_disentanglement(codes: np.ndarray, factors: np.ndarray, rows: int = 2_000) -> float:
    """DCI's disentanglement of codes (N, D) for factors (N, K): one minus the entropy of what a dimension is used for.

    Dimensions count by how much they are used. Importances are those of gradient-boosted trees, as Locatello et al.
    (2019) take them.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    chosen = np.linspace(0, len(codes) - 1, min(rows, len(codes))).round().astype(int)
    trees = [GradientBoostingClassifier(n_estimators=10, random_state=0).fit(codes[chosen], factor[chosen])
             for factor in factors.T]  # fmt: skip
    importance = np.stack([tree.feature_importances_ for tree in trees], axis=1)
    total = importance.sum(1)
    shares = np.divide(importance, total[:, None], out=np.zeros_like(importance), where=total[:, None] > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    entropy = -(shares * logs).sum(1) / np.log(factors.shape[1])
    return float(((1 - entropy) * total / total.sum()).sum())


def _coded(subject: gv.Subject, batches: Iterable[gv.Batch]) -> tuple[np.ndarray, np.ndarray]:
    """Codes (N, D) and class numbers (N,)."""
    codes: list[Tensor] = []
    labels: list[Tensor] = []
    for batch in batches:
        found = subject.labels(batch)
        assert found is not None
        codes.append(subject.codes(batch).flatten(1).double().cpu())
        labels.append(found.cpu())
    return torch.cat(codes).numpy(), torch.cat(labels).numpy()
