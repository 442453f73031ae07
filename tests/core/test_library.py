"""As a library: train, load, resume, and an engine of one's own without any plugin."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset
from toys import Watcher, images, rows, same, state

import ganvae_core as gv
from ganvae_core.store.directory import RunDirectory
from ganvae_core.views.curves import draw_losses

SMALL: dict[str, Any] = {
    "generator.hidden": [8],
    "encoder.hidden": [8],
    "latent.shape": [2],
    "engine.batch_size": 8,
    "engine.device": "cpu",
}


def train(data: Any = None, plugin: str = "vae", out: Path | None = None, **more: Any) -> gv.Run:
    overrides = {**SMALL, **more.pop("overrides", {})}
    return gv.train(plugin, data=data, steps=more.pop("steps", 3), overrides=overrides, out=out, **more)


@pytest.fixture(autouse=True)
def somewhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Pairs(Dataset[Any]):
    """A map-style dataset of images and labels."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(images()[index][None]), index % 3


LABELS = np.arange(40) % 3
DATA: dict[str, tuple[Any, Any]] = {
    "array": (images(), None),
    "array and labels": (images(), LABELS),
    "list of names as labels": (images(), ["abc"[number] for number in LABELS]),
    "table": (rows(), None),
    "tensor": (torch.from_numpy(images()), torch.from_numpy(LABELS)),
    "dataset": (Pairs(), None),
    "tensor dataset": (TensorDataset(torch.from_numpy(images()), torch.from_numpy(LABELS)), None),
    "source": (gv.as_source(images(), LABELS), None),
}


@pytest.mark.parametrize("kind", list(DATA))
def test_a_recipe_is_trained_on_what_python_has(kind: str) -> None:
    x, labels = DATA[kind]
    run = train(x, labels=labels)
    shape = (3,) if kind == "table" else (1, 8, 8)
    assert run.step == 3
    assert run.path == Path("runs/vae-array-1")
    assert run.spec.shape == shape
    assert run.model.sample(5).shape == (5, *shape)
    real = torch.zeros(4, *shape)
    assert run.model.encode(real).mean.shape == (4, 2)
    assert run.model.reconstruct(real).shape == (4, *shape)
    assert not run.model.training
    assert np.isfinite(run.results["elbo_nats"])


def test_labels_are_a_condition_only_where_that_is_asked_for() -> None:
    plain = train(images(), labels=LABELS)
    assert (plain.spec.condition, plain.source_spec.classes) == (None, ("0", "1", "2"))
    conditional = train(images(), labels=LABELS, overrides={"data.condition": True})
    assert conditional.spec.condition == (3,)
    assert conditional.model.sample(4).shape == (4, 1, 8, 8)
    weights = conditional.model.condition_weights
    assert weights is not None
    training = gv.split(gv.as_source(images(), LABELS)).training
    assert weights.tolist() == np.bincount(LABELS[training]).tolist()
    with pytest.raises(gv.ConfigurationError):
        conditional.model.decode(torch.zeros(2, 2), None)


def test_labels_without_data_of_ones_own_are_refused_and_not_forgotten() -> None:
    for data in (None, "digits", Path("x.npy")):
        with pytest.raises(gv.ConfigurationError, match="labels= goes with an array"):
            train(data, labels=LABELS)
    assert not Path("runs").exists()


def test_a_source_is_named_by_its_name_or_by_a_path() -> None:
    np.save("my images.npy", images())
    run = train(Path("my images.npy"))
    assert run.path == Path("runs/vae-my-images-1")
    assert train("my images.npy").path == Path("runs/vae-my-images-2")
    assert len(run.open_data().source) == 40


class WithGaps(gv.Source):
    """Images of which the first row of pixels was not observed, and holds any value."""

    def __init__(self) -> None:
        self.x = images()
        self.x[:, 0] = 255

    @property
    def spec(self) -> gv.DataSpec:
        return gv.as_source(self.x).spec

    def __len__(self) -> int:
        return len(self.x)

    def rows(self, indices: Any) -> gv.Rows:
        x = self.x[indices][:, None]
        mask = np.ones(x.shape, bool)
        mask[:, :, 0] = False
        return gv.Rows(x, None, mask)

    def labels(self, indices: Any = None) -> None:
        return None


