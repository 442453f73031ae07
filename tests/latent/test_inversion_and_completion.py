"""Codes that are found by optimisation, and entries that are filled in."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow.csv
import pytest
import torch
from command_line import Say, size_of, train
from PIL import Image
from torch import Tensor

import ganvae_core as gv
from ganvae_core.distributions import DiagonalNormal
from ganvae_core.latent import complete, invert

DATA = gv.DataSpec((2,), None)


class Loadings(gv.Generator):
    """x = (z, 2 z): a factor model with known conditionals."""

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.cat([z[:, :1], 2 * z[:, :1]], 1)


class Exact(gv.Encoder):
    """p(z|x) of the factor model with noise of deviation 1."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal:
        mean = (x[:, :1] + 2 * x[:, 1:]) / 6
        return DiagonalNormal(mean, torch.full_like(mean, -math.log(6)))


class Loose(gv.Encoder):
    """A posterior that is too wide and displaced, as an encoder's is."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal:
        mean = (x[:, :1] + 2 * x[:, 1:]) / 6 + 0.2
        return DiagonalNormal(mean, torch.full_like(mean, -math.log(3)))


def test_a_code_is_found_again_and_stays_in_the_support_of_its_prior() -> None:
    torch.manual_seed(0)
    generator = gv.MLPGenerator([4], (6,), hidden=(16,)).eval().requires_grad_(False)
    spec = gv.DataSpec((6,), None)
    for prior in (gv.StandardNormal([4]), gv.Uniform([4]), gv.Hypersphere([4])):
        model = gv.Model(generator, prior, gv.Point(spec)).eval()
        x = model.sample(3)
        found = invert(model, x, starts=4, steps=150, prior_weight=1e-4)
        assert (found.error < 0.02).all(), type(prior).__name__
        torch.testing.assert_close(model(found.z), found.x)
        if prior.support != "real":
            assert prior.log_prob(found.z).isfinite().all()
    parts = gv.Composite([5], parts=[gv.StandardNormal([2]), gv.Categorical([3])])
    model = gv.Model(gv.MLPGenerator([5], (6,), hidden=(16,)), parts, gv.Point(spec)).eval()
    found = invert(model.requires_grad_(False), model.sample(2).detach(), starts=6, steps=20)
    assert parts.log_prob(found.z).isfinite().all()  # classes stay one-hot
    with pytest.raises(gv.ConfigurationError, match="a start where there is no encoder"):
        invert(model, x, starts=0)


def test_a_density_that_costs_an_integration_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(gv.LatentFlow, "log_prob", never)
    prior = gv.LatentFlow([2], width=4, layers=1, steps=2)
    model = gv.Model(gv.MLPGenerator([2], (3,), hidden=(4,)), prior, gv.Point(gv.DataSpec((3,), None))).eval()
    model.requires_grad_(False)
    assert invert(model, model(torch.zeros(1, 2)), starts=2, steps=2).error.isfinite().all()


def test_what_is_hidden_has_no_part_in_the_error() -> None:
    model = gv.Model(Loadings(), gv.StandardNormal([1]), gv.Point(DATA)).eval()
    x = torch.tensor([[1.5, 99.0]])
    mask = torch.tensor([[True, False]])
    found = invert(model, x, mask=mask, steps=100)
    assert found.error.item() < 0.05
    assert found.x[0, 1].item() == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("encoder", [Exact(), Loose()], ids=["exact", "loose"])
def test_chains_end_in_the_models_own_conditional_distribution(encoder: gv.Encoder) -> None:
    """For x₁ = 3, z has the mean 1.5 and the variance 1/2, so x₂ has the mean 3 and the variance 4/2 + 1."""
    model = gv.Model(Loadings(), gv.StandardNormal([1]), gv.Gaussian(DATA), encoder).eval()
    torch.manual_seed(0)
    x, mask = torch.tensor([[3.0, 0.0]]), torch.tensor([[True, False]])
    made = complete(model, x, mask, draws=4000, steps=60, method="conditional", noise=True).x[:, 0]
    assert (made[:, 0] == 3).all()
    assert made[:, 1].mean().item() == pytest.approx(3.0, abs=0.15)
    assert made[:, 1].var().item() == pytest.approx(3.0, abs=0.35)


class Chained(gv.SequentialData):
    """x₁ around z, and x₂ around x₁, with noise of deviation 1."""

    def __init__(self, location: Tensor) -> None:
        self.location = location

    @property
    def mean(self) -> Tensor:
        return self.location.expand(-1, 2)

    def sample(self) -> Tensor:
        return self.filled(self.mean, torch.zeros_like(self.mean, dtype=torch.bool))

    def filled(self, x: Tensor, mask: Tensor) -> Tensor:
        first = torch.where(mask[:, :1], x[:, :1], self.location + torch.randn_like(self.location))
        return torch.cat([first, torch.where(mask[:, 1:], x[:, 1:], first + torch.randn_like(first))], 1)

    def log_prob(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        terms = torch.cat([x[..., :1] - self.location, x[..., 1:] - x[..., :1]], -1).square() / -2
        return gv.sum_event(terms, 1, mask)


class Follows(gv.Observation):
    def raw_shape(self, data: gv.DataSpec) -> tuple[int, ...]:
        return (1,)

    def forward(self, raw: Tensor) -> Chained:
        return Chained(raw)


class First(gv.Generator):
    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return z


class OfFirst(gv.Encoder):
    """p(z|x) of a chain z, x₁, x₂."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal:
        return DiagonalNormal(x[:, :1] / 2, torch.full_like(x[:, :1], -math.log(2)))


