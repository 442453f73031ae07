"""Samples that are all alike and a critic that has won are noticed, said once, and nothing else is taken for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toys import FromPhases, Watcher, engine, model, only_stage, squared_error

import ganvae_core as gv
from ganvae_core.runs.collapse import ALIKE_STEPS, CODE_STEPS, WON_UPDATES, CollapseMonitor, distances
from ganvae_core.runs.observers import Recorder
from ganvae_core.store.directory import RunDirectory
from ganvae_core.types import COST_OF_TRAINING


def test_distances_are_the_mean_one_and_that_to_the_nearest() -> None:
    spread, nearest = distances(torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0], [0.0, 1.0]]) + 1000)
    between = [5.0, 5.0, 1.0, 0.0, 18**0.5, 18**0.5]
    assert spread == pytest.approx(sum(between) / 6, rel=1e-4)
    assert nearest == pytest.approx((1 + 0 + 0 + 1) / 4, abs=1e-3)
    assert distances(torch.ones(1, 2)) == (0.0, 0.0)


class Scripted(gv.Generator):
    """Samples as a test wants them: ``spread`` times as far apart as rows of the data, of a few ``kinds``."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("kinds", torch.zeros(()))

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        far = z if not self.get_buffer("kinds") else z[torch.arange(len(z)) % int(self.get_buffer("kinds"))]
        return far * self.get_buffer("spread") + self.weight * 0


class Critic(gv.Critic):
    feature_size = 1

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return x[:, :1]

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.features(x).squeeze(1) * self.weight


def scripted(every: int = 1, critic: bool = True) -> FromPhases:
    """A generator and, with a phase of its own, a critic with the accuracy that a test wants."""

    def phases(own: Any) -> list[gv.Phase]:
        def generator(batch: gv.Batch) -> gv.Loss:
            return gv.Loss(own.model.generator.weight.sum(), {"accuracy": torch.ones(())})

        def judge(batch: gv.Batch) -> gv.Loss:
            return gv.Loss(own.critic(batch.x).mean(), {"accuracy": own.accuracy.clone()})

        judged = [gv.Phase("judge", judge, trains=[own.critic])] if critic else []
        return [*judged, gv.Phase("generator", generator, trains=[own.model.generator], every=every)]

    own = gv.Model(Scripted(), gv.StandardNormal([3]), gv.Point())
    objective = FromPhases(own, phases, **({"critic": Critic()} if critic else {}))
    objective.register_buffer("accuracy", torch.tensor(0.7))
    return objective


ROWS = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)


class Watched:
    """A watch and an engine that is at whatever step a test says."""

    def __init__(self, objective: FromPhases | None = None, data: Any = ROWS) -> None:
        self.engine = engine(objective or scripted(), data=data)
        self.watch = CollapseMonitor()

    def samples(self, step: int, spread: float = 1.0, kinds: int = 0) -> dict[str, Any]:
        """What waits for the next record after samples were drawn."""
        own = self.engine.model.generator
        own.get_buffer("spread").fill_(spread)
        own.get_buffer("kinds").fill_(kinds)
        self.engine.state.step = step
        self.watch.on_samples(self.engine.view())
        return self.engine.state.take_pending()

    def accuracy(self, step: int, accuracy: float, phase: str = "judge") -> list[str]:
        """What is warned of after an interval."""
        return self.term(step, f"{phase}/accuracy", accuracy)

    def term(self, step: int, name: str, value: float) -> list[str]:
        """What is warned of after an interval with this average of a term."""
        self.engine.state.step = step
        self.watch.on_step(self.engine.view(), {"step": step, name: value})
        return self.engine.state.take_pending().get("warnings", [])


def test_samples_like_the_data_have_its_distances_and_nothing_is_said() -> None:
    watched = Watched()
    for step in range(0, 5000, 500):
        pending = watched.samples(step)
        assert pending["samples/spread"] == pytest.approx(1, abs=0.05)
        assert pending["samples/nearest"] == pytest.approx(1, abs=0.15)
        assert "warnings" not in pending


def test_samples_that_are_all_alike_are_said_once_until_they_recover() -> None:
    watched = Watched()
    assert "warnings" not in watched.samples(500, spread=0.1), "networks that were just begun do nothing else"
    assert "warnings" not in watched.samples(500 + ALIKE_STEPS - 1, spread=0.1)
    (text,) = watched.samples(500 + ALIKE_STEPS, spread=0.1)["warnings"]
    assert text == (
        "step 1,000: samples are nearly all alike: two of them differ 0.097 times as much as two rows of data\n"
        "  try  optimizers.generator.lr=0.05, another seed, another loss, a gradient penalty, or a critic that judges"
        " several rows together"
    )
    assert "warnings" not in watched.samples(1500, spread=0.1)
    assert "warnings" not in watched.samples(2000, spread=0.25), (
        "not recovered: no less than the upper threshold"
    )
    assert "warnings" not in watched.samples(2500, spread=0.1)
    assert "warnings" not in watched.samples(3000, spread=0.1)
    assert "warnings" not in watched.samples(3500, spread=1.0)
    assert "warnings" not in watched.samples(4000, spread=0.1)
    assert "warnings" in watched.samples(4500, spread=0.1)


