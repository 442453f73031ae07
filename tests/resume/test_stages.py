"""Stages: one model trained by several objectives in turn, resumed bit for bit inside and across them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toys import Watcher, state

import ganvae_core as gv
from ganvae_core.store.checkpoints import read_checkpoint
from ganvae_core.store.manifests import checkpoint_folders

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
    "stages": [{"objective": "ae/prior-likelihood", "steps": SECOND, "train": ["prior"]}],
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
        {"objective": "ae/prior-likelihood", "steps": 150, "train": ["prior"]}]})  # fmt: skip
    losses = [record["prior/loss"] for record in watcher.records if "prior/loss" in record]
    assert losses[-1] < losses[1] - 0.5


@pytest.mark.parametrize("step", [2, FIRST, FIRST + 1, FIRST + 4])
def test_a_run_resumed_inside_or_across_stages_equals_an_uninterrupted_one(
    step: int, whole: Path, tmp_path: Path
) -> None:
    interrupted = train(tmp_path / "run", Interrupt(step))
    assert interrupted.step == step
    resumed = interrupted.resume()
    assert resumed.step == FIRST + SECOND
    expected, found = tensors(whole, FIRST + SECOND), tensors(resumed.path, FIRST + SECOND)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def without_speed(run: Path) -> list[dict[str, Any]]:
    records = gv.load(run).metrics
    return [
        {name: value for name, value in record.items() if name != "samples_per_second"} for record in records
    ]


def test_the_log_of_a_resumed_run_is_that_of_an_uninterrupted_one(whole: Path, tmp_path: Path) -> None:
    run = train(tmp_path / "run", Interrupt(FIRST + 2)).resume()
    assert without_speed(run.path) == without_speed(whole)
    assert [record["step"] for record in run.metrics] == list(range(1, FIRST + SECOND + 1))


def test_a_finished_run_with_stages_names_a_new_run_from_it(whole: Path) -> None:
    with pytest.raises(gv.RunError, match="has done the 11 steps of its stages") as raised:
        gv.load(whole).resume()
    assert "ganvae run --from" in str(raised.value)


def test_the_steps_of_a_complete_stage_cannot_be_changed(tmp_path: Path) -> None:
    run = train(tmp_path / "run", Interrupt(FIRST + 2))
    with pytest.raises(gv.ConfigurationError, match="those of the first stage"):
        run.resume(steps=FIRST + 5)


def test_a_new_run_begins_with_the_weights_of_another_and_trains_a_new_prior(
    whole: Path, tmp_path: Path
) -> None:
    new = train(tmp_path / "run", **{
        "from.path": str(whole), "objective": "ae/prior-likelihood", "train": ["prior"], "stages": []})  # fmt: skip
    before, after = state(gv.load(whole).model), state(new.model)
    networks = [name for name in before if name.startswith(("generator.", "encoder."))]
    assert all(torch.equal(before[name], after[name]) for name in networks)
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("prior."))


def test_a_run_from_another_with_unfit_shapes_names_the_tensors(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(gv.RunError, match="does not fit") as raised:
        train(tmp_path / "run", **{"from.path": str(whole), "generator.hidden": [9]})
    assert "has shape" in str(raised.value)


def test_another_network_keeps_its_own_weights_and_that_is_said(whole: Path, tmp_path: Path) -> None:
    from ganvae_core.config.configuration import configure
    from ganvae_core.config.layers import nest
    from ganvae_core.plugins import installed_plugins
    from ganvae_core.runs.preparation import prepare

    changes = {**SETTINGS, "from.path": str(whole), "encoder.hidden": [8, 8]}
    catalogue = installed_plugins()
    preparation = prepare(configure(catalogue, "ae", None, [nest(list(changes.items()))]), catalogue)
    assert [note for note in preparation.notes if note.startswith("encoder: its parameters are others")]


def test_a_fitted_prior_may_change_until_it_is_fitted(tmp_path: Path) -> None:
    changes = {"prior": {"name": "gaussian-mixture", "components": 2}, "stages": []}
    run = train(tmp_path / "run", Interrupt(3), **changes)
    with pytest.raises(gv.NotFittedError):
        run.model.sample(1)
    resumed = run.resume(overrides={"prior.components": 3})
    assert resumed.configuration.components["prior"].options["components"] == 3
    assert len(resumed.sample(2)) == 2
