"""Metrics: what they are given, what they measure, and how their results are used."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from command_line import Say
from toys import FromPhases, engine, images, model, regression, squared_error

import ganvae_core as gv
from ganvae_core.builtin.early_stopping import EarlyStopping
from ganvae_core.builtin.metrics import (
    Coverage,
    Elbo,
    NearestNeighbour,
    Reconstruction,
    coverage,
    neighbour_accuracy,
)
from ganvae_core.builtin.prior_likelihood import PriorLikelihood
from ganvae_core.cli.describe import results as in_words
from ganvae_core.data.randomness import mixed_seed
from ganvae_core.evaluation import subject as subjects
from ganvae_core.evaluation.measuring import MEASURING, evaluate
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.directory import RunDirectory
from ganvae_core.store.manifests import read_figures

CPU = torch.device("cpu")
X = np.random.default_rng(0).normal(size=(700, 3)).astype(np.float32)
SEEN = torch.from_numpy((X - X.mean(0)) / X.std(0))
"""``X`` as a model sees it."""
CLASSES = np.arange(700) % 3
SMALL: dict[str, Any] = {
    "generator.hidden": [4],
    "encoder.hidden": [4],
    "latent.shape": [2],
    "engine.batch_size": 16,
}


class Separation(gv.Metric):
    """A third party's: distances between the classes' mean codes, and of samples to the mean of the data."""

    needs = frozenset({"labels", "encoder", "prior"})
    figures = (
        gv.Figure("apart", "class distance", "nats"),
        gv.Figure("off", "offset of samples", better="lower"),
    )

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        codes, labels = [], []
        for batch in subject.held_out():
            assert batch.condition is None
            codes.append(subject.codes(batch))
            labels.append(subject.labels(batch))
        assert subject.source_spec.classes is not None
        assert subject.spec.condition is None
        every, classes = torch.cat(codes), torch.cat(labels)
        means = torch.stack(
            [every[classes == number].mean(0) for number in range(len(subject.source_spec.classes))]
        )
        samples = torch.cat([batch.x for batch in subject.samples(300)])
        return {"apart": float(torch.pdist(means).mean()), "off": float(samples.mean(0).norm())}


def labelled(held_out: float = 0.5) -> gv.Split:
    return gv.split(gv.as_source(X, CLASSES), held_out=held_out)


def test_a_metric_of_a_third_party_has_labels_that_the_model_is_not_given(tmp_path: Path) -> None:
    own = model()
    objective = FromPhases(own, lambda this: [gv.Phase("a", squared_error(this), trains=[this.model])])
    trained = engine(objective, data=labelled(), metrics=[Separation()], directory=tmp_path).fit()
    manifest = read_checkpoint(tmp_path / "checkpoints" / "step-000004").manifest
    assert manifest["results"] == trained.results
    assert trained.results.keys() == {"apart", "off"}
    assert (manifest["judged_by"], manifest["better"]) == ("apart", "higher")
    held_out = trained.data.held_out
    with torch.no_grad():
        codes = trained.model.encode(SEEN[held_out]).mean
    classes = torch.from_numpy(CLASSES[held_out])
    means = torch.stack([codes[classes == number].mean(0) for number in range(3)])
    assert trained.results["apart"] == pytest.approx(float(torch.pdist(means).mean()), rel=1e-4)


def test_batches_are_rows_as_the_model_takes_them() -> None:
    data = labelled()
    subject = gv.ModelSubject(model().eval(), data, rows_at_once=100)
    batches = list(subject.held_out())
    assert [len(batch.x) for batch in batches] == [100, 100, 100, 50]
    assert torch.cat([batch.index for batch in batches]).tolist() == data.held_out.tolist()
    torch.testing.assert_close(torch.cat([batch.x for batch in batches]), SEEN[data.held_out])
    few = torch.cat([batch.index for batch in subject.training(7)])
    assert len(few) == 7
    assert {few[0].item(), few[-1].item()} == {data.training[0], data.training[-1]}
    (alone,) = gv.batches(data, data.held_out[:5])
    torch.testing.assert_close(alone.x, SEEN[data.held_out[:5]])


def test_labels_of_a_batch_and_of_conditional_samples() -> None:
    data = gv.split(gv.as_source(X, CLASSES), conditional=True)
    own = gv.Model(
        gv.MLPGenerator([2], [3], [3], hidden=(4,)),
        gv.StandardNormal([2]),
        gv.Point(data.spec),
        conditions=torch.eye(3),
    ).eval()
    subject = gv.ModelSubject(own, data)
    (batch,) = subject.held_out()
    labels = subject.labels(batch)
    assert labels is not None
    assert labels.tolist() == CLASSES[data.held_out].tolist()
    (made,) = subject.samples(20)
    assert made.condition is not None
    wanted = subject.labels(made)
    assert wanted is not None
    assert torch.equal(torch.eye(3)[wanted], made.condition)
    assert gv.ModelSubject(own, gv.split(gv.as_source(X))).labels(batch) is None


def test_all_metrics_judge_the_same_samples_however_many_each_takes() -> None:
    subject = gv.ModelSubject(model().eval(), labelled(), seed=3)
    few, many = (torch.cat([batch.x for batch in subject.samples(count)]) for count in (300, 600))
    assert len(few) == 300
    assert torch.equal(few, many[:300])
    again = torch.cat([batch.x for batch in gv.ModelSubject(subject.model, labelled(), seed=3).samples(600)])
    assert torch.equal(again, many)
    other = torch.cat([batch.x for batch in gv.ModelSubject(subject.model, labelled(), seed=4).samples(600)])
    assert not torch.equal(other, many)


@pytest.mark.parametrize(("kept", "calls"), [(subjects.KEPT_BYTES, 2), (0, 6)])
def test_codes_are_computed_once_for_all_metrics_while_there_is_room(
    kept: int, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subjects, "KEPT_BYTES", kept)
    own, counted = model().eval(), []
    assert own.encoder is not None
    own.encoder.register_forward_hook(lambda *_: counted.append(1))
    subject = gv.ModelSubject(own, labelled())
    first, second = ([subject.codes(batch) for batch in subject.held_out()] for _ in range(2))
    assert torch.equal(torch.cat(first), torch.cat(second))
    [subject.reconstructions(batch) for batch in subject.held_out()]
    assert len(counted) == calls


def test_the_codes_of_a_changed_batch_are_its_own() -> None:
    subject = gv.ModelSubject(model().eval(), labelled())
    batch = next(subject.held_out())
    clean = subject.codes(batch)
    noisy = subject.codes(dataclasses.replace(batch, x=batch.x + 1))
    assert not torch.equal(clean, noisy)
    assert torch.equal(noisy, subject.model.encode(batch.x + 1).mean)


def test_the_bound_and_the_error_are_those_of_the_model(tmp_path: Path) -> None:
    run = gv.train("vae", data=images(), steps=2, overrides=SMALL, out=tmp_path / "run")
    data = gv.split(gv.as_source(images()), held_out=0.5)
    found = evaluate(run.model, data, [Elbo(), Reconstruction()], 5, CPU)
    (batch,) = gv.batches(data, data.held_out)
    with torch.no_grad():
        torch.manual_seed(mixed_seed(5, MEASURING))
        bound = run.model.log_likelihood_bound(batch.x).double().mean()
        error = (run.model.reconstruct(batch.x) - batch.x).square().flatten(1).sum(1).double().mean()
    assert found == {"elbo_nats": pytest.approx(float(bound)), "squared_error": pytest.approx(float(error))}
    few = evaluate(run.model, data, [Reconstruction(rows=1)], 5, CPU)["squared_error"]
    assert few == pytest.approx(
        float((run.model.reconstruct(batch.x[:1]) - batch.x[:1]).square().sum()), rel=1e-5
    )


def test_entries_that_were_not_observed_count_in_no_error() -> None:
    class Masked(gv.Subject):
        def held_out(self, most: int | None = None) -> Any:
            x = torch.tensor([[1.0, 0.0], [2.0, 3.0]])
            mask = torch.tensor([[True, False], [True, True]])
            yield gv.Batch(x, None, mask, torch.arange(2), 0)

        def reconstructions(self, batch: gv.Batch) -> torch.Tensor:
            return torch.full((2, 2), 4.0)

        training = samples = labels = codes = of_batch = once = None  # type: ignore[assignment]

    assert Reconstruction().measure(Masked()) == {"squared_error": (9 + 4 + 1) / 2}


class Slow(gv.Metric):
    """A metric that is too expensive for every checkpoint."""

    cheap = False
    figures = (gv.Figure("slow", "slow"),)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        return {"slow": 1.0}


def test_a_metric_that_is_not_cheap_is_measured_when_training_ends(tmp_path: Path) -> None:
    own = FromPhases(model(), lambda this: [gv.Phase("a", squared_error(this), trains=[this.model])])
    engine(own, checkpoint_every=2, metrics=[Slow(), Reconstruction()], directory=tmp_path).fit()
    first, last = (read_checkpoint(tmp_path / "checkpoints" / f"step-{step:06d}").manifest for step in (2, 4))
    assert set(first["results"]) == {"squared_error"}
    assert first["judged_by"] is None
    assert set(last["results"]) == {"squared_error", "slow"}
    assert last["judged_by"] == "slow"


def test_early_stopping_does_not_follow_a_metric_that_is_measured_at_the_end() -> None:
    with pytest.raises(gv.ConfigurationError, match="Slow, which is measured only after training"):
        engine(regression(), metrics=[Slow()], callbacks=[EarlyStopping()]).fit()


def test_early_stopping_does_not_follow_a_figure_that_cannot_be_had() -> None:
    own = model()
    own.prior = gv.LatentFlow([2], width=4, layers=1, steps=2)
    with pytest.raises(
        gv.ConfigurationError, match="follows ELBO, which is not available: the prior's density costs"
    ):
        engine(PriorLikelihood(own), metrics=[Elbo()], callbacks=[EarlyStopping()]).fit()


class Never(gv.Metric):
    """A figure that cannot be had."""

    def __init__(self, name: str) -> None:
        self.figures = (gv.Figure(name, name),)

    def measure(self, subject: gv.Subject) -> dict[str, float]:
        raise gv.NotApplicable("there is none")


def test_each_metric_that_is_left_out_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    engine(regression(), metrics=[Never("one"), Never("two")], evaluate_every=1).fit()
    said = ["the metric of one is left out: there is none", "the metric of two is left out: there is none"]
    assert [record.getMessage() for record in caplog.records if "left out" in record.getMessage()] == said


def test_a_metric_that_does_not_apply_is_left_out_and_said(tmp_path: Path) -> None:
    from ganvae_core.config.configuration import configure
    from ganvae_core.plugins import installed_plugins
    from ganvae_core.runs.preparation import prepare

    metrics = ["nearest-neighbour", "elbo", {"name": "coverage", "of": "codes"}, "coverage"]
    layer = {"metrics": metrics, "generator": {"hidden": [4]}}
    prepared = prepare(
        configure(installed_plugins(), "gan", None, [layer]), installed_plugins(), gv.as_source(images())
    )
    assert [type(metric) for metric in prepared.engine.metrics] == [Coverage]
    said = [note for note in prepared.notes if "not applicable" in note]
    assert said == [
        "the metric 'builtin/nearest-neighbour' is not applicable and is left out:"
        " this run has no encoder and no labels",
        "the metric 'builtin/elbo' is not applicable and is left out: this run has no likelihood and no posterior",
        "the metric 'builtin/coverage' is not applicable and is left out: this run has no encoder",
    ]


def test_an_objective_cannot_need_labels() -> None:
    own = regression()
    own.needs = frozenset({"labels"})  # type: ignore[misc]
    with pytest.raises(gv.ConfigurationError, match="has the unknown word 'labels'"):
        engine(own)


def test_labels_and_codes_by_name_from_a_recipe(tmp_path: Path) -> None:
    overrides = {**SMALL, "metrics": ["nearest-neighbour", "coverage"]}
    x = images(500)
    labels = np.arange(len(x)) % 2
    run = gv.train("vae", data=x, labels=labels, steps=2, overrides=overrides, out=tmp_path / "run")
    assert run.spec.condition is None
    assert run.results.keys() == {"codes_neighbours", "coverage", "density", "precision", "recall"}
    figures = read_figures(RunDirectory(run.path).newest_measured()["figures"])
    assert [figure.label for figure in figures][:2] == ["1-NN accuracy of codes", "coverage"]
    assert in_words(run.results, figures).startswith("1-NN accuracy of codes ")


def test_results_are_shown_with_labels_and_units_in_the_order_of_their_figures() -> None:
    values = {"b": -1.25, "a_c": 3.0, "x": 20.0}
    figures = [gv.Figure("x", "1-NN", "%"), gv.Figure("missing", "?"), gv.Figure("b", "ELBO", "nats")]
    assert in_words(values, figures) == "1-NN 20 % · ELBO −1.25 nats · a c 3"


@pytest.mark.parametrize("stored", [None, 3, "x", [1], {}, [None, "x"]])
def test_what_is_no_list_of_figures_is_none(stored: Any) -> None:
    assert read_figures(stored) == []


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_nearest_neighbour_of_separate_groups_has_their_label(
    distance: Literal["euclidean", "cosine"],
) -> None:
    generator = np.random.default_rng(0)
    corners, labels = 10 * np.eye(3), np.repeat(np.arange(3), 400)
    known, asked = (corners[labels] + generator.normal(size=(1_200, 3)) for _ in range(2))
    assert neighbour_accuracy(known, labels, asked, labels, distance) == 100


def test_the_nearest_by_angle_is_not_the_nearest_by_distance() -> None:
    known, labels = np.array([[10.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
    asked = np.array([[1.0, 0.5]])
    assert neighbour_accuracy(known, labels, asked, np.array([1]), "euclidean") == 100
    assert neighbour_accuracy(known, labels, asked, np.array([0]), "cosine") == 100


def test_neighbours_are_sought_among_training_rows() -> None:
    """Classes lie apart in x; among held-out rows alone the nearest row would be the row itself."""
    x = np.eye(3, dtype=np.float32)[CLASSES] * 10 + X
    data = gv.split(gv.as_source(x, CLASSES), held_out=0.5)
    subject = gv.ModelSubject(model().eval(), data)
    assert NearestNeighbour(of="x").measure(subject)["x_neighbours"] > 99
    shuffled = gv.split(gv.as_source(x, np.random.default_rng(1).permutation(CLASSES)), held_out=0.5)
    found = NearestNeighbour(of="x").measure(gv.ModelSubject(subject.model, shuffled))["x_neighbours"]
    assert found == pytest.approx(100 / 3, abs=13)  # five standard errors of 350 rows


def test_coverage_of_samples_from_the_datas_own_distribution() -> None:
    """The expectations of Naeem et al. (2020): a density of 1, and a coverage of 1 - (N-1)…(N-k)/(2N-1)…(2N-k)."""
    generator = torch.Generator().manual_seed(0)
    real, made = (torch.randn(2_000, 8, generator=generator) for _ in range(2))
    covered, density, precision, recall = coverage(real, made, 5)
    assert covered == pytest.approx(1 - 0.5**5, abs=0.03)
    assert density == pytest.approx(1, abs=0.1)
    assert precision == pytest.approx(recall, abs=0.03)


def test_samples_of_one_mode_of_two_cover_half_of_the_data() -> None:
    generator = torch.Generator().manual_seed(0)
    real, made = (torch.randn(1_000, 2, generator=generator) for _ in range(2))
    real[:500] += 100
    covered, _, precision, recall = coverage(real, made, 5)
    assert covered == pytest.approx(
        0.5, abs=0.02
    )  # twice as many samples for these rows: hardly any without one
    assert recall == pytest.approx(0.5, abs=0.02)
    assert precision > 0.95


def test_coverage_by_hand() -> None:
    """Radii of 1 and of 9 around 0 and 1 and around 10; a sample on a ball's edge lies outside."""
    real, made = torch.tensor([[0.0], [1.0], [10.0]]), torch.tensor([[0.5], [2.0], [40.0]])
    covered, density, precision, recall = coverage(real, made, 1)
    assert covered == pytest.approx(1)
    assert density == pytest.approx((2 + 1 + 0) / 3)
    assert precision == pytest.approx(2 / 3)
    assert recall == pytest.approx(1)


