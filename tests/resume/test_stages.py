"""Stages: one model trained by several objectives in turn, resumed bit for bit inside and across them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import Watcher, narrow_settings, state

import ganvae_core as gv
from ganvae_core.cli.run_files import outline
from ganvae_core.engine.loop import Engine
from ganvae_core.engine.processes import World
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.manifests import checkpoint_folders
from ganvae_core.types import COST_OF_TRAINING

pytest.importorskip("zuko")

FIRST, SECOND = 6, 5
SETTINGS: dict[str, Any] = {
    "engine.steps": FIRST,
    "engine.batch_size": 32,
    "engine.device": "cpu",
    "engine.log_every": 1,
    "engine.samples_every": 0,
    "engine.checkpoint_every": 4,
    "engine.keep_checkpoints": 9,
    "latent.shape": [4],
    "generator.hidden": [8],
    "encoder.hidden": [8],
    "prior": {"name": "flow"},
    "stages": [{"objective": "prior-likelihood", "steps": SECOND, "train": ["prior"]}],
}


class Interrupt(gv.Callback):
    """Interrupts training after a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: gv.TrainingView, record: Any) -> None:
        if training.step == self.step:
            training.interrupt()


def train(out: Path, *callbacks: gv.Callback, **changes: Any) -> gv.Run:
    return gv.train("ae", overrides={**SETTINGS, **changes}, out=out, callbacks=callbacks)


def tensors(run: Path, step: int) -> dict[str, torch.Tensor]:
    checkpoint = read_checkpoint(checkpoint_folders(run / "checkpoints")[step])
    return {**{f"model.{name}": value for name, value in checkpoint.model().items()}, **checkpoint.state()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("stages") / "whole").path


def test_each_stage_trains_what_it_says_and_freezes_the_rest(whole: Path) -> None:
    before, after = tensors(whole, FIRST), tensors(whole, FIRST + SECOND)
    networks = [name for name in before if name.startswith(("model.generator.", "model.encoder."))]
    assert networks
    assert all(torch.equal(before[name], after[name]) for name in networks), "the averaged autoencoder stays"
    prior = [
        name
        for name, value in before.items()
        if name.startswith("model.prior.") and value.is_floating_point()
    ]
    assert any(not torch.equal(before[name], after[name]) for name in prior)


def test_the_second_stage_learns_the_codes(tmp_path: Path) -> None:
    watcher = Watcher()
    train(tmp_path / "run", watcher, **{"engine.steps": 50, "stages": [
        {"objective": "prior-likelihood", "steps": 150, "train": ["prior"]}]})  # fmt: skip
    losses = [record["prior/loss"] for record in watcher.records if "prior/loss" in record]
    assert losses[-1] < losses[1] - 0.5


@pytest.mark.parametrize("step", [2, FIRST, FIRST + 3])
def test_a_run_resumed_inside_or_across_stages_equals_an_uninterrupted_one(
    step: int, whole: Path, tmp_path: Path
) -> None:
    interrupted = train(tmp_path / "run", Interrupt(step))
    assert interrupted.step == step
    assert not outline(interrupted.directory).finished
    resumed = interrupted.resume()
    assert resumed.step == FIRST + SECOND
    assert outline(resumed.directory).finished
    assert equal(whole, resumed.path, FIRST + SECOND)
    shutil.rmtree(resumed.directory.checkpoints)
    assert not outline(resumed.directory).finished


def equal(first: Path, second: Path, step: int) -> bool:
    """Whether two runs have the same tensors at a step, bit for bit."""
    expected, found = tensors(first, step), tensors(second, step)
    return expected.keys() == found.keys() and all(
        torch.equal(expected[name], found[name]) for name in expected
    )


class Counter(gv.Callback):
    """Counts logging intervals, also of the process before."""

    def __init__(self) -> None:
        self.seen = 0

    def on_step(self, training: gv.TrainingView, record: Any) -> None:
        self.seen += 1

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Any) -> None:
        self.seen = state["seen"]