def test_entries_before_observed_ones_are_drawn_given_these() -> None:
    """For x₂ = 3, x₁ has the mean 2 and the variance 2/3; without x₂ these were 0 and 2."""
    model = gv.Model(First(), gv.StandardNormal([1]), Follows(), OfFirst()).eval()
    torch.manual_seed(0)
    x, mask = torch.tensor([[0.0, 3.0]]), torch.tensor([[False, True]])
    made = complete(model, x, mask, draws=4000, steps=60, noise=True).x[:, 0]
    assert (made[:, 1] == 3).all()
    assert made[:, 0].mean().item() == pytest.approx(2.0, abs=0.08)
    assert made[:, 0].var().item() == pytest.approx(2 / 3, abs=0.1)


def test_exact_conditionals_are_those_of_the_joint_normal_distribution() -> None:
    """x = W z + b + noise is N(b, W Wᵀ + 0.09 I), whose conditionals are known."""
    torch.manual_seed(0)
    spec = gv.DataSpec((5,), None)
    generator = gv.MLPGenerator([2], (5,), hidden=()).requires_grad_(False)
    model = gv.Model(generator, gv.StandardNormal([2]), gv.Gaussian(spec, scale=0.3)).eval()
    x, seen, hidden = model.sample(1, noise=True), [0, 2, 3], [1, 4]
    mask = torch.tensor([[True, False, True, True, False]])
    made = complete(model, x, mask, draws=20_000, noise=True).x[:, 0, hidden]
    weights, offset = generator.head.weight, generator.head.bias
    covariance = weights @ weights.T + 0.09 * torch.eye(5)
    gain = covariance[hidden][:, seen] @ covariance[seen][:, seen].inverse()
    mean = offset[hidden] + gain @ (x[0] - offset)[seen]
    spread = covariance[hidden][:, hidden] - gain @ covariance[seen][:, hidden]
    torch.testing.assert_close(made.mean(0), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(made.T), spread, atol=0.02, rtol=0)
    pair = complete(model, x.repeat(2, 1), torch.stack([mask[0], ~mask[0]]), draws=20_000).x
    alone = complete(model, x, ~mask, draws=20_000).x
    torch.testing.assert_close(pair[:, 0].mean(0)[hidden], mean, atol=0.02, rtol=0)
    torch.testing.assert_close(pair[:, 1].mean(0), alone[:, 0].mean(0), atol=0.02, rtol=0)