def test_few_held_out_rows_have_no_coverage_but_a_reason() -> None:
    own = model().eval()
    for few, nearest, fewest in ((1, 5, 50), (49, 5, 50), (29, 3, 30)):
        with pytest.raises(
            gv.NotApplicable, match=f"{fewest} held-out rows are needed, and there are {few}$"
        ):
            Coverage(nearest=nearest).measure(gv.ModelSubject(own, labelled(few / 700)))
    assert Coverage().measure(gv.ModelSubject(own, labelled(50 / 700))).keys() == {
        "coverage", "density", "precision", "recall"
    }  # fmt: skip


def test_a_figure_that_few_rows_do_not_give_is_a_gap_with_its_reason(tmp_path: Path, say: Say) -> None:
    own = {**SMALL, "metrics": ["coverage"], "data.held_out": 0.1}
    out = tmp_path / "run"
    run = gv.train("vae", data=images()[:40], steps=2, overrides=own, out=out)
    assert run.results == {}
    gaps = RunDirectory(out).newest_measured()["gaps"]
    assert gaps == dict.fromkeys(("coverage", "density", "precision", "recall"),
                                 "50 held-out rows are needed, and there are 4")  # fmt: skip
    assert "coverage n/a · density n/a · precision n/a · recall n/a" in say("runs", tmp_path).out
    shown = say("show", out).out
    assert "coverage n/a · density n/a" in shown
    assert "coverage, density, precision, recall: 50 held-out rows are needed, and there are 4" in shown


@pytest.mark.parametrize(
    "make", [lambda: Elbo(rows=0), lambda: NearestNeighbour(known_rows=0), lambda: Coverage(nearest=0),
             lambda: Coverage(rows=1)]
)  # fmt: skip
def test_options_out_of_their_range_are_refused(make: Any) -> None:
    with pytest.raises(gv.ConfigurationError, match="is not possible"):
        make()


@pytest.mark.parametrize(("shown", "drawn"), [("draw", True), ("mean", False)])
@pytest.mark.parametrize("by", ["observation", "model"])
def test_samples_are_draws_or_means_as_the_observation_or_else_the_model_says(
    shown: Any, drawn: bool, by: str
) -> None:
    made_by = model()
    own = gv.Model(made_by.generator, made_by.prior, made_by.observation,
                   shown="mean" if by == "observation" else shown).eval()  # fmt: skip
    own.observation.shown = shown if by == "observation" else None
    made = torch.cat([batch.x for batch in gv.ModelSubject(own, labelled()).samples(400)])
    own.observation.shown = "mean"
    means = torch.cat([batch.x for batch in gv.ModelSubject(own, labelled()).samples(400)])
    assert torch.equal(made, means) is not drawn
