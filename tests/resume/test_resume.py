"""A run that was interrupted ends bit for bit where an uninterrupted one does."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import FromPhases, engine, images, model, narrow_settings, recipes, regression, rows, same, state

import ganvae_core as gv
from ganvae_core.builtin.metrics import Elbo
from ganvae_core.config.configuration import configure, stored
from ganvae_core.config.layers import parse_overrides, parse_yaml
from ganvae_core.data.stream import DataStream
from ganvae_core.plugins import installed_plugins
from ganvae_core.runs.preparation import prepare
from ganvae_core.runs.resuming import differing_settings, prepare_resume, runtime_notes
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.manifests import manifest_text
from ganvae_core.types import COST_OF_TRAINING

STEPS, FIRST = 7, 3
STAGED = ("ae/flow", "ae/latent-flow", "ae/vq-vae", "ae/fsq-vae", "ae/adversarial-ae", "table-vae/table-vae")
SETTINGS: dict[str, Any] = {
    "engine.batch_size": 300,  # 1,617 rows: the fifth step goes on into the second pass over the data
    "engine.log_every": 2,
    "engine.checkpoint_every": FIRST,
    "engine.samples_every": 0,
    "engine.device": "cpu",
    "engine.precision": "fp32",
}


def run_recipe(recipe: str, out: Path, steps: int, **changes: Any) -> gv.Run:
    plugin, _, name = recipe.partition("/")
    overrides = {**SETTINGS, **narrow_settings(recipe), **changes}
    return gv.train(plugin, recipe=name, steps=steps, out=out, overrides=overrides)


def logged(run: gv.Run) -> list[dict[str, Any]]:
    """``metrics.jsonl`` without what depends on the clock."""
    return [
        {key: value for key, value in record.items() if key not in COST_OF_TRAINING} for record in run.metrics
    ]


def weights(run: gv.Run) -> dict[str, bytes]:
    folder = run.path / "checkpoints" / f"step-{run.step:06d}"
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "state.safetensors")}


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """The position and the contents of each batch that is trained on."""
    seen: list[tuple[int, str]] = []
    batch_at = DataStream.batch_at

    def noted(self: DataStream, samples_seen: int) -> gv.Batch:
        batch = batch_at(self, samples_seen)
        digest = hashlib.sha256(batch.x.contiguous().numpy().tobytes() + batch.index.numpy().tobytes())
        if batch.condition is not None:
            digest.update(batch.condition.numpy().tobytes())
        seen.append((batch.samples_seen, digest.hexdigest()))
        return batch

    monkeypatch.setattr(DataStream, "batch_at", noted)
    return seen


# A run with stages is trained on across their boundary in test_stages.
@pytest.mark.parametrize("recipe", [recipe for recipe in recipes() if recipe not in STAGED])
def test_every_recipe_goes_on_bit_for_bit(
    recipe: str, tmp_path: Path, batches: list[tuple[int, str]]
) -> None:
    """Weights, their average, the optimizers' state, what is logged and measured afterwards, and each next batch."""
    whole = run_recipe(recipe, tmp_path / "whole", STEPS, **{"engine.samples_every": 4})
    expected_batches = batches.copy()
    batches.clear()
    interrupted = run_recipe(recipe, tmp_path / "interrupted", FIRST, **{"engine.samples_every": 4})
    assert interrupted.step == FIRST
    resumed = interrupted.resume(steps=STEPS)
    assert len({digest for _, digest in batches}) == STEPS
    assert batches == expected_batches
    assert resumed.step == STEPS
    assert weights(resumed) == weights(whole)
    assert logged(resumed) == logged(whole)
    assert sorted({record["step"] for record in logged(whole)}) == [2, 3, 4, 6, 7]
    assert resumed.results == whole.results


def test_networks_go_on_centring_data_as_their_run_did(tmp_path: Path) -> None:
    """Runs from before data had a mean centre it in the middle of its range, resumed or as the weights of a new run."""
    run = run_recipe("vae/vae", tmp_path / "run", FIRST)
    assert run.model.encoder.inputs.mean == run.spec.mean != 0.5  # pyright: ignore
    record = json.loads((run.path / "data.json").read_text())
    del record["spec"]["mean"]
    (run.path / "data.json").write_text(json.dumps(record))
    old = gv.load(run.path)
    new = prepare(
        configure(installed_plugins(), "vae", None, [{"from": {"path": str(run.path)}}]), installed_plugins()
    )
    for trained in (old.model, old.resume(steps=STEPS).model, new.engine.model):
        assert trained.encoder.inputs.mean is None  # pyright: ignore