def test_exact_conditionals_of_a_mixture_agree_with_integration() -> None:
    torch.manual_seed(0)
    prior = gv.GaussianMixture([1], components=2)
    prior.weights.copy_(torch.tensor([0.3, 0.7]))
    prior.means.copy_(torch.tensor([[-1.5], [1.0]]))
    prior.scale_trils.copy_(torch.tensor([[[0.5]], [[0.8]]]))
    prior.is_fitted.fill_(True)
    model = gv.Model(Loadings(), prior, gv.Gaussian(DATA)).eval()
    x, mask = torch.tensor([[-0.4, 0.0]]), torch.tensor([[True, False]])
    made = complete(model, x, mask, draws=20_000, method="exact").x[:, 0, 1]
    z = torch.linspace(-6, 6, 4001)[:, None]
    density = (prior.log_prob(z) - 0.5 * (z[:, 0] + 0.4).square()).softmax(0)
    mean = (density * 2 * z[:, 0]).sum()
    torch.testing.assert_close(made.mean(), mean, atol=0.04, rtol=0)
    torch.testing.assert_close(made.var(), (density * (2 * z[:, 0] - mean).square()).sum(), atol=0.1, rtol=0)
    curved = gv.Model(
        gv.MLPGenerator([1], (2,), hidden=(4,)), gv.StandardNormal([1]), gv.Gaussian(DATA)
    ).eval()
    with pytest.raises(gv.ConfigurationError, match="linear function of codes"):
        complete(curved, x, mask, method="exact")


def test_any_model_completes_by_optimisation_and_wrong_masks_are_refused() -> None:
    model = gv.Model(Loadings(), gv.StandardNormal([1]), gv.Point(DATA)).eval()
    x, mask = torch.tensor([[2.0, 0.0]]), torch.tensor([[True, False]])
    made = complete(model, x, mask, draws=2, steps=80).x
    assert made.shape == (2, 1, 2)
    torch.testing.assert_close(made[:, 0, 1], torch.full((2,), 4.0), atol=0.1, rtol=0)
    with pytest.raises(gv.ConfigurationError, match="the mask has shape"):
        complete(model, x, mask[:, :1])
    with pytest.raises(gv.ConfigurationError, match="posterior has a density"):
        complete(model, x, mask, method="conditional")


def test_columns_of_a_table_are_hidden_whole_and_categories_spread_as_shares() -> None:
    from ganvae_latent.judging import spread_of
    from ganvae_latent.masks import read_mask

    from ganvae_core.views.table import TableView

    fields = (gv.Field("a"), gv.Field("b", "category", 1, 3, categories=("x", "y", "z")))
    spec = gv.DataSpec((4,), None, fields=fields)
    visible = read_mask("random:0.5", spec, TableView(), 50, 0)
    assert (visible[:, 1:] == visible[:, 1:2]).all()
    assert (visible[:, 0] != visible[:, 1]).any()
    draws = np.array([[[1.0, 0.0]], [[3.0, 0.0]], [[math.nan, 1.0]]])
    np.testing.assert_allclose(spread_of(draws, spec), [[math.sqrt(2), 1 / 3]])


def test_draws_cover_numbers_and_categories_as_often_as_they_should() -> None:
    from ganvae_latent.judging import Entries, centre_of, covered, errors, expected_cover, nearest_rows

    random = np.random.default_rng(0)
    entries = Entries(np.array([0, 4]), np.array([2.0, 1.0]))
    # Numbers of N(0, 4); categories 0 to 3 with the shares .5, .3, .15 and .05, of which the first three have .95.
    drawn = [
        random.normal(0, 2, (41, 3000)),
        random.choice(4, (41, 3000), p=[0.5, 0.3, 0.15, 0.05]).astype(float),
    ]
    rows, truth = np.stack([each[1:] for each in drawn], 2), np.stack([each[0] for each in drawn], 1)
    hidden = np.ones_like(truth, bool)
    numbers, categories = covered(rows, truth, hidden, entries)
    assert numbers == pytest.approx(expected_cover(40), abs=0.02)
    assert categories == pytest.approx(0.95, abs=0.02)
    narrow, _ = covered(rows / [4, 1], truth, hidden, entries)
    assert narrow < 0.5
    # Errors by the scale 2: N(0, 1) around the mean 0; the most frequent category is right in half of the rows.
    error, wrong = errors(centre_of(rows, entries), truth, hidden, entries)
    assert error == pytest.approx(1.0, abs=0.05)
    assert wrong == pytest.approx(0.5, abs=0.05)
    training = np.array([[0.0, 1.0]] * 5 + [[10.0, 3.0]] * 5)
    found = nearest_rows(training, np.array([[9.0, np.nan], [np.nan, 1.0]]), entries)
    np.testing.assert_array_equal(found, [[9.0, 3.0], [0.0, 1.0]])


