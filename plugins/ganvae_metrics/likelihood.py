"""Metrics of likelihoods and latent codes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor

import ganvae_core as gv

ACTIVE_VARIANCE = 0.01
MOST_INTEGRATIONS = 5_000
"""Most evaluations of a density that costs an integration each: a minute or so on a CPU."""
VALUES_AT_ONCE = 2**19
"""Of x, that a generator makes at once: its layers may be a hundred times as large, gigabytes with more."""


@final
class ImportanceBound(gv.Metric):
    """The importance-weighted bound of log p(x) of held-out rows (Burda et al. 2016), tighter with more draws.

    It stays a lower bound: models whose posterior is far from the true one look worse than they are.
    ``NAME_error`` is the standard error over rows. Of a prior whose density costs an integration (``latent-flow``) it
    is not given for more than 5,000 draws in all.

    Args:
        draws: k, of the posterior for each row.
        rows: held-out rows that are measured at most, evenly spread.
    """

    needs = frozenset(("posterior", "likelihood", "prior"))
    cheap = False

    def __init__(self, *, draws: int = 100, rows: int = 500) -> None:
        gv.in_range(least=1, draws=draws, rows=rows)
        self.draws, self.rows = draws, rows
        self.figures = (
            gv.Figure(f"iw{draws}_nats", f"log p(x), {draws} draws", "nats", "higher"),
            gv.Figure(
                f"iw{draws}_bits",
                f"bits per dimension, {draws} draws",
                "bits",
                "lower",
                only_for="observations of levels, like discretised-logistic",
            ),
        )

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """The bound in nats, summed over the event; in bits per entry of x where the observation is a distribution of
        levels, as of 8-bit images."""
        found: list[Tensor] = []
        batches = list(subject.held_out(self.rows))
        integrations = self.draws * sum(len(batch.x) for batch in batches)
        if isinstance(subject.model.prior, gv.MatchedPrior) and integrations > MOST_INTEGRATIONS:
            raise gv.NotApplicable(
                f"the prior's density costs an integration, and {integrations:,} take many minutes:"
                " ask for fewer, like {name: importance-bound, draws: 10, rows: 100}"
            )
        for batch in batches:
            rows_at_once = VALUES_AT_ONCE // math.prod(subject.spec.shape)
            found.append(
                subject.model.log_likelihood_bound(
                    batch.x, batch.condition, mask=batch.mask, samples=self.draws, rows_at_once=rows_at_once
                ).double().cpu()
            )  # fmt: skip
        if not found:
            raise gv.NotApplicable("no rows are held out")
        bound = torch.cat(found)
        nats, bits = (figure.name for figure in self.figures)
        values = {nats: float(bound.mean())}
        if len(bound) > 1:
            values[f"{nats}_error"] = float(bound.std()) / len(bound) ** 0.5
        if subject.model.observation.has_levels:
            values[bits] = -values[nats] / (math.prod(subject.spec.shape) * math.log(2))
        return values


@final
class LatentUse(gv.Metric):
    """How much of the latent code is used: active units, and the KL divergence in all and a dimension.

    A unit is active where the variance of its posterior mean over rows is more than 0.01 (Burda et al. 2016). Few
    active units say that the posterior has collapsed, or that the code is larger than the data needs.

    Args:
        rows: held-out rows that are measured at most, evenly spread.
    """

    needs = frozenset(("posterior", "prior"))
    cheap = False
    figures = (
        gv.Figure("active_units", "active units", "", "higher"),
        gv.Figure("active_share", "active units, share", "%", "higher"),
        gv.Figure("kl_nats", "KL", "nats", "lower"),
        gv.Figure("kl_of_a_dimension", "KL a dimension", "nats", "lower"),
    )

    def __init__(self, *, rows: int = 2_000) -> None:
        gv.in_range(least=2, rows=rows)
        self.rows = rows

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """The four figures."""
        means: list[Tensor] = []
        total = 0.0
        for batch in subject.held_out(self.rows):
            posterior = subject.model.encode(batch.x, batch.condition)
            means.append(posterior.mean.flatten(1).double().cpu())
            total += float(gv.kl(posterior, subject.model.prior, condition=batch.condition).double().sum())
        codes = torch.cat(means)
        if len(codes) < 2:
            raise gv.NotApplicable("fewer than two rows are held out")
        active = int((codes.var(0) > ACTIVE_VARIANCE).sum())
        nats = total / len(codes)
        values = (active, 100 * active / codes.shape[1], nats, nats / codes.shape[1])
        return {figure.name: float(value) for figure, value in zip(self.figures, values, strict=True)}


@final
class AggregatePosterior(gv.Metric):
    """How far the codes of the data are from the prior: the squared maximum mean discrepancy, times 1,000.

    Draws of the posterior of held-out rows against draws of the prior, with the inverse multiquadric kernel of
    Tolstikhin et al. (2018), whose width is the median distance. About zero where samples come from where the
    decoder was trained.

    Args:
        rows: held-out rows that are measured at most, evenly spread.
    """

    needs = frozenset(("encoder", "prior"))
    cheap = False
    figures = (gv.Figure("aggregate_mmd", "codes to prior, MMD × 1000", "", "lower"),)

    def __init__(self, *, rows: int = 1_000) -> None:
        gv.in_range(least=2, rows=rows)
        self.rows = rows

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        """``aggregate_mmd``."""
        codes: list[Tensor] = []
        drawn: list[Tensor] = []
        for batch in subject.held_out(self.rows):
            codes.append(subject.model.encode(batch.x, batch.condition).rsample().flatten(1).cpu())
            drawn.append(subject.model.prior.sample(len(batch.x), batch.condition).flatten(1).cpu())
        first, second = torch.cat(codes).float(), torch.cat(drawn).float()
        if len(first) < 2:
            raise gv.NotApplicable("fewer than two rows are held out")
        width = float(torch.pdist(second[:500]).median()) or 1.0
        found = gv.divergences.maximum_mean_discrepancy(first, second, kernel="imq", bandwidths=[width])
        return {"aggregate_mmd": 1000 * float(found)}
