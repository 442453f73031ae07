"""Dropped updates are part of the state of a run: it is resumed as if it had not been stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

import ganvae_core as gv
from ganvae_core.runs.resuming import prepare_resume, resume
from ganvae_core.store.manifests import manifest_text
from ganvae_core.types import COST_OF_TRAINING

DIVERGING: dict[str, Any] = {
    "optimizers.default.name": "sgd", "optimizers.default.lr": 1.5, "engine.batch_size": 64,
    "generator.hidden": [16], "encoder.hidden": [16], "engine.device": "cpu", "engine.precision": "fp32",
    "engine.checkpoint_every": 4, "engine.log_every": 2, "engine.on_nonfinite": "skip", "metrics": [],
}  # fmt: skip
"""A learning rate at which a VAE does not stay finite: updates are dropped from step 8 on."""


def manifest_of(run: gv.Run) -> dict[str, Any]:
    """Of the newest checkpoint."""
    return next(reversed(run.directory.manifests().values()))


class StopAt(gv.Callback):
    """Asks for a stop at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
        if training.step == self.step:
            training.interrupt()


def run(out: Path, steps: int = 14, callbacks: Any = (), **changes: Any) -> gv.Run:
    return gv.train("vae", steps=steps, out=out, overrides={**DIVERGING, **changes}, callbacks=callbacks)


def logged(of: gv.Run) -> list[dict[str, Any]]:
    """``metrics.jsonl`` without what depends on the clock."""
    return [
        {key: value for key, value in record.items() if key not in COST_OF_TRAINING} for record in of.metrics
    ]


def weights(of: gv.Run) -> dict[str, bytes]:
    folder = of.path / "checkpoints" / f"step-{of.step:06d}"
    return {name: (folder / name).read_bytes() for name in ("model.safetensors", "state.safetensors")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> gv.Run:
    return run(tmp_path_factory.mktemp("whole") / "run")


def same_records(one: gv.Run, other: gv.Run) -> bool:
    """Whether two logs are equal; NaN, which a dropped update logs, equals NaN."""
    return json.dumps(logged(one)) == json.dumps(logged(other))


def test_a_run_that_dropped_updates_says_so_and_its_log_has_each_step_once(whole: gv.Run) -> None:
    recovery = manifest_of(whole)["recovery"]
    assert recovery["dropped"] == recovery["dropped_in_a_row"]
    assert [record["step"] for record in whole.metrics] == [2, 4, 6, 8, 10, 12, 14]
    assert (
        sum(record.get("elbo/dropped_updates", 0) for record in whole.metrics)
        == recovery["dropped"]["elbo"]
        > 2
    )
    texts = [text for record in whole.metrics for text in record.get("warnings", [])]
    assert texts
    assert all("dropped, not finite" in text for text in texts)


@pytest.mark.parametrize("step", [2, 6, 10, 12])
def test_stopped_and_resumed_it_ends_bit_for_bit_where_it_would_have(
    step: int, whole: gv.Run, tmp_path: Path
) -> None:
    stopped = run(tmp_path / "run", callbacks=[StopAt(step)], **{"engine.keep_checkpoints": 1})
    assert stopped.step == step
    resumed = stopped.resume()
    assert weights(resumed) == weights(whole)
    assert same_records(resumed, whole)
    assert manifest_of(resumed)["recovery"] == manifest_of(whole)["recovery"]


@pytest.mark.parametrize("step", [0, 8])
def test_killed_and_resumed_it_ends_bit_for_bit_where_it_would_have(
    step: int, whole: gv.Run, tmp_path: Path
) -> None:
    """A kill leaves the checkpoint before it, and a log that went on."""
    run(tmp_path / "run", **{"engine.keep_checkpoints": 9})
    for folder in (tmp_path / "run" / "checkpoints").iterdir():
        if int(folder.name[5:]) > step:
            shutil.rmtree(folder)
    with nullcontext() if step else pytest.warns(UserWarning, match="so it begins anew"):
        resumed = gv.load(resume(tmp_path / "run"))
    assert weights(resumed) == weights(whole)
    assert same_records(resumed, whole)


def test_who_goes_on_is_told_what_happened_before(whole: gv.Run, tmp_path: Path) -> None:
    shutil.copytree(whole.path, tmp_path / "run")
    _, preparation = prepare_resume(tmp_path / "run", layer={"engine": {"steps": 20}})
    dropped = manifest_of(whole)["recovery"]["dropped"]["elbo"]
    assert f"{dropped} updates of phase 'elbo' were dropped before, not finite" in preparation.notes


def test_a_run_that_stopped_goes_on_under_the_other_policy_as_if_it_had_been_its_own(
    whole: gv.Run, tmp_path: Path
) -> None:
    with pytest.raises(gv.TrainingError, match="not finite"):
        run(tmp_path / "run", 14, (), **{"engine.on_nonfinite": "stop"})
    resumed = gv.load(tmp_path / "run").resume(overrides={"engine.on_nonfinite": "skip"})
    assert weights(resumed) == weights(whole)
    assert same_records(resumed, whole)
    assert gv.load(resumed.path).configuration.engine.on_nonfinite == "skip"


def change_recovery(of: gv.Run, recovery: Any) -> None:
    path = of.path / "checkpoints" / f"step-{of.step:06d}" / "manifest.json"
    path.write_text(manifest_text({**json.loads(path.read_text()), "recovery": recovery}))


@pytest.mark.parametrize(
    "recovery", ["often", {"micro_batch_size": -1}, {"dropped": {"elbo": "x"}}, {"dropped": 3}, {"more": 1}]
)
def test_a_manifest_that_says_what_cannot_be_is_refused(recovery: Any, tmp_path: Path) -> None:
    stopped = run(tmp_path / "run", callbacks=[StopAt(2)])
    change_recovery(stopped, recovery)
    with pytest.raises(gv.RunError, match="is not what a run writes there"):
        stopped.resume()
