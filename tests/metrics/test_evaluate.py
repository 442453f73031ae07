"""``ganvae evaluate``: what is measured, beside what, and what cannot be had."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import Say, train, write_table
from ganvae_compare.evaluating import COSTS, default_metrics, evaluate, measure, write
from ganvae_metrics import efficientnet
from ganvae_metrics.nets import net_of
from ganvae_metrics.samples import FrechetDistance, JudgeAccuracy
from torch import Tensor

import ganvae_core as gv
from ganvae_core.evaluation.references import references
from ganvae_core.evaluation.subject import ModelSubject
from ganvae_core.plugins.catalogue import Plugin
from ganvae_core.plugins.specs import ComponentSpec

TINY = ("generator.hidden=[4]", "latent.shape=[2]")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANVAE_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "vae", "--plugin", "vae", "encoder.hidden=[4]", *TINY)


@pytest.fixture(scope="module")
def gan(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "gan", "--plugin", "gan", "critic.hidden=[4]", *TINY)


def test_a_metric_is_measured_with_fewer_rows_at_once_where_memory_is_short(vae: Path) -> None:
    class Wide(gv.Metric):
        figures = (gv.Figure("rows", "rows"),)

        def measure(self, subject: gv.Subject) -> dict[str, float]:
            sizes = [len(batch.x) for batch in subject.held_out()]
            if max(sizes) > 100:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return {"rows": sum(sizes)}

    run = gv.load(vae)
    subject = ModelSubject(run.model, run.open_data())
    assert measure(Wide(), subject)["rows"].value == len(subject.data.held_out) > 100
    assert subject.rows_at_once == 64


def test_a_vae_has_every_kind_of_figure_and_equal_seeds_give_equal_ones(vae: Path) -> None:
    run = gv.load(vae)
    first, again = (evaluate(run, samples=100, with_references=False) for _ in range(2))
    results = {name: result for one in first.measured for name, result in one.results.items()}
    assert results["accuracy_of_judge"].value == pytest.approx(95, abs=5)
    assert all(results[figure.name].value is not None for figure in COSTS)
    for name in ("fd_judge", "kd_judge", "coverage_judge", "nn_judge", "copies_pixels", "iw100_nats", "active_units",
                 "psnr", "linear_probe"):  # fmt: skip
        assert results[name].value is not None, results[name]
    assert results["kd_judge"].error is not None
    assert results["ssim"].value is None  # images of 8 pixels are smaller than its window
    *measured, cost = zip(first.measured, again.measured, strict=True)
    assert all(one.results == other.results for one, other in measured)
    assert cost[0].results["parameters"] == cost[1].results["parameters"]  # speed is not the same twice
    other = evaluate(run, ["frechet"], samples=60, seed=1, with_references=False)
    assert other.result("fd_pixels") != evaluate(run, ["frechet"], samples=60, with_references=False).result(
        "fd_pixels"
    )


def test_what_a_gan_cannot_give_has_a_reason(gan: Path, say: Say) -> None:
    outcome = say("evaluate", gan, "--metrics", "fidelity,importance-bound,frechet", "--samples", "50")
    assert outcome.code == 0
    assert "n/a: MSE · PSNR · SSIM: the model has no encoder" in outcome.err
    assert "FD, pixels" in outcome.out
    assert "MSE" not in outcome.out
    written = json.loads((gan / "metrics" / "fidelity.json").read_text())
    assert written["results"]["psnr"] == {"value": None, "error": None, "reason": "the model has no encoder"}
    assert json.loads((gan / "metrics" / "frechet-pixels.json").read_text())["samples"] == 50


def test_what_the_data_does_not_allow_has_a_reason(vae: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "MODULE", "a_package_that_is_not_there")
    reasons = {
        "fd_efficientnet_lite0": ({"name": "frechet", "net": "efficientnet-lite0"}, "pip install 'ganvae[features]'"),
        "ndb_pixels": ({"name": "bins", "bins": 900}, "900 bins need 1800 training rows, and there are 1617"),
        "coverage_pixels": ({"name": "manifolds", "nearest": 6}, "60 held-out rows are needed, and 50 are compared"),
        "copies_pixels": ("memorisation", "100 held-out rows are needed, and 50 are compared"),
        "classifier_auc": ("classifier", "a classifier needs 100 held-out rows, and there are 50"),
        "mig": ("disentanglement", "the source does not name its factors"),
        "modes": ("modes", "the source does not name its modes"),
        "marginals": ("table", "it compares the columns of tables"),
        "as_asked": ("as-asked", "the model is not given classes"),
        "utility": ("utility", "there is no category to predict"),
    }  # fmt: skip
    chosen = [metric for metric, _ in reasons.values()]
    found = evaluate(gv.load(vae), chosen, samples=50, with_references=False)
    for figure, (_, reason) in reasons.items():
        assert found.result(figure).value is None
        assert reason in found.result(figure).reason, figure


def test_weights_of_a_package_are_converted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    torch.manual_seed(0)
    state = efficientnet.EfficientNetLite0().state_dict()
    weights = package / efficientnet.WEIGHTS

    def install() -> None:
        """The weights, as the package names and stores them."""
        torch.save({f"_{key.replace('.', '._')}": value for key, value in state.items()}, weights)

    install()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efficientnet, "MODULE", "some_weights")
    monkeypatch.setenv("GANVAE_CACHE_DIR", str(tmp_path / "cache"))
    efficientnet.load_efficientnet()
    weights.unlink()
    again = efficientnet.load_efficientnet().state_dict()
    assert all(torch.equal(again[key], value) for key, value in state.items())
    (kept,) = (tmp_path / "cache" / "nets").iterdir()
    assert kept.name == f"{weights.stem}.safetensors"
    install()
    kept.write_bytes(kept.read_bytes()[:100])  # damaged, and made anew
    efficientnet.load_efficientnet()
    weights.unlink()
    efficientnet.load_efficientnet()
    install()
    monkeypatch.setenv("GANVAE_CACHE_DIR", "/proc/none")  # where nothing can be written
    assert torch.equal(next(efficientnet.load_efficientnet().parameters()), next(iter(state.values())))


def test_what_is_called_pixels_of_images_are_values_of_other_data(tmp_path: Path, say: Say) -> None:
    data = write_table(tmp_path / "table.csv", rows=200)
    run = train(tmp_path / "run", "--plugin", "gan", "--data", data, "critic.hidden=[4]", *TINY)
    outcome = say("evaluate", run, "--metrics", "frechet,diversity", "--no-references")
    assert outcome.code == 0, outcome.err
    assert "FD, values" in outcome.out
    assert "diversity, values" in outcome.out
    assert ", pixels" not in outcome.out


def test_metrics_of_one_kind_have_files_of_their_own(vae: Path) -> None:
    few, more = ({"name": "importance-bound", "draws": draws, "rows": 5} for draws in (2, 3))
    write(evaluate(gv.load(vae), [few, more], samples=20, with_references=False))
    stored = [json.loads((vae / "metrics" / f"importance-bound{end}.json").read_text()) for end in ("", "-2")]
    assert [next(iter(one["results"])) for one in stored] == ["iw2_nats", "iw3_nats"]


def test_a_gan_is_measured_on_its_way_by_a_distance_in_pixels(tmp_path: Path) -> None:
    metrics = "metrics=[{name: frechet, net: pixels}, {name: importance-bound}, {name: kernel}]"
    out = train(tmp_path / "gan", "--plugin", "gan", "critic.hidden=[4]", metrics, "engine.evaluate_every=2", *TINY,
                steps=4)  # fmt: skip
    run = gv.load(out)
    assert ["held_out/fd_pixels" in record for record in run.metrics] == [False, True, False, True]
    assert gv.load(out, checkpoint="best").step in (2, 4)
    assert run.results.keys() == {"fd_pixels", "kd_pixels"}
    assert FrechetDistance(net="pixels").cheap
    assert not FrechetDistance(net="judge").cheap


def test_the_ceiling_is_better_than_the_floors(vae: Path) -> None:
    """180 training digits against 180 held-out ones; everything follows from the seed."""
    found = evaluate(gv.load(vae), [{"name": "kernel", "net": "pixels"}, "manifolds", "memorisation"])
    assert found.samples == 180

    def values(figure: str) -> Mapping[str, float]:
        names = found.measured[0].references
        return {name: value for name in names if (value := found.result(figure, name).value) is not None}

    distance, coverage = values("kd_pixels"), values("coverage_pixels")
    assert [*distance] == ["real against real", "one Gaussian", "independent pixels", "the mean", "noise"]
    assert all(
        distance["real against real"] < value
        for name, value in distance.items()
        if name != "real against real"
    )
    assert coverage["real against real"] > 0.9
    assert coverage["the mean"] < 0.3  # balls of outliers reach to the mean
    copies, apart = values("copies_pixels"), values("distance_to_record_pixels")
    assert copies["real against real"] == pytest.approx(
        100 * 2 / 180
    )  # held-out rows: of 180, two are the nearest 1 %
    assert apart["real against real"] == pytest.approx(1)
    assert copies["noise"] == 0


def test_references_have_the_moments_that_they_are_named_for(vae: Path) -> None:
    """5,000 draws: standard errors of 0.02 and less; tolerances are five of them."""
    run = gv.load(vae)
    subject = ModelSubject(run.model, run.open_data(), sample_count=5_000)
    rows = torch.cat([batch.x for batch in subject.training(5_000)]).flatten(1)
    drawn = {name: draw(0, 5_000).flatten(1) for name, draw in references(subject).items()}
    inner = rows[:, 18:22]  # grey pixels, which clipping hardly touches
    torch.testing.assert_close(drawn["independent pixels"].mean(0), rows.mean(0), atol=0.04, rtol=0)
    torch.testing.assert_close(drawn["the mean"][7], rows.mean(0), atol=1e-6, rtol=0)
    assert 0 <= float(drawn["noise"].min()) < 0.01 < 0.99 < float(drawn["noise"].max()) <= 1

    def tied(x: Tensor) -> float:
        return float(torch.corrcoef(x[:, 18:22].T)[0, 1])

    assert tied(drawn["one Gaussian"]) == pytest.approx(float(torch.corrcoef(inner.T)[0, 1]), abs=0.1)
    assert tied(drawn["independent pixels"]) == pytest.approx(0.0, abs=0.08)
    torch.testing.assert_close(
        drawn["real against real"][: len(rows)].sum(0), rows.sum(0), rtol=1e-4, atol=1e-2
    )


def test_a_judge_is_trained_once_and_then_read(vae: Path, cache: Path) -> None:
    run = gv.load(vae)
    judged = [net_of(ModelSubject(run.model, run.open_data()), "judge") for _ in range(2)]
    assert judged[0].accuracy == judged[1].accuracy
    assert judged[0].accuracy is not None
    assert judged[0].accuracy > 0.9
    assert len(list((cache / "judges").glob("*.safetensors"))) == 1
    data = run.open_data()
    rows = run.batch(data, data.held_out[:])
    found = JudgeAccuracy().classifier(ModelSubject(run.model, data))(rows.x)
    assert (found.numpy() == data.source.labels(data.held_out[:])).mean() > 0.9


def test_several_runs_stand_side_by_side_and_a_damaged_one_does_not_stop_the_others(
    vae: Path, gan: Path, tmp_path: Path, say: Say
) -> None:
    outcome = say(
        "evaluate", vae, tmp_path / "none", gan, "--metrics", "frechet", "--samples", "40", "--no-references"
    )
    assert outcome.code == 2
    assert f"error: {tmp_path / 'none'}" in outcome.err
    heading = outcome.out.splitlines()[0]
    assert str(vae) in heading
    assert str(gan) in heading


class Brightness(gv.Metric):
    """The mean of samples, as a third party may write it."""

    needs = frozenset({"prior"})
    figures = (gv.Figure("brightness", "brightness"),)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        return {"brightness": float(torch.cat([batch.x for batch in subject.samples(20)]).mean())}


def test_metrics_of_installed_plugins_are_in_every_table(vae: Path) -> None:
    run = gv.load(vae)
    offered = ComponentSpec("metric", "brightness", f"{__name__}:Brightness", "the mean of samples")
    installed = Plugin("shine", "ready", "", "ganvae-shine", "1", __name__, (offered,))
    run = replace(run, catalogue=replace(run.catalogue, plugins=(*run.catalogue.plugins, installed)))
    assert default_metrics(run)[-1] == "shine/brightness"
    found = evaluate(run, ["shine/brightness"], samples=20)
    assert 0 < (found.result("brightness").value or 0) < 1
    assert found.result("brightness", "noise").value == pytest.approx(0.5, abs=0.05)


def test_a_run_that_is_not_complete_is_measured_and_said(tmp_path: Path, cache: Path, say: Say) -> None:
    class Stop(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Mapping[str, object]) -> None:
            training.interrupt()

    overrides = {"generator.hidden": [4], "encoder.hidden": [4], "latent.shape": [2], "engine.log_every": 1}
    gv.train("vae", steps=9, out=tmp_path / "run", overrides=overrides, callbacks=[Stop()])
    outcome = say("evaluate", tmp_path / "run", "--metrics", "frechet", "--samples", "20", "--no-references")
    assert outcome.code == 0
    assert "is measured at step 1; its training is not complete" in outcome.err


def test_runs_on_other_data_are_not_compared(vae: Path, tmp_path: Path, say: Say) -> None:
    other = train(tmp_path / "other", "--plugin", "vae", "data.held_out=0.2", "encoder.hidden=[4]", *TINY)
    outcome = say("evaluate", vae, other, "--metrics", "frechet", "--samples", "40", "--no-references")
    assert outcome.code == 2
    assert "were not trained on the same data: " in outcome.err
    assert "held_out" in outcome.err


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ("frechett", "frechet"),
        ("{name: frechet, net: vgg}", "net"),
        ("{name: frechet", "is not a list of metrics"),
        ("{name: manifolds, nearest: 0}", "nearest: 0"),
    ],
)
def test_a_metric_that_does_not_exist_is_refused(vae: Path, say: Say, metrics: str, expected: str) -> None:
    outcome = say("evaluate", vae, "--metrics", metrics)
    assert outcome.code == 2
    assert expected in outcome.err
    assert "Traceback" not in outcome.err


def test_a_run_without_held_out_rows_is_refused(tmp_path: Path, say: Say) -> None:
    run = train(tmp_path / "run", "--plugin", "vae", "data.held_out=0", "encoder.hidden=[4]", *TINY)
    outcome = say("evaluate", run)
    assert outcome.code == 2
    assert "data.held_out" in outcome.err


def test_a_table_has_figures_of_columns(tmp_path: Path, cache: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    overrides = {"generator.hidden": [4], "encoder.hidden": [4], "engine.device": "cpu"}
    run = gv.train("vae", data=x, steps=2, out=tmp_path / "run", overrides=overrides)
    data = gv.as_source(x)
    assert run.source_spec.shape == (3,)
    assert {"name": "frechet", "net": "pixels"} in default_metrics(run)
    subject = ModelSubject(run.model, gv.split(data, held_out=0.5))
    from ganvae_metrics.tables import ClassifierTwoSample, TableSimilarity

    real = subject.with_samples(references(subject)["real against real"])
    with torch.no_grad():
        assert TableSimilarity().measure(real)["marginals"] > 75
        assert ClassifierTwoSample().measure(real)["classifier_auc"] < 75
        constant = subject.with_samples(references(subject)["the mean"])
        assert TableSimilarity().measure(constant)["marginals"] < 60
        assert ClassifierTwoSample().measure(constant)["classifier_auc"] > 95


def test_bits_per_dimension_are_those_of_levels(tmp_path: Path) -> None:
    """64 pixels in 16 levels: minus the bound in nats over 64 log 2."""
    run = train(tmp_path / "run", "--plugin", "vae", "encoder.hidden=[4]", "generator=mlp", "encoder=mlp", *TINY,
                "observation={name: discretised-logistic, levels: 17}")  # fmt: skip
    found = evaluate(gv.load(run), [{"name": "importance-bound", "draws": 2}], with_references=False)
    nats, bits = found.result("iw2_nats").value, found.result("iw2_bits").value
    assert nats is not None
    assert bits == pytest.approx(-nats / (64 * np.log(2)))


def test_a_figure_that_is_left_out_says_what_it_is_of(tmp_path: Path) -> None:
    run = train(
        tmp_path / "run", "--plugin", "vae", "encoder.hidden=[4]", "generator=mlp", "encoder=mlp", *TINY
    )
    found = evaluate(gv.load(run), [{"name": "importance-bound", "draws": 2}], with_references=False)
    assert "it is of observations of levels" in found.result("iw2_bits").reason


def test_a_metric_that_is_not_applicable_ends_no_training(tmp_path: Path) -> None:
    run = gv.train("vae", steps=2, out=tmp_path / "run", overrides={
        "generator": {"name": "mlp", "hidden": [4]}, "encoder": {"name": "mlp", "hidden": [4]}, "engine.device": "cpu",
        "metrics": ["reconstruction", "metrics/modes"]})  # fmt: skip
    assert run.step == 2
    assert "squared_error" in run.results
    assert "modes" not in run.results


def test_codes_that_are_the_factors_of_a_source_are_disentangled(tmp_path: Path) -> None:
    from ganvae_metrics.representations import Disentanglement

    class Known(gv.Encoder):
        """Codes that are the factors, by the rows' own numbers."""

        def forward(self, x: Tensor, condition: Tensor | None = None) -> gv.Posterior:
            return gv.Dirac(x[:, 0, 0, :3] * 255)

    class Grid(gv.Source):
        """Rows of three factors, which stand in their first three pixels."""

        spec = gv.DataSpec(
            (1, 1, 4), (0.0, 1.0), "image", None, 60, details={"factors": {"a": 3, "b": 4, "c": 5}}
        )

        def __len__(self) -> int:
            return 60

        def rows(self, indices: object) -> gv.Rows:
            chosen = np.arange(60)[indices]  # pyright: ignore
            factors = np.stack(np.unravel_index(chosen, (3, 4, 5)), axis=1)
            x = np.zeros((len(chosen), 1, 1, 4), np.float32)
            x[:, 0, 0, :3] = factors / 255
            return gv.Rows(x)

        def labels(self, indices: object = None) -> None:
            return None

    model = gv.Model(
        gv.MLPGenerator([3], (1, 1, 4), hidden=(4,)), gv.StandardNormal([3]), gv.Bernoulli(), Known()
    )
    found = Disentanglement(votes=50).measure(ModelSubject(model, gv.split(Grid(), held_out=0.0)))
    assert found["mig"] > 0.9
    assert found["factor_vae"] == 1.0
    assert found["sap"] > 0.9


def test_a_bound_that_would_take_many_integrations_is_refused_with_what_to_ask_for(tmp_path: Path) -> None:
    run = train(tmp_path / "run", "--plugin", "table-vae", "--data", write_table(tmp_path / "rows.csv"),
                "encoder.hidden=[4]", *TINY, "prior.width=8", "prior.layers=1", "stages.0.steps=2")  # fmt: skip
    many = {"name": "importance-bound", "draws": 5_000}
    found = evaluate(gv.load(run), [many], with_references=False)
    assert "draws: 10" in found.result("iw5000_nats").reason
    few = {"name": "importance-bound", "draws": 2, "rows": 3}
    assert evaluate(gv.load(run), [few], with_references=False).result("iw2_nats").value is not None
