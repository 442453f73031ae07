"""What went wrong and was mended is part of a run: it is resumed as if it had not been stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import ganvae_core as gv
from ganvae_core.runs.resuming import prepare_resume
from ganvae_core.store.manifests import manifest_text

DIVERGING: dict[str, Any] = {
    "optimizers.default.name": "sgd", "optimizers.default.lr": 1.5, "engine.batch_size": 64,
    "generator.hidden": [16], "encoder.hidden": [16], "engine.device": "cpu", "engine.precision": "fp32",
    "engine.checkpoint_every": 4, "engine.log_every": 2, "engine.on_nonfinite": "rollback",
}  # fmt: skip
"""A learning rate at which a VAE does not stay finite; it goes back four times in 14 steps."""


def manifest_of(run: gv.Run) -> dict[str, Any]:
    """Of the newest checkpoint."""
    return next(reversed(run.directory.manifests().values()))


class StopAt(gv.Callback):
    """Asks for a stop at a step, the first time that training is there after it has gone back so often."""

    def __init__(self, step: int, rollbacks: int = 0) -> None:
        self.step = step
        self.rollbacks = rollbacks

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if training.step == self.step and training.state.recovery.rollbacks >= self.rollbacks:
            training.interrupt()


def run(out: Path, steps: int = 14, callbacks: Any = (), **changes: Any) -> gv.Run:
    return gv.train("vae", steps=steps, out=out, overrides={**DIVERGING, **changes}, callbacks=callbacks)


def logged(of: gv.Run) -> list[dict[str, Any]]:
    """``metrics.jsonl`` without what depends on the clock."""
    return [
        {key: value for key, value in record.items() if key != "samples_per_second"} for record in of.metrics
    ]


def weights(of: gv.Run) -> dict[str, bytes]:
    folder = of.path / "checkpoints" / f"step-{of.step:06d}"
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "state.safetensors")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> gv.Run:
    return run(tmp_path_factory.mktemp("whole") / "run")


def test_a_run_that_went_back_says_so_and_its_log_has_each_step_once(whole: gv.Run) -> None:
    recovery = manifest_of(whole)["recovery"]
    assert (recovery["rollbacks"], recovery["learning_rate_factor"]) == (4, 1 / 16)
    assert [record["step"] for record in whole.metrics] == [2, 4, 6, 8, 10, 12, 14]
    texts = [text for record in whole.metrics for text in record.get("warnings", [])]
    # The first two were said in a record that the third undid.
    assert [text[-15:] for text in texts] == [" (3 of 5 times)", " (4 of 5 times)"]
    assert [record["returned_to"] for record in whole.metrics if "returned_to" in record] == [4, 12]


@pytest.mark.parametrize(("step", "rollbacks"), [(2, 0), (6, 0), (6, 3), (12, 3)])
def test_stopped_and_resumed_it_ends_bit_for_bit_where_it_would_have(
    step: int, rollbacks: int, whole: gv.Run, tmp_path: Path
) -> None:
    stopped = run(tmp_path / "run", callbacks=[StopAt(step, rollbacks)], **{"engine.keep_checkpoints": 1})
    assert stopped.step == step
    resumed = stopped.resume()
    assert weights(resumed) == weights(whole)
    assert logged(resumed) == logged(whole)
    assert manifest_of(resumed)["recovery"] == manifest_of(whole)["recovery"]


@pytest.mark.parametrize("step", [0, 8])
def test_killed_and_resumed_it_ends_bit_for_bit_where_it_would_have(
    step: int, whole: gv.Run, tmp_path: Path
) -> None:
    """A kill leaves the checkpoint before it, whose learning rates were larger, and a log that went on."""
    run(tmp_path / "run", **{"engine.keep_checkpoints": 9})
    for folder in (tmp_path / "run" / "checkpoints").iterdir():
        if int(folder.name[5:]) > step:
            shutil.rmtree(folder)
    resumed = gv.load(tmp_path / "run").resume()
    assert weights(resumed) == weights(whole)
    assert logged(resumed) == logged(whole)


def test_trained_for_longer_it_goes_back_to_where_a_longer_run_does(whole: gv.Run, tmp_path: Path) -> None:
    """Its last checkpoint was not due: the checkpoint that was due stays beside it."""
    shorter = run(tmp_path / "run", steps=13, **{"engine.keep_checkpoints": 1, "engine.log_every": 14})
    assert manifest_of(shorter)["recovery"]["rollbacks"] == 3
    longer = shorter.resume(steps=14)
    assert manifest_of(longer)["recovery"]["rollbacks"] == 4
    assert weights(longer) == weights(whole)


def test_who_goes_on_is_told_what_happened_before(whole: gv.Run, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    _, preparation = prepare_resume(tmp_path / "run", layer={"engine": {"steps": 20}})
    assert (
        "training went back 4 times before; learning rates are 1/16 of the configuration's"
        in preparation.notes
    )


def test_how_often_checkpoints_are_due_decides_where_training_goes_back_to(tmp_path: Path) -> None:
    stopped = run(tmp_path / "run", callbacks=[StopAt(2)])
    with pytest.raises(gv.ConfigurationError, match=r"these differ: engine\.checkpoint_every"):
        stopped.resume(overrides={"engine.checkpoint_every": 3})


@pytest.mark.parametrize("policy", ["rollback", "skip"])
def test_a_run_that_stopped_goes_on_under_another_policy_as_if_it_had_been_its_own(
    policy: str, whole: gv.Run, tmp_path: Path
) -> None:
    steps, changes = 14 if policy == "rollback" else 9, {"engine.on_nonfinite": policy}
    own = run(tmp_path / "own", steps=steps, **changes)
    with pytest.raises(gv.TrainingError, match="not finite"):
        run(tmp_path / "run", steps=steps, **{**changes, "engine.on_nonfinite": "stop"})
    resumed = gv.load(tmp_path / "run").resume(overrides={"engine.on_nonfinite": policy})
    assert weights(resumed) == weights(own)
    assert logged(resumed) == logged(own)
    assert gv.load(resumed.path).configuration.engine.on_nonfinite == policy


def test_a_run_that_has_dropped_or_undone_something_keeps_its_policy(whole: gv.Run, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    for policy in ("stop", "skip"):
        with pytest.raises(gv.ConfigurationError, match="with 'rollback'") as raised:
            gv.load(tmp_path / "run").resume(steps=20, overrides={"engine.on_nonfinite": policy})
        assert f"engine.on_nonfinite={policy}" in raised.value.hints[0]


@pytest.mark.parametrize(
    "recovery",
    ["often", {"rollbacks": -1}, {"micro_batch_size": 0}, {"learning_rate_factor": 0}, {"more": 1}],
)
def test_a_manifest_that_says_what_cannot_be_is_refused(recovery: Any, tmp_path: Path) -> None:
    stopped = run(tmp_path / "run", callbacks=[StopAt(2)])
    (path,) = stopped.path.glob("checkpoints/step-000002/manifest.json")
    manifest = json.loads(path.read_text())
    path.write_text(manifest_text({**manifest, "recovery": recovery}))
    with pytest.raises(gv.RunError, match="does not hold what a run writes there"):
        stopped.resume()