def test_a_mean_keeps_its_place_in_data_of_another_range(tmp_path: Path) -> None:
    run = run_recipe("vae/vae", tmp_path / "run", FIRST)
    layer = {"from": {"path": str(run.path)}}
    source = gv.as_source(np.random.default_rng(0).uniform(-1, 1, (50, 1, 8, 8)).astype(np.float32))
    assert source.spec.range == (-1, 1)
    new = prepare(configure(installed_plugins(), "vae", None, [layer]), installed_plugins(), source)
    assert new.data.spec.mean == pytest.approx(2 * run.spec.mean - 1)  # pyright: ignore


def test_a_long_average_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """From step 321 on the half-life is longer than 16 steps, and every fourth step's weights are averaged."""
    settings = {
        "engine.batch_size": 16,
        "engine.checkpoint_every": 330,
        "engine.log_every": 100,
        "metrics": [],
    }
    whole = run_recipe("vae/vae", tmp_path / "whole", 334, **settings)
    resumed = run_recipe("vae/vae", tmp_path / "run", 326, **settings).resume(steps=334)
    assert weights(resumed) == weights(whole)
    averaged = {
        step: (whole.path / f"checkpoints/step-{step:06d}/model.safetensors").read_bytes()
        for step in (330, 334)
    }
    assert averaged[330] != averaged[334]
    again = resumed.resume(steps=335)
    assert (again.path / "checkpoints/step-000335/model.safetensors").read_bytes() == averaged[334]


def test_a_prior_that_was_fitted_is_not_until_the_next_end_when_its_run_goes_on(tmp_path: Path) -> None:
    changes = {"engine.samples_every": 2, "engine.checkpoint_every": 2, "engine.keep_checkpoints": 9,
               "engine.log_every": 1}  # fmt: skip
    whole = run_recipe("ae/ae", tmp_path / "whole", 6, **changes)
    ended = run_recipe("ae/ae", tmp_path / "run", 3, **changes)
    assert ended.model.prior.fitted  # pyright: ignore
    resumed = ended.resume(steps=6)
    for step in (4, 6):
        for name in ("model.safetensors", "state.safetensors"):
            file = f"checkpoints/step-{step:06d}/{name}"
            assert (resumed.path / file).read_bytes() == (whole.path / file).read_bytes(), file
    assert logged(resumed) == logged(whole)
    drawn = {path.name for path in (resumed.path / "samples").iterdir()}
    assert drawn == {"step-000003.png", "step-000006.png"}


