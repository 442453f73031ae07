"""Two processes train what one does, and end alike whatever happens."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from cases import EQUAL, FAIL, SHIPPED, UNCOUPLED, normalised, outcome
from torch import Tensor
from toys import images, in_float64

import ganvae_core as gv
from ganvae_core.store.checkpoints import read_checkpoint, read_manifest

RTOL, ATOL = 1e-9, 1e-12


def of_rank(folder: Path, name: str, rank: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    place = folder / name.replace("/", "-")
    said = json.loads((place / f"{rank}.json").read_text())
    return safetensors.torch.load_file(place / f"{rank}.safetensors"), said


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


@pytest.mark.parametrize("name", list(EQUAL))
def test_two_processes_train_what_one_does_in_two_micro_batches(name: str, together: Path) -> None:
    make, _, changes = EQUAL[name]
    expected, there = outcome(make, changes)
    found, said = of_rank(together, name, 0)
    assert there["error"] == said["error"] == ""
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(
            found[key], value, rtol=RTOL, atol=ATOL, msg=lambda text, key=key: f"{key}: {text}"
        )
    assert [list(record) for record in said["records"]] == [list(record) for record in there["records"]]
    for record, other in zip(said["records"], there["records"], strict=True):
        assert record == pytest.approx(other, rel=1e-6)  # the log is float32
    assert said["events"] == there["events"]


def test_recipes_are_compared_without_what_ties_rows_together() -> None:
    """So that the comparison says something: nothing in these engines is left that couples rows."""
    for recipe in UNCOUPLED:
        make, _, changes = EQUAL[f"uncoupled {recipe}"]
        training = make(**changes)
        assert not any(prepared.couples_rows for prepared in training.phases), recipe


@pytest.mark.parametrize("name", [*SHIPPED, *EQUAL, "normalised", "stops", "asked on rank 1"])
def test_ranks_end_alike_bit_for_bit(name: str, together: Path) -> None:
    first, said = of_rank(together, name, 0)
    second, other = of_rank(together, name, 1)
    assert_same(first, second)
    assert said["step"] == other["step"]
    assert said["error"] == other["error"] == ""
    assert said["events"]
    assert not other["events"], "callbacks are those of rank 0"


def test_running_statistics_are_averaged_over_processes(together: Path) -> None:
    found, _ = of_rank(together, "normalised", 0)
    with in_float64():
        training = normalised(micro_batch_size=5)
    layers = training.objective.model.generator
    (norm,) = [module for module in layers.modules() if isinstance(module, torch.nn.BatchNorm1d)]
    means: list[Tensor] = []
    norm.register_forward_hook(lambda module, inputs, _: means.append(inputs[0].detach()))
    with in_float64():
        training.fit()
    inputs = means[0]  # (9, width), of which the first rank has five rows
    (name,) = [key for key in found if key.startswith("objective") and key.endswith("running_mean")]
    expected = 0.1 * (5 * inputs[:5].mean(0) + 4 * inputs[5:].mean(0)) / 9
    torch.testing.assert_close(found[name], expected)
    (variance,) = [key for key in found if key.startswith("objective") and key.endswith("running_var")]
    expected = 0.9 + 0.1 * (5 * inputs[:5].var(0) + 4 * inputs[5:].var(0)) / 9
    torch.testing.assert_close(found[variance], expected)
    assert torch.equal(
        found["objective.model.generator.mask"], torch.tensor([-torch.inf, 0.1, 0.3], dtype=torch.float64)
    )
    assert torch.equal(found["objective.never_moves"], torch.tensor([torch.inf, 0.1], dtype=torch.float64))


def test_a_callback_stops_all_ranks_where_it_would_stop_one(together: Path) -> None:
    assert [of_rank(together, "stops", rank)[1]["step"] for rank in (0, 1)] == [3, 3]


def test_what_one_rank_is_asked_all_do_after_the_same_step(together: Path) -> None:
    assert [of_rank(together, "asked on rank 1", rank)[1]["step"] for rank in (0, 1)] == [3, 3]


def test_a_number_that_is_not_finite_on_one_rank_stops_all_before_it_reaches_the_weights(
    together: Path,
) -> None:
    first, said = of_rank(together, "not finite", 0)
    second, other = of_rank(together, "not finite", 1)
    assert said["message"] == other["message"]
    assert "step 3: not finite in phase 'game': loss" in said["message"]
    assert_same(first, second)
    expected, _ = outcome(FAIL["not finite"], {"micro_batch_size": 4, "steps": 2})
    for key, value in expected.items():
        if not key.startswith("model."):  # the average goes on towards the weights
            torch.testing.assert_close(first[key], value, rtol=RTOL, atol=ATOL)


@pytest.mark.parametrize(
    ("name", "kinds", "message"),
    [
        ("callback", ("TrainingError", "TrainingError"), "no such luck"),
        ("unwritable", ("TrainingError", "TrainingError"), "could not be written"),
        ("few rows", ("ConfigurationError", "ConfigurationError"), "a batch of 1 row cannot be shared by 2"),
    ],
)
def test_what_goes_wrong_on_rank_0_goes_wrong_on_all(
    name: str, kinds: tuple[str, str], message: str, together: Path
) -> None:
    for rank, kind in enumerate(kinds):
        _, said = of_rank(together, name, rank)
        assert said["error"] == kind
        assert message in said["message"]


def test_what_goes_wrong_before_the_first_step_on_one_rank_goes_wrong_on_all(together: Path) -> None:
    refused = [(together / f"refused-{rank}.txt").read_text() for rank in (0, 1)]
    assert refused[0].startswith("DataError: rank 1: there is no file")
    assert refused[1].startswith("DataError: there is no file")
    assert not (together / "no run").exists()


def test_a_rank_that_is_gone_is_noticed(together: Path) -> None:
    assert (
        (together / "lost.txt")
        .read_text()
        .startswith("the connection to another process of this run was lost.")
    )


def test_a_run_from_python_is_one_run(together: Path) -> None:
    """Both processes get it, with its prior fitted, and its files are those of a run of one process."""
    first, second = [json.loads((together / f"run-{rank}.json").read_text()) for rank in (0, 1)]
    assert first == second
    assert first[:2] == [str(together / "run"), 3]
    run = gv.load(together / "run")
    assert [record["step"] for record in run.metrics] == [1, 2, 3, 3], "the last is that of the fitted prior"
    assert read_manifest(run.path / "checkpoints" / "step-000003")["runtime"]["processes"] == 2


def test_two_processes_that_are_interrupted_at_the_end_of_a_stage_go_on_with_the_next(together: Path) -> None:
    steps = [json.loads((together / f"stages-{rank}.json").read_text()) for rank in (0, 1)]
    assert steps == [[3, 5], [3, 5]]
    whole, cut = (
        read_checkpoint(together / run / "checkpoints" / "step-000005") for run in ("stages", "cut")
    )
    assert_same(whole.model(), cut.model())
    assert_same(whole.state(), cut.state())
    before = read_checkpoint(together / "cut" / "checkpoints" / "step-000003")
    assert not torch.equal(before.model()["prior.means"], cut.model()["prior.means"]), (
        "the second stage trains it"
    )


def test_a_run_of_two_processes_goes_on_with_one(together: Path, tmp_path: Path) -> None:
    shutil.copytree(together / "run", tmp_path / "run")
    with pytest.warns(UserWarning, match="processes 2, now 1"):
        resumed = gv.load(tmp_path / "run").resume(data=images(), steps=5)
    assert resumed.step == 5
    whole = gv.train("ae", data=images(), steps=5, out=tmp_path / "whole", overrides={
        "engine.device": "cpu", "engine.batch_size": 8, "engine.log_every": 1, "engine.micro_batch_size": 4,
    })  # fmt: skip
    for (name, found), (_, expected) in zip(
        resumed.model.generator.named_parameters(), whole.model.generator.named_parameters(), strict=True
    ):
        torch.testing.assert_close(
            found, expected, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