def test_a_few_samples_again_and_again_are_noticed_though_they_lie_far_apart() -> None:
    watched = Watched()
    first = watched.samples(500, kinds=10)
    assert first["samples/spread"] > 0.7
    assert first["samples/nearest"] < 0.01
    (text,) = watched.samples(1000, kinds=10)["warnings"]
    assert "samples repeat each other" in text


def test_samples_that_are_not_finite_are_said_and_not_logged() -> None:
    watched = Watched()
    assert watched.samples(500, spread=float("inf")) == {}
    (text,) = watched.samples(1000, spread=float("nan"))["warnings"]
    assert "samples are not finite" in text
    assert watched.engine.state.pending == {}


def test_without_a_critic_other_things_are_tried() -> None:
    watched = Watched(scripted(critic=False))
    watched.samples(500, spread=0.0)
    (text,) = watched.samples(1000, spread=0.0)["warnings"]
    assert "less weight on what keeps codes near the prior" in text
    assert "critic" not in text


def test_data_whose_own_rows_repeat_is_measured_by_its_spread_alone() -> None:
    categories = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    pending = Watched(data=categories).samples(500)
    assert pending.keys() == {"samples/spread"}
    assert Watched(data=np.ones((60, 3), dtype=np.float32)).samples(500) == {}


def test_as_many_samples_are_measured_as_there_are_rows() -> None:
    """Among 256 samples the nearest is nearer than among nine rows."""
    few = Watched(data=ROWS[:10]).samples(500)
    assert few["samples/nearest"] == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("every", [1, 5])
def test_a_critic_that_has_won_is_said_once_until_it_recovers(every: int) -> None:
    watched = Watched(scripted(every))
    for step in range(100, 1000 * every, 100):
        assert watched.accuracy(step, 1.0) == []
    assert watched.accuracy(WON_UPDATES * every, 1.0) == []
    (text,) = watched.accuracy(WON_UPDATES * every + 100, 1.0)
    assert text == (
        f"step {1000 * every + 100:,}: the critic has won: for {1000 * every:,} steps phase 'judge' has ranked real"
        " above generated in over 99.8% of pairs, and the generator learns little from it\n"
        "  try  optimizers.judge.lr=0.05, a gradient penalty, or dropout, noise or less capacity in the critic"
    )
    later = 1000 * every + 200
    assert watched.accuracy(later, 0.99) == []
    assert watched.accuracy(later + 100, 1.0) == []
    assert watched.accuracy(later + 9000, 1.0) == [], "0.99 is no recovery"
    assert watched.accuracy(later + 9100, 0.9) == []
    assert watched.accuracy(later + 9200, 1.0) == []
    assert watched.accuracy(later + 9200 + 1000 * every, 1.0) != []


def test_an_interval_in_which_the_critic_errs_begins_the_count_anew() -> None:
    watched = Watched()
    assert watched.accuracy(100, 1.0) == []
    assert watched.accuracy(900, 0.99) == []
    assert watched.accuracy(1000, 1.0) == []
    assert watched.accuracy(1900, 1.0) == []
    assert watched.accuracy(2000, 1.0) != []


def test_the_accuracy_of_a_phase_that_trains_no_critic_means_something_else() -> None:
    watched = Watched()
    for step in range(100, 5000, 100):
        assert watched.accuracy(step, 1.0, phase="generator") == []


def test_what_was_noticed_goes_on_with_a_run() -> None:
    first, second = Watched(), Watched()
    first.samples(500, spread=0.1)
    first.accuracy(500, 1.0)
    second.watch.load_state_dict(first.watch.state_dict())
    assert "warnings" in second.samples(1000, spread=0.1)
    assert second.accuracy(1500, 1.0) != []
    third = Watched()
    third.watch.load_state_dict(second.watch.state_dict())
    assert "warnings" not in third.samples(1500, spread=0.1)
    assert third.accuracy(2000, 1.0) == []


def test_a_prior_that_is_fitted_after_training_is_not_sampled_before() -> None:
    from ganvae_core.builtin.priors.gaussian_mixture import GaussianMixture

    own = model(posterior="dirac")
    own.prior = GaussianMixture([2], components=2)
    objective = FromPhases(own, lambda this: [gv.Phase("a", squared_error(this), trains=[this.model])])
    objective.needs = frozenset({"encoder"})  # pyright: ignore[reportAttributeAccessIssue]
    watcher = Watcher()
    trained = engine(objective, steps=6, samples_every=2, callbacks=[CollapseMonitor(), watcher])
    only_stage(trained).fit()
    assert not any("samples/spread" in record for record in watcher.records)
    assert trained.state.pending["samples/spread"] > 0, "at the end it is"