def test_the_verbs_write_codes_pictures_and_tables(runs: Path, tmp_path: Path, say: Say) -> None:
    output = tmp_path / "out.png"
    outcome = say("invert", runs / "gan", "--samples", "-n", "4", "--steps", "20", "-o", output)
    assert outcome.code == 0, outcome.err
    assert "PSNR" in outcome.err
    asked = ("invert", runs / "gan", "--samples", "-n", "2", "--steps", "8", "--feature-weight", "1")
    plain = say(*asked[:-2], "-o", tmp_path / "plain.npz")
    assert (plain.code, say(*asked, "-o", tmp_path / "featured.npz").code) == (0, 0)
    with np.load(tmp_path / "plain.npz") as one, np.load(tmp_path / "featured.npz") as other:
        assert not np.array_equal(one["codes"], other["codes"])
    refused = say("invert", runs / "vae", "--rows", "1", "--feature-weight", "1", "-o", tmp_path / "x.npz")
    assert refused.code == 2
    assert "no critic" in refused.err
    codes = tmp_path / "codes.npz"
    assert say("invert", runs / "vae", "--rows", "1,2,3", "--steps", "5", "-o", codes).code == 0
    with np.load(codes) as arrays:
        assert arrays["codes"].shape == (3, 2)
    asked = ("complete", runs / "vae", "-n", "2", "--draws", "3", "--steps", "4")
    outcome = say(*asked, "--mask", "box:0,4,8,4", "-o", output)
    assert outcome.code == 0, outcome.err
    assert "five nearest training rows" in outcome.out
    many = ("--draws", "20", "--mask", "box:0,4,8,4", "-o", tmp_path / "many.npz")
    covering = say("complete", runs / "vae", "-n", "2", "--steps", "4", *many)
    assert "of draws covers" in covering.err  # though the picture has means
    assert size_of(output) == (6 * 58 - 2, 16 + 2 * 58 - 2)  # row, visible, three draws, their mean
    Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    assert say(*asked, "--mask", tmp_path / "mask.png", "-o", output).code == 0
    filled = tmp_path / "filled.csv"
    outcome = say("complete", runs / "table", "--rows", "0,1,2", "--mask", "columns:height", "-o", filled)
    assert outcome.code == 0, outcome.err
    assert "covers" in outcome.err
    made = pyarrow.csv.read_csv(filled).to_pydict()
    given = pyarrow.csv.read_csv(runs / "table.csv").slice(0, 3).to_pydict()
    assert made["weight"] == given["weight"]
    assert made["spread_height"] != [0, 0, 0]
    assert made["spread_weight"] == [0, 0, 0]
    # Beyond all training rows; of the rows of a file the first ones are taken.
    (tmp_path / "rare.csv").write_text("height,weight,legs\n1.7,123456.789,2\n1.8,6,2\n")
    asked = ("-n", "1", "--mask", "columns:height", "--draws", "3", "--steps", "4", "-o", filled)
    assert say("complete", runs / "table", tmp_path / "rare.csv", *asked).code == 0
    made = pyarrow.csv.read_csv(filled)
    assert made["weight"].to_pylist() == [123456.789]
    assert made["row"].to_pylist() == [0]


def test_rows_in_other_units_are_completed_in_those_of_the_run(tmp_path: Path, say: Say) -> None:
    """Masks of 0 and 1 and those of 0 and 255 are bytes alike, and mean the same."""
    ones = (np.random.default_rng(0).random((40, 1, 8, 8)) < 0.5).astype(np.uint8)
    np.save(tmp_path / "ones.npy", ones)
    np.save(tmp_path / "white.npy", ones[:2] * 255)
    run, output = (
        train(tmp_path / "run", "--plugin", "vae", "--data", tmp_path / "ones.npy"),
        tmp_path / "out.npz",
    )
    asked = ("complete", run, tmp_path / "white.npy", "--draws", "1", "--steps", "2", "-o", output)
    outcome = say(*asked, "--mask", "box:0,4,8,4")
    assert outcome.code == 0, outcome.err
    with np.load(output) as arrays:
        np.testing.assert_array_equal(arrays["completions"][[1, 4], 0, :4], ones[:2, 0, :4])