@pytest.mark.parametrize("step", [3, FIRST, FIRST + 3])
def test_states_of_callbacks_and_sums_of_the_log_pass_a_stop_and_the_end_of_a_stage(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop after step 3 and 9 is between two lines of the log; that after 6 is between two stages."""
    sparse = {"engine.log_every": 5, "engine.checkpoint_every": 10}
    counter, resumed_counter = Counter(), Counter()
    whole = train(tmp_path / "whole", counter, **sparse)
    make_step = Engine.step

    def interrupted(self: Engine, generator: torch.Generator) -> None:
        make_step(self, generator)
        if self.step_index == step:
            self.interrupt()

    with monkeypatch.context() as patched:
        patched.setattr(Engine, "step", interrupted)
        run = train(tmp_path / "run", Counter(), **sparse)
    assert run.step == step
    run.resume(callbacks=[resumed_counter])
    assert without_speed(run.path) == without_speed(whole.path)
    assert [record["step"] for record in whole.metrics] == [5, FIRST, 10, FIRST + SECOND]
    assert resumed_counter.seen == counter.seen == 4


class EndStage(gv.Callback):
    """Ends the first stage early, and dies when the second begins."""

    def on_step(self, training: gv.TrainingView, record: Any) -> None:
        if training.step == 3:
            training.stop("it is enough")

    def on_start(self, training: gv.TrainingView) -> None:
        if training.stage == 1:
            raise KeyboardInterrupt


def test_a_stage_that_was_ended_early_is_not_trained_further_after_a_kill(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", EndStage())
    killed = gv.load(tmp_path / "run")
    assert killed.step == 3
    assert killed.resume().step == 3 + SECOND


MIXTURE: dict[str, Any] = {
    "prior": {"name": "gaussian-mixture", "components": 2},
    "stages": [{"objective": "ae/autoencoder", "steps": 3}],
}


class Die(gv.Callback):
    """Dies when the prior was fitted at a step, before that is saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: gv.TrainingView, record: Any) -> None:
        if training.step == self.step and "prior/log_likelihood" in record:
            raise KeyboardInterrupt


def test_a_prior_is_fitted_after_each_stage_and_resumes_in_a_later_one(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", **MIXTURE)
    run = train(tmp_path / "run", Interrupt(FIRST + 1), **MIXTURE)
    with pytest.raises(KeyboardInterrupt):
        run.resume(callbacks=[Die(FIRST + 3)])
    assert not outline(run.directory).finished
    resumed = gv.load(run.path).resume()
    assert equal(whole.path, resumed.path, FIRST + 3)
    assert without_speed(resumed.path) == without_speed(whole.path)
    fits = [record["step"] for record in resumed.metrics if "prior/log_likelihood" in record]
    assert fits == [FIRST, FIRST + 3]


def test_an_interrupt_before_a_fit_leaves_the_fit_for_later(tmp_path: Path) -> None:
    run = train(tmp_path / "run", Interrupt(FIRST), **{**MIXTURE, "stages": []})
    manifest = run.directory.manifests()[FIRST]
    assert (manifest["ended"], manifest["complete"]) == (True, False)
    with pytest.raises(gv.NotFittedError):
        run.sample(1)
    assert len(run.resume().sample(1)) == 1


def test_all_ranks_stop_at_the_end_of_a_stage_when_one_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World, "exchange", lambda self, message: [message, True])  # pyright: ignore
    assert train(tmp_path / "run").step == FIRST


def test_no_samples_are_drawn_before_the_stage_that_trains_the_prior(tmp_path: Path) -> None:
    changes = {"train": ["generator", "encoder"], "engine.samples_every": 3}
    run = train(tmp_path / "run", **changes)
    drawn = {kind: sorted(path.name for path in (run.path / kind).glob("*.png"))
             for kind in ("samples", "reconstructions")}  # fmt: skip
    assert drawn["samples"] == ["step-000009.png", "step-000011.png"]
    assert drawn["reconstructions"] == [f"step-{step:06d}.png" for step in (3, 6, 9, 11)]
    with pytest.raises(
        gv.NotFittedError, match=r"cannot be sampled yet: its prior is fitted or trained after step 6"
    ):
        gv.load(run.path, checkpoint=FIRST).sample(1)


def test_the_last_stage_can_be_lengthened_and_those_before_cannot(whole: Path, tmp_path: Path) -> None:
    run = train(tmp_path / "run")
    with pytest.raises(gv.RunError, match="has done its 11 steps") as raised:
        run.resume()
    assert f"ganvae run --resume {run.path} stages.0.steps=10" in str(raised.value)
    with pytest.raises(gv.ConfigurationError, match="those of the first stage") as refused:
        run.resume(steps=FIRST + 5)
    assert "stages.0.steps=N" in str(refused.value)
    longer = run.resume(overrides={"stages.0.steps": SECOND + 2})
    stages = [{"objective": "prior-likelihood", "steps": SECOND + 2, "train": ["prior"]}]
    assert equal(train(tmp_path / "long", stages=stages).path, longer.path, FIRST + SECOND + 2)