@pytest.mark.parametrize(
    ("term", "collapsed", "sound", "said", "remedy"),
    [
        ("kl", 0.01, 5.0, "the posterior has collapsed", "objective.free_bits=0.1"),
        ("usage", 0.05, 0.9, "the codebook has collapsed: 5% of its entries are in use", "encoder.codes=64"),
    ],
)
def test_codes_that_have_collapsed_are_said_once_until_they_recover(
    term: str, collapsed: float, sound: float, said: str, remedy: str
) -> None:
    objective = FromPhases(model(), lambda own: [gv.Phase("judge", squared_error(own), trains=[own.model])])
    watched = Watched(objective)
    heard = {step: watched.term(step, f"judge/{term}", collapsed) for step in range(100, 2 * CODE_STEPS, 100)}
    ((step, (warning,)),) = [(step, warnings) for step, warnings in heard.items() if warnings]
    assert step == 100 + CODE_STEPS
    assert said in warning
    assert remedy in warning
    assert not watched.term(2 * CODE_STEPS, f"judge/{term}", sound)
    again = [watched.term(step, f"judge/{term}", collapsed) for step in (3 * CODE_STEPS, 4 * CODE_STEPS)]
    assert [len(warnings) for warnings in again] == [0, 1]


def trained(plugin: str, out: Path, steps: int, **changes: Any) -> tuple[gv.Run, list[str]]:
    """A run of small networks, and what it warned of."""
    overrides = {
        "engine.batch_size": 16,
        "engine.samples_every": 250,
        "generator.hidden": [32],
        "engine.device": "cpu",
    }
    run = gv.train(plugin, steps=steps, out=out, overrides={**overrides, **changes})
    return run, [text for record in run.metrics for text in record.get("warnings", [])]


def test_a_vae_whose_codes_say_nothing_warns(tmp_path: Path) -> None:
    _, texts = trained("vae", tmp_path / "run", 760, **{"objective.beta": 100, "encoder.hidden": [32]})
    assert any(text.startswith("step 750: samples are nearly all alike") for text in texts), texts


def test_a_critic_whose_generator_does_not_learn_warns(tmp_path: Path) -> None:
    still = {"optimizers.generator.lr": 0, "critic.hidden": [32], "objective": "minimax"}
    _, texts = trained("gan", tmp_path / "run", 1150, **still)
    assert any("the critic has won: for 1,000 steps" in text for text in texts)


def test_a_run_that_goes_well_warns_of_nothing_and_its_spread_is_logged(tmp_path: Path) -> None:
    run, texts = trained("gan", tmp_path / "run", 760, **{"critic.hidden": [32]})
    assert texts == []
    measured = {
        record["step"]: record["samples/spread"] for record in run.metrics if "samples/spread" in record
    }
    assert list(measured) == [300, 550, 760]
    assert all(0.3 < value < 1.5 for value in measured.values())


def test_a_run_goes_on_with_what_it_had_measured(tmp_path: Path) -> None:
    """Samples are drawn, and then a checkpoint is written: the next record holds what was measured, on either side."""
    often = {
        "engine.samples_every": 4,
        "engine.checkpoint_every": 4,
        "engine.log_every": 4,
        "engine.device": "cpu",
    }

    class Stop(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
            if training.step == 4:
                training.interrupt()

    whole = gv.train("gan", steps=9, out=tmp_path / "whole", overrides=often)
    stopped = gv.train("gan", steps=9, out=tmp_path / "run", overrides=often, callbacks=[Stop()])
    assert stopped.step == 4
    resumed = stopped.resume()

    def without_clock(run: gv.Run) -> list[dict[str, Any]]:
        return [
            {key: value for key, value in record.items() if key not in COST_OF_TRAINING}
            for record in run.metrics
        ]

    assert without_clock(resumed) == without_clock(whole)
    assert [record["step"] for record in whole.metrics if "samples/spread" in record] == [8, 9]


def test_what_is_warned_of_after_the_last_interval_is_written_too(tmp_path: Path) -> None:
    class Late(gv.Callback):
        def on_samples(self, training: gv.TrainingView) -> None:
            training.warn("late", "but not lost")

    run = RunDirectory.create(tmp_path / "run", "")
    engine(scripted(), data=ROWS, steps=2, samples_every=0, callbacks=[Late(), Recorder(run)]).fit()
    assert [record.get("warnings") for record in run.metrics()] == [None, None, ["late\n  but not lost"]]


def test_what_was_warned_of_before_an_error_is_written_too(tmp_path: Path) -> None:
    class Failing(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Mapping[str, Any]) -> None:
            training.warn("before")
            raise KeyError("the error")

    run = RunDirectory.create(tmp_path / "run", "")
    with pytest.raises(gv.TrainingError, match="the error"):
        engine(scripted(), data=ROWS, callbacks=[Recorder(run), Failing()]).fit()
    assert [record.get("warnings") for record in run.metrics()] == [None, ["before"]]