def test_spreads_have_the_decimals_of_their_column_and_days_or_hours() -> None:
    from ganvae_latent.judging import columns_of_spread

    fields = (
        gv.Field("price", step=0.01),
        gv.Field("mass"),
        gv.Field("day", "date", step=86_400.0),
        gv.Field("when", "date", step=60.0),
        gv.Field("kind", "category", categories=("a", "b")),
    )
    spread = np.array([[1.23456789, 1234.5678, 130_000.0, 5_400.1234, 1 / 3]])
    found = columns_of_spread(spread, gv.DataSpec((5,), None, fields=fields))
    assert {name: values.tolist() for name, values in found.items()} == {
        "spread_price": [1.235],
        "spread_mass": [1235],
        "spread_in_days_day": [1.5],
        "spread_in_hours_when": [1.5],
        "spread_kind": [0.3333],
    }


def test_hidden_pixels_are_striped_in_pictures_alone(runs: Path, tmp_path: Path, say: Say) -> None:
    asked = ("complete", runs / "vae", "-n", "1", "--draws", "1", "--steps", "2", "--mask", "box:0,4,8,4")
    assert say(*asked, "-o", tmp_path / "out.png").code == 0
    tile = np.asarray(Image.open(tmp_path / "out.png"))[16:, 58 : 58 + 56][::7, ::7]  # of what is visible
    assert set(np.unique(tile[4:])) == {76, 140}
    assert say(*asked, "-o", tmp_path / "out.npz").code == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert arrays["versions"].tolist() == ["row", "visible", "1"]
        assert not arrays["completions"][1, 0, 4:].any()
        np.testing.assert_array_equal(*arrays["completions"][:2, 0, :4])


def test_missing_cells_of_a_table_are_filled_in_by_default(runs: Path, tmp_path: Path, say: Say) -> None:
    names, *lines = (runs / "table.csv").read_text().splitlines()
    cells = [line.split(",") for line in lines]
    for number in range(0, len(cells), 3):
        cells[number][number % 2 * 2] = ""  # height, or legs
        cells[number][3] = ""
    data = tmp_path / "gaps.csv"
    data.write_text("\n".join([names, *map(",".join, cells)]) + "\n")
    train(tmp_path / "run", "--plugin", "vae", "--data", data, "generator.hidden=[4]", "encoder.hidden=[4]")
    filled = tmp_path / "filled.csv"
    outcome = say("complete", tmp_path / "run", "--draws", "20", "--steps", "4", "-o", filled)
    assert outcome.code == 0, outcome.err
    assert "left missing" not in outcome.err
    made = pyarrow.csv.read_csv(filled).to_pydict()
    assert made["row"]
    for at, row in enumerate(made["row"]):
        assert row % 3 == 0
        assert made["size"][at] in ("small", "large")
        assert made["height"][at] > 0
        assert cells[row][0] in ("", f"{made['height'][at]:.3f}")
        assert cells[row][1] == f"{made['weight'][at]:.1f}"


@pytest.mark.parametrize(
    ("run", "mask", "message"),
    [
        ("vae", "box:0,4,9,4", "not within images of 8 × 8"),
        ("vae", "box:0,4", "4 whole numbers"),
        ("vae", "random:1.5", "between 0 and 1"),
        ("vae", "columns:a", "no column 'a'"),
        ("vae", "half", "neither a mask nor a file"),
        ("table", "columns:hight", "Did you mean 'height'?"),
        ("table", "columns:height,weight,legs", "all of a row is hidden"),
        ("table", "box:0,0,1,1", "for images"),
        ("table", "span:0,1", "of series, texts and sounds"),
    ],
)
def test_wrong_masks_are_refused(
    run: str, mask: str, message: str, runs: Path, tmp_path: Path, say: Say
) -> None:
    outcome = say("complete", runs / run, "--mask", mask, "-o", tmp_path / "out.npz")
    assert outcome.code == 2
    assert message in outcome.err


def test_a_mask_of_another_size_and_rows_without_holes_are_refused(
    runs: Path, tmp_path: Path, say: Say
) -> None:
    Image.fromarray(np.eye(9, dtype=np.uint8) * 255).save(tmp_path / "mask.png")
    outcome = say("complete", runs / "vae", "--mask", tmp_path / "mask.png", "-o", tmp_path / "out.npz")
    assert outcome.code == 2
    assert "9 × 9" in outcome.err
    assert "nothing is missing" in say("complete", runs / "table", "-o", tmp_path / "out.npz").err
