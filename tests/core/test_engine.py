"""Phases: when they run, what they change and what they leave alone, and which of them are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from toys import (
    FromPhases,
    engine,
    model,
    only_stage,
    optimizer,
    regression,
    rows,
    same,
    squared_error,
    state,
)

import ganvae_core as gv
from ganvae_core.builtin.priors.gaussian_mixture import GaussianMixture
from ganvae_core.engine.devices import available_devices


class Critic(gv.Critic):
    """A critic with batch norm, whose buffers any phase that calls it would move."""

    feature_size = 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh())
        self.head = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 1))

    def features(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return self.layers(x)

    def forward(self, x: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        return self.head(self.features(x)).squeeze(1)


def game(**phase: Any) -> FromPhases:
    """A critic and a generator, both with batch norm."""

    def phases(objective: Any) -> list[gv.Phase]:
        def critic(batch: gv.Batch) -> gv.Loss:
            fake = objective.model.sample(len(batch.x))
            return gv.Loss(objective.critic(fake).mean() - objective.critic(batch.x).mean())

        def generator(batch: gv.Batch) -> gv.Loss:
            return gv.Loss(-objective.critic(objective.model.sample(len(batch.x))).mean())

        return [
            gv.Phase("critic", critic, trains=[objective.critic]),
            gv.Phase("generator", generator, trains=[objective.model.generator], **phase),
        ]

    torch.manual_seed(1)
    return FromPhases(model(batch_norm=True, encoder=False), phases, critic=Critic())


def steps_at_which_they_run(**every: int) -> dict[str, list[int]]:
    """The steps, counted from 0, at which phases with these intervals ran in ten steps."""
    ran: dict[str, list[int]] = {name: [] for name in every}

    def noting(objective: gv.Objective, name: str) -> Callable[[gv.Batch], gv.Loss]:
        def loss(batch: gv.Batch) -> gv.Loss:
            ran[name].append(batch.samples_seen // 8)
            return squared_error(objective)(batch)

        return loss

    objective = FromPhases(
        model(encoder=False),
        lambda own: [
            gv.Phase(name, noting(own, name), trains=[own.model.generator], every=interval)
            for name, interval in every.items()
        ],
    )
    engine(objective, steps=10).fit()
    return ran


def test_a_phase_runs_in_each_every_th_step_and_the_one_that_runs_always_leads() -> None:
    ran = steps_at_which_they_run(critic=1, generator=3, penalty=4, rare=11)
    assert ran["critic"] == list(range(10))
    assert ran["generator"] == [2, 5, 8]
    assert ran["penalty"] == [3, 7]
    assert ran["rare"] == []


def test_every_step_eats_one_batch_whatever_phases_run() -> None:
    trained = engine(regression(every=3), steps=7).fit()
    assert (trained.step_index, trained.samples_seen) == (7, 56)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "rmsprop"])
def test_a_phase_changes_its_own_modules_and_leaves_parameters_and_buffers_of_others(name: str) -> None:
    objective = game(every=2)
    critic, generator = objective.get_submodule("critic"), objective.model.generator
    before = state(critic), state(generator)
    trained = engine(objective, steps=1, optimizers=optimizer(name, 0.01)).fit()
    assert same(state(generator), before[1]), "the critic's phase moved the generator"
    changed = {key for key, value in state(critic).items() if not torch.equal(value, before[0][key])}
    assert {"layers.0.weight", "layers.1.running_mean", "layers.1.num_batches_tracked"} <= changed

    before = state(critic), state(generator)
    critic_phase = trained.phases.pop(0)
    trained.fit(2)
    assert critic_phase.phase.name == "critic"
    assert same(state(critic), before[0]), "the generator's phase moved the critic"
    changed = {key for key, value in state(generator).items() if not torch.equal(value, before[1][key])}
    assert {"layers.0.weight", "layers.1.running_mean", "head.weight"} <= changed


def test_after_a_step_everything_can_be_trained_again() -> None:
    objective = game()
    engine(objective, steps=3).fit()
    assert all(parameter.requires_grad for parameter in objective.parameters())


def test_modules_train_in_training_mode_however_they_were_given() -> None:
    given = game().eval()
    assert same(state(engine(given).fit().objective), state(engine(game()).fit().objective))
    assert given.training


def test_a_prior_that_is_fitted_after_training_is_written_to_the_averaged_model() -> None:
    own = with_parts(model(posterior="dirac"), prior=GaussianMixture([2], components=2))
    trained = engine(Needy(own, {"encoder"}), steps=2)
    only_stage(trained).fit()
    assert isinstance(trained.model.prior, GaussianMixture)
    assert trained.model.prior.fitted
    assert isinstance(own.prior, GaussianMixture)
    assert not own.prior.fitted, "training goes on as if it had never ended"


def test_a_frozen_parameter_stays_and_needs_no_phase() -> None:
    objective = regression()
    head = objective.model.generator.get_submodule("head").requires_grad_(False)
    before = state(head)
    engine(objective).fit()
    assert same(state(head), before)
    assert not any(parameter.requires_grad for parameter in head.parameters())


def test_phases_that_name_one_optimizer_share_it() -> None:
    objective = game(optimizer="critic")
    trained = engine(objective, optimizers={"critic": gv.OptimizerSettings(lr=1e-2)}).fit()
    assert list(trained.state.optimizers) == ["critic"]
    held = trained.state.optimizers["critic"].torch_optimizer.param_groups[0]["params"]
    assert set(held) == set(objective.parameters())
    assert len(held) == len(set(held))


def test_phases_are_asked_for_once() -> None:
    asked: list[int] = []
    objective = regression()
    make = objective.make
    objective.make = lambda own: asked.append(1) or make(own)  # pyright: ignore[reportAttributeAccessIssue]
    engine(objective, steps=3).fit()
    assert asked == [1]


def phases_of(objective: FromPhases, make: Callable[[Any], list[gv.Phase]]) -> FromPhases:
    objective.make = make
    return objective


REFUSED: dict[str, tuple[Callable[[Any], list[gv.Phase]], str]] = {
    "no phases": (lambda own: [], "is empty"),
    "a parameter in no phase": (
        lambda own: [gv.Phase("a", squared_error(own), trains=[own.model.generator.head])],
        "no phase trains model.generator.layers.0.weight",
    ),
    "a module that is not the objective's": (
        lambda own: [gv.Phase("a", squared_error(own), trains=[own.model.generator, nn.Linear(1, 1)])],
        "phase 'a' trains a module that is not part of the objective",
    ),
    "one name twice": (
        lambda own: [gv.Phase("a", squared_error(own), trains=[own.model.generator])] * 2,
        r"two phases have the same name: \['a', 'a'\]",
    ),
    "nothing to train": (
        lambda own: [gv.Phase("a", squared_error(own), trains=[own.model.prior])],
        "phase 'a' trains nothing",
    ),
    "a module for a list of modules": (
        lambda own: [gv.Phase("a", squared_error(own), trains=own.model.generator)],  # pyright: ignore
        "phase 'a': `trains` must be a list of modules, not MLPGenerator",
    ),
    "a list with something else": (
        lambda own: [gv.Phase("a", squared_error(own), trains=[*own.model.generator.parameters()])],  # pyright: ignore
        r"list of modules, not \[Parameter",
    ),
    "every of zero": (
        lambda own: [gv.Phase("a", squared_error(own), trains=[own.model.generator], every=0)],
        "phase 'a' has every=0",
    ),
}


@pytest.mark.parametrize("what", list(REFUSED))
def test_phases_that_cannot_be_meant_are_refused_before_the_first_step(what: str) -> None:
    make, message = REFUSED[what]
    with pytest.raises(gv.ConfigurationError, match=message):
        engine(phases_of(regression(), make))


def test_settings_for_an_optimizer_that_no_phase_uses_are_refused_with_the_nearest() -> None:
    with pytest.raises(gv.ConfigurationError, match=r"no optimizer 'regresion'. Did you mean 'regression'?"):
        engine(regression(), optimizers={"regresion": gv.OptimizerSettings()})


class Needy(FromPhases):
    """An objective that needs and accepts what a test says."""

    def __init__(self, own: gv.Model, needs: set[str] = frozenset(), accepts: set[str] | None = None) -> None:
        super().__init__(own, lambda this: [gv.Phase("a", squared_error(this), trains=[this.model])])
        self.needs = frozenset(needs)  # pyright: ignore[reportAttributeAccessIssue]
        if accepts is not None:
            self.accepts = frozenset(accepts)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("needs", "accepts", "message"),
    [
        ({"pryor"}, None, "`needs` has the unknown word 'pryor'. Did you mean 'prior'"),
        ({"prior"}, {"reel"}, "`accepts` has the unknown word 'reel'. Did you mean 'real'"),
    ],
)
def test_words_that_mean_nothing_are_refused(needs: set[str], accepts: set[str] | None, message: str) -> None:
    with pytest.raises(gv.ConfigurationError, match=message):
        engine(Needy(model(), needs, accepts))


def test_needs_that_are_no_set_are_refused() -> None:
    objective = Needy(model())
    objective.needs = "encoder"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(gv.ConfigurationError, match="`needs` must be a frozenset of str, not 'encoder'"):
        engine(objective)


def with_parts(own: gv.Model, **parts: Any) -> gv.Model:
    for name, part in parts.items():
        setattr(own, name, part)
    return own


def test_wrong_pairings_are_errors_that_name_what_to_take() -> None:
    pairings = [
        (
            Needy(model(), accepts={"bounded", "sphere"}),
            "the support of its codes is real, and this loss takes bounded or sphere",
        ),
        (Needy(with_parts(model(), prior=gv.Uniform([2])), accepts={"real"}), "the prior Uniform"),
        (Needy(with_parts(model(), prior=GaussianMixture([2])), {"prior"}), "is fitted only after it"),
        (Needy(with_parts(model(encoder=False), prior=GaussianMixture([2]))), "this model has no encoder"),
        (Needy(model(encoder=False), {"encoder"}), "needs an encoder, and this model has none"),
        (Needy(model(encoder=False), {"posterior"}), "needs an encoder, and this model has none"),
        (Needy(model(posterior="dirac"), {"posterior"}), "this one gives points"),
        (Needy(with_parts(model(), observation=gv.Point()), {"likelihood"}), "and Point has none"),
    ]
    for objective, message in pairings:
        with pytest.raises(gv.ConfigurationError, match=message) as raised:
            engine(objective)
        assert raised.value.hints, message


def test_right_pairings_are_accepted() -> None:
    engine(Needy(model(), {"prior", "encoder", "posterior", "likelihood"}, {"real"}))
    engine(Needy(model(posterior="dirac"), {"encoder", "likelihood"}))
    engine(Needy(with_parts(model(posterior="dirac"), prior=GaussianMixture([2])), {"encoder"}))


def test_a_device_that_is_not_there_lists_those_that_are() -> None:
    with pytest.raises(gv.ConfigurationError, match="no device 'tpu7'") as raised:
        engine(regression(), device="tpu7")
    assert all(name in str(raised.value) for name in ["auto", *available_devices()])


def test_bf16_where_the_hardware_has_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganvae_core.engine.devices.has_fast_bf16", lambda device: False)
    with pytest.raises(gv.ConfigurationError, match="has no fast bf16"):
        engine(regression(), precision="bf16")


def test_with_fewer_rows_than_the_batch_the_batch_is_made_smaller() -> None:
    trained = engine(regression(), data=rows(10), batch_size=64, steps=2).fit()
    assert trained.batch_size == 9  # one row of ten is held out
    assert trained.samples_seen == 18


def test_a_batch_of_one_row_is_refused_where_it_would_be_normalised() -> None:
    with pytest.raises(gv.ConfigurationError, match="a batch of one row cannot be normalised"):
        engine(game(), data=rows(1))
    assert engine(regression(), data=rows(1)).fit().step_index == 4


def test_a_negative_number_of_steps_is_refused() -> None:
    with pytest.raises(gv.ConfigurationError, match="-1 steps are not possible"):
        engine(regression()).fit(-1)


def test_fit_goes_on_from_where_it_was() -> None:
    whole = engine(regression(), steps=6).fit()
    parts = engine(regression(), steps=6)
    parts.fit(2)
    parts.fit(5)
    parts.fit()
    assert same(state(whole.objective), state(parts.objective))
    assert same(state(whole.model), state(parts.model))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (None, r"phases\(\) returned None"),
        (3, r"phases\(\) returned 3"),
        (["critic"], r"phases\(\) returned \['critic'\]"),
    ],
)
def test_what_is_no_list_of_phases_is_said(given: Any, told: str) -> None:
    with pytest.raises(gv.ConfigurationError, match=told) as raised:
        engine(FromPhases(model(), lambda objective: given))
    assert "return [Phase(" in raised.value.hints[0]
