"""The callbacks that ship: each does what it is for, and a run that goes on finds them as they were."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toys import engine, images, regression

import ganvae_core as gv
from ganvae_core.builtin.early_stopping import EarlyStopping
from ganvae_core.builtin.tensorboard import TensorBoard

TINY: dict[str, Any] = {
    "engine.batch_size": 16,
    "engine.checkpoint_every": 5,
    "engine.log_every": 5,
    "engine.samples_every": 10,
    "generator.hidden": [8],
    "encoder.hidden": [8],
    "metrics": ["reconstruction"],
}


class Scripted(gv.Metric):
    """Gives the next of some values each time it is asked."""

    figures = (gv.Figure("error", "error", better="lower"),)

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def measure(self, subject: gv.Subject) -> Mapping[str, float]:
        return {"error": self.values.pop(0)}


def stopped(folder: Path, values: list[float], **options: Any) -> gv.Engine:
    before = 0.0  # early stopping measures once before the first step
    made = engine(
        regression(), steps=20, checkpoint_every=2, metrics=[Scripted(before, *values, *[9.0] * 20)],
        callbacks=[EarlyStopping(**options)], directory=folder,
    )  # fmt: skip
    return made.fit()


def test_a_run_ends_when_its_result_has_not_improved_for_so_many_checkpoints(tmp_path: Path) -> None:
    found = stopped(tmp_path, [5.0, 4.0, 4.5, 3.0, 3.5, 3.0], patience=2)
    assert found.step_index == 12  # the sixth checkpoint: two after that of step 8
    assert found.stop_flag.because is not None
    assert "has not improved for 2 measurements, the best being 3" in found.stop_flag.because


def test_too_small_an_improvement_is_none_and_no_number_never_is_one(tmp_path: Path) -> None:
    assert stopped(tmp_path / "a", [5.0, 4.9, 4.85], patience=2, min_improvement=0.2).step_index == 6
    assert stopped(tmp_path / "b", [float("nan"), float("nan")], patience=2).step_index == 4


def test_a_run_that_keeps_improving_is_left_alone(tmp_path: Path) -> None:
    found = stopped(tmp_path, [float(20 - number) for number in range(12)], patience=1)
    assert (found.step_index, found.stop_flag.because) == (20, None)


def test_early_stopping_without_a_result_to_watch_is_refused() -> None:
    with pytest.raises(gv.ConfigurationError, match="this run has none"):
        engine(regression(), callbacks=[EarlyStopping()]).fit()


def test_a_run_that_was_ended_counts_on_from_where_it_was(tmp_path: Path) -> None:
    callback = {"name": "early-stopping", "patience": 1, "min_improvement": 1e9}
    options = {**TINY, "callbacks": [callback]}
    run = gv.train("ae", data=images(), steps=60, overrides=options, out=tmp_path / "run")
    assert run.step == 10  # the first result always is an improvement
    again = gv.load(tmp_path / "run").resume(data=images())
    assert again.step == 10
    longer = gv.load(tmp_path / "run").resume(data=images(), overrides={"callbacks": []})
    assert longer.step == 60


def events(run: Path) -> EventAccumulator:
    found = EventAccumulator(str(run / "tensorboard"))
    found.Reload()
    return found


def test_tensorboards_own_reader_finds_what_metrics_jsonl_has(tmp_path: Path) -> None:
    options = {**TINY, "callbacks": ["tensorboard"]}
    gv.train("ae", data=images(), steps=20, overrides=options, out=tmp_path / "run")
    found = events(tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    logged = {
        record["step"]: record["autoencoder/loss"] for record in records if "autoencoder/loss" in record
    }
    shown = {event.step: event.value for event in found.Scalars("autoencoder/loss")}
    assert shown.keys() == logged.keys() == {5, 10, 15, 20}
    assert list(shown.values()) == pytest.approx(list(logged.values()), rel=1e-6)
    prior = found.Scalars("prior/log_likelihood")  # of the mixture, which is fitted at the end
    assert [(event.step, event.value) for event in prior] == [
        (20, pytest.approx(records[-1]["prior/log_likelihood"], rel=1e-6))
    ]
    results = found.Scalars("held_out/squared_error")
    assert results[-1].step == 20
    run = gv.load(tmp_path / "run")
    assert results[-1].value == pytest.approx(run.results["squared_error"], rel=1e-6)


def test_tensorboard_shows_samples_of_the_models_own_size(tmp_path: Path) -> None:
    options = {**TINY, "callbacks": [{"name": "tensorboard", "images": 4}], "prior": "normal"}
    gv.train("ae", data=images(), steps=20, overrides=options, out=tmp_path / "run")
    shown = events(tmp_path / "run").Images("samples")
    assert [event.step for event in shown] == [10, 20]
    assert shown[-1].height >= 8


def test_steps_that_are_repeated_replace_those_in_tensorboards_files(tmp_path: Path) -> None:
    class Interruption(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
            if record["step"] == 14:
                raise KeyboardInterrupt

    options = {**TINY, "callbacks": ["tensorboard"], "engine.checkpoint_every": 10, "engine.log_every": 2}
    with pytest.raises(KeyboardInterrupt):
        gv.train(
            "ae", data=images(), steps=20, overrides=options, out=tmp_path / "run", callbacks=[Interruption()]
        )
    gv.load(tmp_path / "run").resume(data=images())
    steps = [event.step for event in events(tmp_path / "run").Scalars("autoencoder/loss")]
    assert steps == list(range(2, 22, 2))


def test_without_a_directory_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine(regression(), callbacks=[TensorBoard()]).fit()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tensorboard_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvae_core.builtin.tensorboard.find_spec", lambda name: None)
    with pytest.raises(gv.ConfigurationError, match="not installed") as caught:
        TensorBoard()
    assert "ganvae[tensorboard]" in caught.value.hints[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: EarlyStopping(patience=0),
        lambda: EarlyStopping(min_improvement=-1.0),
        lambda: TensorBoard(images=-1),
    ],
)
def test_impossible_options_are_refused(make: Any) -> None:
    with pytest.raises(gv.ConfigurationError):
        make()
