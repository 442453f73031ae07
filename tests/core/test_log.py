"""Averages of the log do not depend on where training was stopped in between."""

from __future__ import annotations

import json

import pytest
import torch

import ganvae_core as gv
from ganvae_core.engine.log import StepLog
from ganvae_core.store.manifests import best_step


def added(log: StepLog, steps: range) -> StepLog:
    """Losses of some steps, of different sizes."""
    for step in steps:
        value = torch.tensor(0.1 * 10.0 ** (step % 5))
        term = torch.inf * value if step == 20 else value / 3  # a term that is only logged may be infinite
        log.add(step, "phase", gv.Loss(value, {"term": term}), torch.tensor(1.0 / (step + 1)))
    return log


@pytest.mark.parametrize("stop", [0, 1, 4, 17, 29])
def test_sums_pass_a_checkpoint_exactly(stop: int) -> None:
    whole = added(StepLog(), range(30))
    resumed = StepLog()
    resumed.restore(json.loads(json.dumps(added(StepLog(), range(stop)).state())))
    assert added(resumed, range(stop, 30)).read() == whole.read()
    assert resumed.state() == {}, "they are cleared when they are read"


def test_the_best_checkpoint_is_of_the_last_stage_and_has_a_fitted_prior() -> None:
    def manifest(step: int, value: float, **rest: int) -> dict[str, object]:
        return {"step": step, "results": {"error": value}, "judged_by": "error", "better": "lower", **rest}

    first, second, third = manifest(1, 0.1), manifest(2, 0.3, stage=1), manifest(3, 0.4, stage=1)
    assert best_step({1: first}) == 1
    assert best_step({1: first, 2: second, 3: third}) == 2
    assert best_step({1: first, 2: manifest(2, 0.3, fitted_step=2)}) == 2