def test_rows_of_other_data_come_with_their_mask() -> None:
    run = train(images())
    batch = run.batch(run.open_data(WithGaps()), np.arange(5))
    assert batch.mask is not None
    assert not batch.mask[:, :, 0].any()
    assert batch.mask[:, :, 1:].all()
    assert not batch.x[:, :, 0].any()
    assert np.allclose(batch.x[:, 0, 1:].numpy() * 255, images()[:5, 1:], atol=1e-3)


def test_the_default_data_is_the_recipes() -> None:
    run = gv.train("vae", steps=1, overrides={"engine.device": "cpu"})
    assert run.path == Path("runs/vae-digits-1")
    assert run.spec.shape == (1, 8, 8)


def test_overrides_reach_the_components() -> None:
    run = train(images(), overrides={"objective.beta": 4, "engine": {"seed": 3}})
    assert run.configuration.components["objective"].options["beta"] == 4.0
    assert run.configuration.engine.seed == 3
    assert json.loads((run.path / "data.json").read_text())["spec"]["shape"] == [1, 8, 8]


def test_what_is_wrong_is_said_before_anything_is_written() -> None:
    for wrong in (
        {"objective.bta": 4},
        {"generator": "dcgan"},
        {"data.held_out": 2},
        {"engine.device": "tpu"},
    ):
        with pytest.raises((gv.ConfigurationError, gv.DataError)):
            gv.train("vae", data=rows(), steps=2, overrides=wrong)
    with pytest.raises(gv.DataError):
        train(np.full((9, 3), np.nan))
    with pytest.raises(gv.ConfigurationError, match=r"no plugin 'vea'. Did you mean 'vae'"):
        gv.train("vea")
    assert not Path("runs").exists()


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    run = train(images(), out=tmp_path / "mine")
    before = sorted((path, path.stat().st_mtime_ns) for path in run.path.rglob("*"))
    with pytest.raises(gv.RunError, match="there is a run already"):
        train(images(), out=tmp_path / "mine")
    with pytest.raises(gv.RunError, match="there is a run already"):
        gv.train("vae", data="no-such-file.csv", out=run.path)  # before data is looked for
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(gv.RunError, match="not a run and not empty"):
        train(images(), out=tmp_path / "other")
    assert sorted((path, path.stat().st_mtime_ns) for path in run.path.rglob("*")) == before
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["notes.txt"]


def test_a_run_is_loaded_as_it_was_trained(tmp_path: Path) -> None:
    trained = train(images(), out=tmp_path / "run", steps=6, overrides={"engine.checkpoint_every": 2})
    loaded = gv.load(tmp_path / "run")
    assert same(state(loaded.model), state(trained.model))
    assert loaded.configuration == trained.configuration
    assert (loaded.spec, loaded.step) == (trained.spec, 6)
    assert loaded.results == trained.results
    assert [record["step"] for record in loaded.metrics] == [2, 4, 6]
    assert gv.load(str(tmp_path / "run"), checkpoint=4).step == 4
    scores = {int(folder.name[5:]): json.loads((folder / "manifest.json").read_text())["results"]["elbo_nats"]
              for folder in (trained.path / "checkpoints").iterdir()}  # fmt: skip
    assert gv.load(tmp_path / "run", checkpoint="best").step == max(scores, key=lambda step: scores[step])
    with pytest.raises(gv.RunError, match="no checkpoint '5'") as raised:
        gv.load(tmp_path / "run", checkpoint=5)
    assert "4, 6" in str(raised.value)


def test_what_was_trained_around_a_model_is_loaded_with_the_weights_that_training_left(
    tmp_path: Path,
) -> None:
    class Last(gv.Callback):
        def on_end(self, training: gv.TrainingView) -> None:
            self.objective = training.objective

    last = Last()
    overrides = {"engine.checkpoint_every": 2, "data.condition": True, "objective.spectral_norm": True}
    run = gv.train("gan", steps=4, out=tmp_path / "run", overrides=overrides, callbacks=[last])
    objective = run.objective()
    assert same(state(objective), state(last.objective))
    assert not objective.training
    further = gv.Engine(objective, run.open_data(), gv.EngineSettings(batch_size=8, device="cpu"))
    before = state(objective)
    further.fit(steps=1)
    assert not same(state(objective), before)
    earlier = gv.load(run.path, checkpoint=2)
    assert not same(state(objective), state(earlier.objective()))
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-000002")
    with pytest.raises(gv.RunError, match="no checkpoint '2'"):
        earlier.objective()


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(gv.RunError, match="there is no run"):
        gv.load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(gv.RunError, match=r"is not a run: it has no config\.yaml"):
        gv.load(tmp_path / "empty")