@pytest.mark.parametrize("recipe", ["vae/vae", "gan/gan"])
def test_a_conditional_run_in_micro_batches_on_streamed_data_goes_on_bit_for_bit(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {
        "data.condition": True, "engine.micro_batch_size": 128, "optimizers.default.warmup_samples": 900,
        "optimizers.default.name": "rmsprop", "optimizers.default.momentum": 0.5, "optimizers.default.clip_norm": 1.0,
        "data.held_out": 0.5,
    }  # fmt: skip
    monkeypatch.setattr("ganvae_core.data.stream.RESIDENT_SHARE", 0)
    whole = run_recipe(recipe, tmp_path / "whole", STEPS, **changes)
    resumed = run_recipe(recipe, tmp_path / "interrupted", FIRST, **changes).resume(steps=STEPS)
    assert weights(resumed) == weights(whole)
    assert logged(resumed) == logged(whole)


def test_an_augmentation_goes_on_with_the_strength_that_it_had(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"objective.augmentation_target": -0.9, "engine.micro_batch_size": 128}
    whole = run_recipe("gan/gan", tmp_path / "whole", STEPS, **changes)
    resumed = run_recipe("gan/gan", tmp_path / "interrupted", FIRST, **changes).resume(steps=STEPS)
    assert weights(resumed) == weights(whole)
    assert logged(resumed) == logged(whole)
    strengths = [record["critic/augmentation"] for record in logged(whole)]
    assert strengths[0] == 0 < strengths[1] < strengths[-1]


class StopAt(gv.Callback):
    """Asks for a stop after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if training.step == self.step:
            training.interrupt()


class StopAtOnce(gv.Callback):
    """Asks for a stop before the first step."""

    def on_start(self, training: gv.TrainingView) -> None:
        training.interrupt()


class Difficult(gv.Critic):
    """Batch norm, dropout and spectral norm in one."""

    feature_size = 5

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.LeakyReLU(0.2), nn.Dropout(0.3))
        self.head = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 1))

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.layers(x)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head(self.features(x)).squeeze(1)


def difficult(seed: int = 0) -> FromPhases:
    """A GAN with batch norm, dropout, a lazy penalty of second order, and a weight that adapts itself."""

    def phases(objective: Any) -> list[gv.Phase]:
        def critic(batch: gv.Batch) -> gv.Loss:
            noisy = batch.x + objective.strength * torch.randn_like(batch.x)
            fake = objective.model.sample(len(batch.x)).detach()
            real = objective.critic(noisy)
            return gv.Loss(objective.critic(fake).mean() - real.mean(), {"sign": real.sign().mean()})

        def adapt(averages: Mapping[str, Tensor]) -> None:
            objective.strength.add_(0.1 * averages["sign"])

        def penalty(batch: gv.Batch) -> gv.Loss:
            x = batch.x.clone().requires_grad_()
            (slope,) = torch.autograd.grad(objective.critic(x).sum(), x, create_graph=True)
            return gv.Loss(slope.square().sum(1).mean())

        def generator(batch: gv.Batch) -> gv.Loss:
            return gv.Loss(-objective.critic(objective.model.sample(len(batch.x))).mean())

        return [
            gv.Phase("critic", critic, trains=[objective.critic], after=adapt),
            gv.Phase(
                "penalty", penalty, trains=[objective.critic], every=3, optimizer="critic", second_order=True
            ),
            gv.Phase("generator", generator, trains=[objective.model.generator], every=2),
        ]

    torch.manual_seed(seed)
    objective = FromPhases(model(seed, batch_norm=True, encoder=False), phases, critic=Difficult())
    objective.register_buffer("strength", torch.tensor(0.2))
    return objective


OPTIMIZERS = {
    "critic": gv.OptimizerSettings(0.01, gv.AdamW(weight_decay=0.1), gv.schedule.Cosine()),
    "generator": gv.OptimizerSettings(0.01, gv.RMSprop(momentum=0.5), warmup_samples=30),
}


@pytest.mark.parametrize("first", [1, 2, 5, 9])
def test_batch_norm_dropout_lazy_phases_and_buffers_go_on_bit_for_bit(first: int, tmp_path: Path) -> None:
    def begin(seed: int = 0, **changes: Any) -> gv.Engine:
        return engine(difficult(seed), steps=11, optimizers=OPTIMIZERS, **changes)

    whole = begin().fit()
    begin(directory=tmp_path, callbacks=[StopAt(first)]).fit()
    resumed = begin(seed=5)  # other initial weights: what is restored is all that counts
    resumed.restore(read_checkpoint(tmp_path / "checkpoints" / f"step-{first:06d}"))
    resumed.fit()
    assert same(state(resumed.objective), state(whole.objective))
    assert same(state(resumed.model), state(whole.model))
    assert not torch.equal(whole.objective.get_buffer("strength"), torch.tensor(0.2))
    for name, optimizer in whole.state.optimizers.items():
        kept, other = (
            optimizer.torch_optimizer.state_dict(),
            resumed.state.optimizers[name].torch_optimizer.state_dict(),
        )
        for number, values in kept["state"].items():
            assert all(torch.equal(value, other["state"][number][key]) for key, value in values.items())


def test_a_run_that_is_interrupted_in_its_last_step_leaves_the_fit_to_the_resumed_run(tmp_path: Path) -> None:
    whole = run_recipe("ae/ae", tmp_path / "whole", 2)
    stopped = gv.train("ae", steps=2, out=tmp_path / "run", overrides=SETTINGS, callbacks=[StopAt(2)])
    assert not stopped.model.prior.fitted  # pyright: ignore
    resumed = stopped.resume()
    assert weights(resumed) == weights(whole)
    assert resumed.results == whole.results


def test_the_seconds_of_a_record_include_those_before_an_interrupt(tmp_path: Path) -> None:
    class StopBetween(gv.Callback):
        def on_samples(self, training: gv.TrainingView) -> None:
            time.sleep(0.1)
            training.interrupt()

    settings = {**SETTINGS, "engine.log_every": 4, "engine.samples_every": 2, "engine.checkpoint_every": 4}
    stopped = gv.train("vae", steps=4, out=tmp_path / "run", overrides=settings, callbacks=[StopBetween()])
    assert (stopped.step, stopped.metrics) == (2, [])
    (record,) = stopped.resume().metrics
    assert record["step"] == 4
    assert 0.1 < record["seconds"] < 60


def test_whoever_interrupts_training_does_not_wait_for_a_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SETTINGS, "engine.log_every": 1, "engine.checkpoint_every": 2}
    measured: list[gv.Subject] = []
    elbo = Elbo.measure

    def noted(self: Elbo, subject: gv.Subject) -> Mapping[str, float]:
        measured.append(subject)
        return elbo(self, subject)

    monkeypatch.setattr(Elbo, "measure", noted)
    run = gv.train("vae", steps=9, out=tmp_path / "a", overrides=settings, callbacks=[StopAt(3)])
    assert (run.step, len(measured)) == (3, 1)
    assert [bool(manifest["results"]) for manifest in run.directory.manifests().values()] == [True, False]
    # What was measured of a step stays with it where it is saved again.
    run = gv.train("vae", steps=9, out=tmp_path / "b", overrides=settings, callbacks=[StopAt(4)])
    assert (run.step, len(measured)) == (4, 3)
    before = run.results
    resumed = run.resume(callbacks=[StopAtOnce()])
    assert (resumed.step, resumed.results, len(measured)) == (4, before, 3)
    assert before


def test_a_run_that_was_asked_to_stop_goes_on_bit_for_bit(tmp_path: Path) -> None:
    settings = {**SETTINGS, "engine.checkpoint_every": 100}
    whole = gv.train("ae", steps=STEPS, out=tmp_path / "whole", overrides=settings)
    stopped = gv.train("ae", steps=STEPS, out=tmp_path / "run", overrides=settings, callbacks=[StopAt(4)])
    assert stopped.step == 4
    with pytest.raises(gv.NotFittedError, match="--resume"):
        stopped.model.sample(1)
    resumed = stopped.resume()
    assert weights(resumed) == weights(whole)
    assert logged(resumed) == logged(whole)
    assert resumed.model.sample(2).shape == (2, 1, 8, 8)


def small(out: Path, steps: int = 4, **changes: Any) -> gv.Run:
    overrides = {**SETTINGS, "engine.batch_size": 8, "engine.checkpoint_every": 2, "generator.hidden": [8]}
    np.save(out.parent / "x.npy", images())
    return gv.train(
        "vae", data=out.parent / "x.npy", steps=steps, out=out, overrides={**overrides, **changes}
    )


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


CHANGES: dict[str, Any] = {
    "objective.beta": 2,
    "generator.hidden": [9],
    "prior": "uniform",
    "optimizers.default.lr": 0.5,
    "engine.seed": 1,
    "engine.batch_size": 16,
    "engine.micro_batch_size": 2,
    "engine.precision": "auto",
    "engine.ema_half_life_samples": 1.0,
    "data.held_out": 0.2,
    "data.condition": True,
    "latent.shape": [3],
    "metrics": ["reconstruction"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> gv.Run:
    return small(tmp_path_factory.mktemp("finished") / "run")


@pytest.mark.parametrize("key", list(CHANGES))
def test_settings_that_would_change_what_was_trained_are_refused(key: str, finished: gv.Run) -> None:
    before = everything(finished.path)
    with pytest.raises(gv.ConfigurationError, match="these differ") as raised:
        finished.resume(steps=9, overrides={key: CHANGES[key]})
    listed = raised.value.message.partition("these differ: ")[2]
    assert listed.startswith((f"{key} (", f"{key}."))
    assert "→" in listed
    hint, *_ = raised.value.hints
    _, *words = shlex.split(hint.partition("them:")[2])
    assert words[:2] == ["run", "--config"]
    tree = parse_yaml(Path(words[2]).read_text(), words[2])
    again = stored(installed_plugins(), tree, parse_overrides(words[3:]))
    assert differing_settings(finished.configuration, again, installed_plugins())
    assert everything(finished.path) == before


def test_how_far_and_how_often_may_change(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    often = {
        "engine.log_every": 1,
        "engine.checkpoint_every": 1,
        "engine.keep_checkpoints": 1,
        "engine.device": "cpu",
    }
    resumed = run.resume(steps=6, overrides=often)
    assert [record["step"] for record in resumed.metrics] == [2, 4, 5, 6]
    assert resumed.configuration.engine.steps == 6
    assert gv.load(run.path).configuration.engine.log_every == 1


def test_a_finished_run_says_so_and_how_to_train_it_for_longer(finished: gv.Run) -> None:
    before = everything(finished.path)
    for steps in (None, 4, 3):
        with pytest.raises(gv.RunError, match="is finished: it has done its 4 steps") as raised:
            finished.resume(steps=steps)
        assert "engine.steps=8" in raised.value.hints[0]
    assert everything(finished.path) == before


def test_fewer_steps_than_are_done_are_not_called_a_finished_run(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    shutil.rmtree(run.path / "checkpoints" / "step-000004")
    with pytest.raises(gv.RunError, match="has done 2 steps, more than the 1 asked for") as raised:
        gv.load(run.path).resume(steps=1)
    assert "the 4 that it began with" in raised.value.hints[0]


def test_with_a_falling_learning_rate_the_end_cannot_be_moved(tmp_path: Path) -> None:
    run = small(tmp_path / "run", **{"optimizers.default.schedule": "cosine"})
    with pytest.raises(
        gv.ConfigurationError, match=r"engine\.steps \(a learning-rate schedule depends on it\)"
    ):
        run.resume(steps=9)


def test_records_after_the_checkpoint_are_logged_once(tmp_path: Path) -> None:
    """As after a crash: the log went on, the last checkpoint did not."""
    run = small(tmp_path / "run")
    expected = logged(run)
    shutil.rmtree(run.path / "checkpoints" / "step-000004")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 5}) + '\n{"step": 6, "cut sh')
    assert gv.load(run.path).step == 2
    assert logged(gv.load(run.path).resume()) == expected


def test_a_run_goes_on_from_its_newest_whole_checkpoint_and_says_which_it_passed_over(tmp_path: Path) -> None:
    run = small(tmp_path / "run", steps=6)
    expected = weights(run)
    damaged = run.path / "checkpoints" / "step-000006" / "state.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    _, preparation = prepare_resume(run.path)
    assert preparation.engine.step_index == 4
    (told,) = preparation.damage
    assert "step-000006" in told
    assert "passed over" in told
    with pytest.warns(UserWarning, match=r"passed over: .*step-000006/state\.safetensors is damaged"):
        resumed = gv.load(run.path, checkpoint=4).resume()
    assert weights(resumed) == expected


def test_where_no_checkpoint_is_whole_the_error_names_the_newest(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    for manifest in run.path.glob("checkpoints/*/manifest.json"):
        manifest.write_text("{")
    with pytest.raises(gv.RunError, match=r"step-000004/manifest\.json is damaged"):
        run.resume(steps=9)


def test_data_that_changed_on_disk_is_refused(tmp_path: Path) -> None:
    run = small(tmp_path / "run", steps=2)
    np.save(tmp_path / "x.npy", images(41))
    before = everything(run.path)
    with pytest.raises(gv.DataError, match=r"is not what .* was trained on: its count") as raised:
        run.resume(steps=4)
    assert "36 rows" in raised.value.hints[0]
    assert everything(run.path) == before


def test_a_table_whose_scaling_changed_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "table.npy", rows())
    run = gv.train(
        "vae", data=tmp_path / "table.npy", steps=1, out=tmp_path / "run", overrides={"engine.device": "cpu"}
    )
    np.save(tmp_path / "table.npy", rows() * 2)
    with pytest.raises(gv.DataError, match="units"):
        run.resume(steps=2)


def test_all_settings_that_differ_are_listed_with_what_they_were(finished: gv.Run) -> None:
    with pytest.raises(gv.ConfigurationError) as raised:
        finished.resume(steps=9, overrides={"objective.beta": 2, "engine.seed": 1, "engine.log_every": 7})
    listed = raised.value.message.partition("these differ: ")[2]
    assert listed == "objective.beta (1.0 → 2.0), engine.seed (0 → 1)."


def test_data_that_has_moved_is_named_and_must_be_the_same(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    (tmp_path / "moved").mkdir()
    (tmp_path / "x.npy").rename(tmp_path / "moved" / "y.npy")
    with pytest.raises(gv.DataError, match="there is no file"):
        run.resume(steps=6)
    np.save(tmp_path / "other.npy", images(36, seed=5)[::-1])
    with pytest.raises(gv.DataError, match=r"is not what .* was trained on: its count and values differ"):
        run.resume(steps=6, overrides={"data": str(tmp_path / "other.npy")})
    resumed = run.resume(steps=6, overrides={"data": str(tmp_path / "moved" / "y.npy")})
    whole = small(tmp_path / "whole", steps=6)
    assert weights(resumed) == weights(whole)
    assert gv.load(run.path).resume(steps=8).step == 8, "from now on it is found there"


def test_runtime_notes_are_told_since_they_round_otherwise(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    _, same_again = prepare_resume(run.path, layer={"engine": {"steps": 6}})
    assert same_again.warnings == ()
    manifest = json.loads((path := run.path / "checkpoints" / "step-000004" / "manifest.json").read_text())
    manifest["runtime"] |= {"torch": "2.0.0", "threads": 64}
    path.write_text(manifest_text(manifest))
    _, preparation = prepare_resume(run.path, layer={"engine": {"steps": 6}})
    (told,) = preparation.warnings
    assert told.startswith(
        "it goes on within rounding and not bit for bit: it was trained with torch 2.0.0, now "
    )
    assert "threads" not in told  # the run goes on with as many


ROUNDING = "within rounding and not bit for bit"
PARTS = "within rounding at best, and differently where rows fall into other parts"
OTHERWISE = "differently, and not within rounding"


@pytest.mark.parametrize(
    ("changes", "how"),
    [
        ({"threads": 64}, ROUNDING),
        ({"processes": 2, "rows_at_once": 64}, PARTS),
        ({"device": "NVIDIA H100"}, OTHERWISE),
        ({"precision": "bfloat16", "processes": 2}, OTHERWISE),
    ],
)
def test_a_note_says_how_a_run_goes_on_under_another_runtime(changes: dict[str, Any], how: str) -> None:
    training = engine(regression(), steps=1)
    (told,) = runtime_notes({"runtime": {**training.runtime(), **changes}}, training)
    assert told.startswith(f"it goes on {how}: it was trained with ")
    assert all(f"{name} {value}, now " in told for name, value in changes.items() if name != "rows_at_once")


def test_a_checkpoint_without_a_part_of_its_runtime_is_resumed_without_a_warning(tmp_path: Path) -> None:
    run = small(tmp_path / "run")
    manifest = json.loads((path := run.path / "checkpoints" / "step-000004" / "manifest.json").read_text())
    del manifest["runtime"]["precision"]
    path.write_text(manifest_text(manifest))
    _, preparation = prepare_resume(run.path, layer={"engine": {"steps": 6}})
    assert preparation.warnings == ()


def test_checkpoints_may_be_measured_more_rarely_than_they_are_written(tmp_path: Path) -> None:
    run = small(tmp_path / "run", steps=7, **{"engine.checkpoint_every": 1, "engine.keep_checkpoints": 9,
                                              "engine.evaluate_every": 3})  # fmt: skip
    measured = {step: bool(manifest["results"]) for step, manifest in run.directory.manifests().items()}
    assert [step for step, is_measured in measured.items() if is_measured] == [3, 6, 7]
    every = small(tmp_path / "every", steps=7)
    assert weights(run) == weights(every)
    assert run.results == every.results


class KilledBeforeTheEnd(gv.Callback):
    """Dies after the last step is on disk, at the first or the second record of the last step."""

    def __init__(self, steps: int, *, fitted: bool) -> None:
        self.steps = steps
        self.fitted = fitted

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if self.fitted and "prior/log_likelihood" in record:
            raise KeyboardInterrupt

    def on_checkpoint(self, training: gv.TrainingView) -> None:
        if not self.fitted and training.saved_step == self.steps:
            raise KeyboardInterrupt


@pytest.mark.parametrize("fitted", [False, True])
def test_a_run_that_died_between_its_last_step_and_its_end_resumes_and_does_its_end(
    fitted: bool, tmp_path: Path
) -> None:
    """After the checkpoint before the prior's fit, or after its fit is logged: its end is done, and logged, once."""
    whole = run_recipe("ae/ae", tmp_path / "whole", FIRST)
    with pytest.raises(KeyboardInterrupt):
        gv.train("ae", steps=FIRST, out=tmp_path / "run", overrides=SETTINGS,
                 callbacks=[KilledBeforeTheEnd(FIRST, fitted=fitted)])  # fmt: skip
    killed = gv.load(tmp_path / "run")
    assert killed.step == FIRST
    assert not killed.directory.manifests()[FIRST]["complete"]
    assert not killed.model.prior.fitted  # pyright: ignore
    resumed = killed.resume()
    assert resumed.directory.manifests()[FIRST]["complete"]
    assert weights(resumed) == weights(whole)
    assert logged(resumed) == logged(whole)
    assert sum("prior/log_likelihood" in record for record in logged(resumed)) == 1
    assert resumed.results == whole.results
    with pytest.raises(gv.RunError, match="is finished"):
        resumed.resume()
