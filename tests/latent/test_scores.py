"""How unusual rows are: the function, and ``ganvae score``."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import torch
from command_line import Say, size_of, write_table
from torch import Tensor

import ganvae_core as gv
from ganvae_core.distributions import DiagonalNormal
from ganvae_core.latent import anomaly_scores, scorings_of

DATA = gv.DataSpec((2,), None)


class Loadings(gv.Generator):
    """x = (z, 2 z)."""

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.cat([z, 2 * z], 1)


class Exact(gv.Encoder):
    """p(z|x) of that with noise of deviation 1."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal:
        mean = (x[:, :1] + 2 * x[:, 1:]) / 6
        return DiagonalNormal(mean, torch.full_like(mean, -math.log(6)))


def test_the_score_by_likelihood_is_the_exact_one_of_a_factor_model() -> None:
    model = gv.Model(Loadings(), gv.StandardNormal([1]), gv.Gaussian(DATA, scale=1.0), Exact()).eval()
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, -3.0]])
    covariance = torch.tensor([[2.0, 2.0], [2.0, 5.0]])
    exact = torch.distributions.MultivariateNormal(torch.zeros(2), covariance).log_prob(x)
    torch.testing.assert_close(anomaly_scores(model, x, draws=3), -exact)
    assert scorings_of(model) == ["likelihood", "reconstruction", "inversion"]


def test_errors_are_over_what_was_observed() -> None:
    model = gv.Model(Loadings(), gv.StandardNormal([1]), gv.Gaussian(DATA, scale=1.0), Exact()).eval()
    x = torch.tensor([[1.2, 2.4]])
    made = model.reconstruct(x)
    mask = torch.tensor([[True, False]])
    whole = anomaly_scores(model, x, method="reconstruction")
    part = anomaly_scores(model, x, mask=mask, method="reconstruction")
    torch.testing.assert_close(whole, (made - x).square().mean(1))
    torch.testing.assert_close(part, (made - x).square()[:, 0])
    without = gv.Model(Loadings(), gv.StandardNormal([1]), gv.Point(DATA)).eval()
    assert scorings_of(without) == ["inversion"]
    torch.manual_seed(0)
    on, off = anomaly_scores(without, torch.tensor([[1.0, 2.0], [2.0, -1.0]]))
    assert on < 0.01 < 1 < off  # (2, -1) is at right angles to what this model makes
    with pytest.raises(gv.ConfigurationError, match="no scores by likelihood"):
        anomaly_scores(without, x, method="likelihood")


def test_rows_are_scored_beside_the_held_out_ones(runs: Path, tmp_path: Path, say: Say) -> None:
    outcome = say("score", runs / "vae", "-o", tmp_path / "scores.csv", "--draws", "2")
    assert outcome.code == 0, outcome.err
    assert "scored by likelihood (-log p(x), nats)" in outcome.err
    made = pyarrow.csv.read_csv(tmp_path / "scores.csv").to_pydict()
    assert [*made] == ["row", "score", "share", "held_out", "label"]
    scores, shares = np.array(made["score"]), np.array(made["share"])
    assert shares[scores.argmax()] == shares.min()
    assert outcome.out.splitlines()[1].split()[0] == str(scores.argmax())
    assert say("score", runs / "vae", "-o", tmp_path / "again.csv", "--draws", "2").code == 0
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "scores.csv").read_bytes()
    assert say("score", runs / "vae", "--method", "reconstruction", "-o", tmp_path / "rows.png").code == 0
    assert size_of(tmp_path / "rows.png")[0] == 8 * 58 - 2
    outcome = say("score", runs / "vae", "--draws", "2", "-n", "3", "-o", tmp_path / "few.csv")
    assert "score above all 3 held-out rows" in outcome.err
    assert "e+" not in outcome.out
    few = pyarrow.csv.read_csv(tmp_path / "few.csv").to_pydict()
    assert few["row"] == [0, 898, 1796]
    assert few["label"] == [made["label"][row] for row in few["row"]]


def test_other_rows_are_scored_against_those_of_the_run(runs: Path, tmp_path: Path, say: Say) -> None:
    odd = write_table(tmp_path / "odd.csv", extra="400.0,200000.0,5,large\n")
    outcome = say("score", runs / "mixed", "--data", odd, "data.label=size", "-o", tmp_path / "scores.csv")
    assert outcome.code == 0, outcome.err
    made = pyarrow.csv.read_csv(tmp_path / "scores.csv").to_pydict()
    assert int(np.argmax(made["score"])) == 40
    assert made["share"][40] == min(made["share"])
    assert re.search(r"\d\.\d % score above all 4 held-out rows", outcome.err)
    assert "high scores find label small with an area under the ROC curve of" in outcome.err
    refused = say("score", runs / "gan", "--method", "likelihood")
    assert refused.code == 2
    assert "it has scores by inversion" in refused.err


def test_scores_of_a_run_whose_own_data_is_not_at_hand_have_no_shares(tmp_path: Path, say: Say) -> None:
    rows = np.random.default_rng(0).normal(size=(40, 3))
    np.save(tmp_path / "rows.npy", rows)
    small = {"generator.hidden": [4], "encoder.hidden": [4], "latent.shape": [2], "engine.device": "cpu"}
    gv.train("vae", data=rows, steps=1, out=tmp_path / "run", overrides=small)
    words = ("--data", tmp_path / "rows.npy", "--draws", "2", "-o", tmp_path / "scores.csv")
    outcome = say("score", tmp_path / "run", *words)
    assert outcome.code == 0, outcome.err
    assert "was trained on data given from Python" in outcome.err
    assert "score above" not in outcome.err
    assert pyarrow.csv.read_csv(tmp_path / "scores.csv").column_names == ["row", "score"]