def test_other_stages_are_named_by_their_settings(whole: Path) -> None:
    with pytest.raises(gv.ConfigurationError, match=r"stages.0.train \(\['prior'\] → null\)"):
        gv.load(whole).resume(overrides={"stages": [{"objective": "prior-likelihood", "steps": SECOND}]})


@pytest.mark.parametrize("changes", [
    {"train": ["prior"], "stages": []},
    {"stages": [{"objective": "ae/autoencoder", "steps": 2, "train": ["prior"]}]},
])  # fmt: skip
def test_an_objective_that_does_not_train_what_is_asked_is_refused_before_the_first_step(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(
        gv.ConfigurationError, match=r"train=\[prior\]: 'ae/autoencoder' does not train the prior"
    ):
        train(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def without_speed(run: Path) -> list[dict[str, Any]]:
    records = gv.load(run).metrics
    return [
        {name: value for name, value in record.items() if name not in COST_OF_TRAINING} for record in records
    ]


def test_a_new_run_begins_with_the_weights_of_another_and_trains_a_new_prior(
    whole: Path, tmp_path: Path
) -> None:
    new = train(tmp_path / "run", **{
        "from.path": str(whole), "objective": "prior-likelihood", "train": ["prior"], "stages": []})  # fmt: skip
    before, after = state(gv.load(whole).model), state(new.model)
    networks = [name for name in before if name.startswith(("generator.", "encoder."))]
    assert all(torch.equal(before[name], after[name]) for name in networks)
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("prior."))


def test_a_run_from_another_with_unfit_shapes_names_the_tensors(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(gv.ConfigurationError, match=r"its generator has .* \(8, 4\) there and \(9, 4\) here"):
        train(tmp_path / "run", **{"from.path": str(whole), "generator.hidden": [9]})


def test_another_network_keeps_its_own_weights_and_that_is_said(whole: Path, tmp_path: Path) -> None:
    from ganvae_core.config.configuration import configure
    from ganvae_core.config.layers import nest
    from ganvae_core.plugins import installed_plugins
    from ganvae_core.runs.preparation import prepare

    changes = {**SETTINGS, "from.path": str(whole), "encoder.hidden": [8, 8]}
    catalogue = installed_plugins()
    preparation = prepare(configure(catalogue, "ae", None, [nest(list(changes.items()))]), catalogue)
    assert [note for note in preparation.notes if note.startswith("encoder: its parameters differ")]


def test_a_fitted_prior_may_change_until_it_is_fitted(tmp_path: Path) -> None:
    changes = {"prior": {"name": "gaussian-mixture", "components": 2}, "stages": []}
    run = train(tmp_path / "run", Interrupt(3), **changes)
    with pytest.raises(gv.NotFittedError):
        run.model.sample(1)
    resumed = run.resume(overrides={"prior.components": 3})
    assert resumed.configuration.components["prior"].options["components"] == 3
    assert len(resumed.sample(2)) == 2


@pytest.mark.parametrize(
    "recipe",
    ["ae/latent-flow", "ae/flow", "ae/vq-vae", "ae/fsq-vae", "ae/adversarial-ae", "table-vae/table-vae"],
)
def test_recipes_with_a_prior_of_their_own_go_on_bit_for_bit_in_either_stage(
    recipe: str, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        **{key: value for key, value in SETTINGS.items() if key.startswith("engine.")},
        **narrow_settings(recipe),
        "engine.steps": 3,
        "stages": [{"objective": "prior-likelihood", "steps": 3, "train": ["prior"]}],
    }
    plugin, _, name = recipe.partition("/")
    whole = gv.train(plugin, recipe=name, out=tmp_path / "whole", overrides=changes)
    for step in (2, 5):
        out = tmp_path / f"cut-{step}"
        cut = gv.train(plugin, recipe=name, out=out, overrides=changes, callbacks=[Interrupt(step)])
        assert cut.step == step
        resumed = cut.resume()
        assert resumed.step == whole.step == 6
        assert equal(whole.path, resumed.path, 6)