BROKEN: dict[str, tuple[str, bytes | None, str]] = {
    "no checkpoint": ("checkpoints", None, "has no checkpoint: it was stopped"),
    "config.yaml that is no YAML": ("config.yaml", b"a: [", "config.yaml, line 1"),
    "config.yaml that is no text": ("config.yaml", b"\xff\xfe\x00", "config.yaml"),
    "config.yaml of a plugin that is gone": (
        "config.yaml",
        b"objective: gone/elbo\n",
        "no objective 'gone/elbo'",
    ),
    "config.yaml that is empty": ("config.yaml", b"", "names none"),
    "no data.json": ("data.json", None, "data.json is missing"),
    "data.json that is not JSON": ("data.json", b"{", "data.json cannot be read"),
    "data.json of something else": (
        "data.json",
        b'{"format": 2, "spec": {}}',
        "data.json is damaged: ",
    ),
    "data.json that is a list": ("data.json", b"[]", "data.json is damaged: it is not a JSON object"),
    "data.json of other data": (
        "data.json",
        json.dumps(
            {"format": 2, "spec": gv.DataSpec((5,)).as_dict(), "source_spec": gv.DataSpec((5,)).as_dict()}
        ).encode(),
        "does not fit the configuration",
    ),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_a_run_that_is_damaged_says_what_is_wrong_and_where(what: str, tmp_path: Path) -> None:
    import shutil

    name, content, message = BROKEN[what]
    run = train(images(), out=tmp_path / "run", steps=1)
    path = run.path / name
    if content is not None:
        path.write_bytes(content)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(gv.GanvaeError, match=message):
        gv.load(run.path)


def test_a_run_is_resumed_from_python(tmp_path: Path) -> None:
    whole = train(images(), out=tmp_path / "whole", steps=6)
    watcher = Watcher()
    resumed = train(images(), out=tmp_path / "run", steps=2).resume(
        steps=6, data=images(), callbacks=[watcher]
    )
    assert resumed.step == 6
    assert same(state(resumed.model), state(whole.model))
    assert watcher.events[0] == ("start", 2)
    with pytest.raises(gv.RunError, match="was trained on data given from Python"):
        resumed.resume(steps=8)


def test_labels_that_the_model_is_not_given_need_not_be_given_again(tmp_path: Path) -> None:
    run = train(images(), labels=LABELS, out=tmp_path / "run", steps=1)
    assert run.resume(steps=2, data=images()).step == 2
    conditional = train(
        images(), labels=LABELS, out=tmp_path / "other", steps=1, overrides={"data.condition": True}
    )
    with pytest.raises(gv.DataError, match="no labels"):
        conditional.resume(steps=2, data=images())
    with pytest.raises(gv.DataError, match="values"):
        conditional.resume(steps=2, data=gv.as_source(images(), np.roll(LABELS, 1)))
    assert conditional.resume(steps=2, data=gv.as_source(images(), LABELS)).step == 2


@pytest.mark.parametrize("other", [images(41), images(seed=1)[:39], rows(), images().astype(np.float32)])
def test_a_run_goes_on_with_its_own_data_only(other: np.ndarray, tmp_path: Path) -> None:
    run = train(images(), out=tmp_path / "run", steps=2)
    with pytest.raises(gv.GanvaeError, match=r"the data is not what|does not fit"):
        run.resume(steps=4, data=other)
    assert gv.load(run.path).step == 2


class MeanSquares(gv.Objective):
    """A 15-line objective of one's own, with modules of one's own."""

    needs = frozenset({"encoder"})

    def __init__(self, model: gv.Model) -> None:
        super().__init__()
        self.model = model

    def phases(self) -> list[gv.Phase]:
        return [gv.Phase("squares", self.loss, trains=[self.model])]

    def loss(self, batch: gv.Batch) -> gv.Loss:
        error = (self.model.reconstruct(batch.x) - batch.x).square().sum(1).mean()
        return gv.Loss(error, {"squared_error": error})


class Decoder(gv.Generator):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)

    def forward(self, z: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return self.layer(z)


class Coder(gv.Encoder):
    deterministic = True

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> gv.Dirac:
        return gv.Dirac(self.layer(x))


@pytest.mark.parametrize("kind", ["array", "tensor", "dataset", "source", "split"])
def test_own_modules_and_an_own_objective_need_no_plugin(kind: str) -> None:
    x = rows(200)
    data = {
        "array": x,
        "tensor": torch.from_numpy(x),
        "dataset": TensorDataset(torch.from_numpy(x)),
        "source": gv.as_source(x),
        "split": gv.split(gv.as_source(x), held_out=0.5),
    }[kind]
    torch.manual_seed(0)
    model = gv.Model(Decoder(), gv.StandardNormal([2]), gv.Gaussian(), Coder())
    watcher = Watcher()
    settings = gv.EngineSettings(batch_size=50, device="cpu", ema_half_life_samples=0, log_every=100)
    optimizers = {"default": gv.OptimizerSettings(lr=0.05)}
    engine = gv.Engine(MeanSquares(model), data, settings, optimizers=optimizers, callbacks=[watcher])
    assert engine.fit(steps=300) is engine
    # A linear autoencoder finds the plane of the two largest variances, and the smallest is left.
    # Minibatches leave it 0.25 % above; processors differ by less than a millionth.
    seen = ((x - x.mean(0)) / x.std(0))[engine.data.training]
    smallest = np.linalg.eigvalsh(np.cov(seen.T, bias=True))[0]
    assert watcher.records[-1]["squares/squared_error"] == pytest.approx(smallest, rel=0.01)
    assert engine.model.sample(4).shape == (4, 3)
    assert not list(Path().iterdir()), "nothing was written"


def test_an_engine_without_settings_trains_with_the_defaults() -> None:
    torch.manual_seed(0)
    model = gv.Model(gv.MLPGenerator([2], [3]), gv.StandardNormal([2]), gv.Gaussian(), gv.MLPEncoder(
        gv.DataSpec((3,), None), [2], posterior="dirac"))  # fmt: skip
    engine = gv.Engine(MeanSquares(model), rows()).fit(steps=2)
    assert engine.step_index == 2
    assert engine.batch_size == 36


def test_an_engine_of_ones_own_runs_where_no_plugin_can_be_found(tmp_path: Path) -> None:
    program = (
        "import sys, importlib.metadata\n"
        "importlib.metadata.distributions = lambda **given: iter(())\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "import numpy, test_library as own, ganvae_core as gv\n"
        "model = gv.Model(own.Decoder(), gv.StandardNormal([2]), gv.Gaussian(), own.Coder())\n"
        "gv.Engine(own.MeanSquares(model), own.rows(), gv.EngineSettings(device='cpu')).fit(steps=2)\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in"
        " ('ganvae_vae', 'ganvae_gan', 'ganvae_ae', 'ganvae_dcgan')))\n"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.strip() == "[]"


def test_all_pictures_are_there_before_the_last_checkpoint_is(tmp_path: Path) -> None:
    """A run that is killed after it is complete, and is not resumed."""
    found: list[tuple[int, bool]] = []

    class Looking(gv.Callback):
        def on_checkpoint(self, training: gv.TrainingView) -> None:
            found.append((training.step, (tmp_path / "run" / "losses.png").exists()))

    train(images(), out=tmp_path / "run", steps=2, callbacks=[Looking()])
    assert found == [(2, True)]


def test_a_logged_number_that_is_not_finite_is_null_in_the_file_and_nan_when_it_is_read(
    tmp_path: Path,
) -> None:
    directory = RunDirectory(tmp_path)
    directory.append_metrics({"step": 1, "a/x": float("nan"), "a/y": float("inf"), "a/z": 0.5})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "a/x": null, "a/y": null, "a/z": 0.5}\n'
    directory.append_metrics({"step": 2, "a/z": 1.0})
    directory.keep_metrics_until(1)
    (record,) = directory.metrics()
    assert math.isnan(record["a/x"])
    assert (record["step"], record["a/z"]) == (1, 0.5)
    draw_losses(directory.metrics(), tmp_path / "losses.png")
