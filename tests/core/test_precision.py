"""bf16 covers the forwards of components, and nothing else."""

from __future__ import annotations

import copy
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from toys import FromPhases, engine, model, optimizer, same, state

import ganvae_core as gv
from ganvae_core.engine.devices import select_precision
from ganvae_core.engine.precision import computing
from ganvae_core.store.checkpoints import read_checkpoint


@pytest.fixture(autouse=True)
def fast_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this machine had it: every CPU can compute it, if slowly."""
    monkeypatch.setattr("ganvae_core.engine.devices.has_fast_bf16", lambda device: True)


class Critic(gv.Critic):
    """Notes the type in which its layers compute."""

    feature_size = 4

    def __init__(self, seen: set[torch.dtype]) -> None:
        super().__init__()
        self.layer, self.head, self.seen = nn.Linear(3, 4), nn.Linear(4, 1), seen

    def features(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        hidden = self.layer(x)
        self.seen.add(hidden.dtype)
        return hidden.tanh()

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.head(self.features(x)).squeeze(1)


def game(inside: set[torch.dtype], outside: dict[str, torch.dtype], **phase: Any) -> FromPhases:
    """One phase that uses every component."""

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            posterior = objective.model.encode(batch.x)
            z = posterior.rsample()
            observed = objective.model.decode(z)
            log_prob = observed.log_prob(batch.x)
            logits = objective.critic(observed.mean)
            features = objective.critic.features(batch.x)
            kl = gv.kl(posterior, objective.model.prior)
            values = {"location": posterior.location, "log variance": posterior.log_variance, "z": z,
                      "mean": observed.mean, "log_prob": log_prob, "logits": logits, "features": features,
                      "kl": kl, "loss in between": (batch.x @ batch.x.T)}  # fmt: skip
            outside.update({name: value.dtype for name, value in values.items()})
            return gv.Loss(kl.mean() - log_prob.mean() + logits.mean() + features.mean())

        return [gv.Phase("all", loss, trains=[objective], **phase)]

    torch.manual_seed(0)
    return FromPhases(model(), phases, critic=Critic(inside))


def test_networks_compute_in_bf16_and_all_that_a_loss_sees_is_fp32() -> None:
    inside: set[torch.dtype] = set()
    outside: dict[str, torch.dtype] = {}
    trained = engine(game(inside, outside), precision="bf16", steps=1).fit()
    assert inside == {torch.bfloat16}
    assert set(outside.values()) == {torch.float32}, outside
    tensors = [*trained.objective.parameters(), *trained.model.parameters()]
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert all(parameter.grad is not None for parameter in trained.objective.parameters())


def test_a_second_order_phase_computes_in_fp32() -> None:
    inside: set[torch.dtype] = set()
    engine(game(inside, {}, second_order=True), precision="bf16", steps=1).fit()
    assert inside == {torch.float32}


def test_fp32_means_fp32() -> None:
    inside: set[torch.dtype] = set()
    engine(game(inside, {}), precision="fp32", steps=1).fit()
    assert inside == {torch.float32}


def test_the_averaged_model_computes_in_the_runs_precision_and_stays_fp32() -> None:
    seen: list[torch.dtype] = []

    class Looking(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Any) -> None:
            hook = training.model.generator.get_submodule("head").register_forward_hook(
                lambda module, inputs, output: seen.append(output.dtype)
            )
            seen.append(training.model.sample(2).dtype)
            hook.remove()

    engine(game(set(), {}), precision="bf16", steps=1, callbacks=[Looking()]).fit()
    assert seen == [torch.bfloat16, torch.float32]


class Casts(TorchDispatchMode):
    """Counts casts from float32 to bfloat16 and back, by the shape that is cast."""

    def __init__(self) -> None:
        super().__init__()
        self.lower: Counter[tuple[int, ...]] = Counter()
        self.higher: Counter[tuple[int, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outcome = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and args[0].dtype != outcome.dtype:
            count = self.lower if outcome.dtype == torch.bfloat16 else self.higher
            count[tuple(outcome.shape)] += 1
        return outcome


def judged_twice(by_parts: bool) -> gv.Engine:
    """A critic that judges two sets of rows in each update."""

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            with torch.no_grad():
                objective.critic(batch.x)  # which must not take the gradient from what follows
            return gv.Loss(objective.critic(batch.x).mean() - objective.critic(batch.x + 1).mean())

        return [gv.Phase("critic", loss, trains=[objective.critic])]

    torch.manual_seed(0)
    objective = FromPhases(model().requires_grad_(False), phases, critic=Critic(set()))
    return engine(objective, precision="bf16", steps=1, micro_batch_size=2 if by_parts else None)


@pytest.mark.parametrize("by_parts", [False, True])
def test_weights_are_cast_once_an_update(by_parts: bool) -> None:
    training = judged_twice(by_parts)
    with Casts() as casts:
        training.fit()
    # The forward without gradients may cast for itself.
    assert casts.lower[4, 3] <= 1 + (4 if by_parts else 1)
    critic: Any = training.objective.get_submodule("critic")
    assert critic.layer.weight.grad is not None
    assert critic.layer.weight.grad.abs().sum() > 0


def test_features_stay_in_bf16_between_a_critics_own_layers() -> None:
    training = judged_twice(by_parts=False)
    with Casts() as casts:
        training.fit()
    assert casts.higher[8, 4] == 0, "features of 8 rows were cast to fp32 and back"


def test_a_copied_module_computes_with_its_own_weights() -> None:
    copies: list[Any] = []

    class Copying(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Any) -> None:
            copied = copy.deepcopy(training.objective.get_submodule("critic"))
            with torch.no_grad():
                for parameter in copied.parameters():
                    parameter.zero_()
                copies.append(copied(torch.ones(1, 3)).item())

    engine(game(set(), {}), precision="bf16", steps=1, callbacks=[Copying()]).fit()
    assert copies == [0.0]


@pytest.mark.parametrize("second_order", [False, True])
def test_components_are_compiled_in_place_but_for_what_a_second_order_phase_trains(
    second_order: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: compiled.append(type(self).__name__))  # pyright: ignore
    engine(game(set(), {}, second_order=second_order), compile=True, steps=1).fit()
    assert compiled == ([] if second_order else ["MLPGenerator", "MLPEncoder", "Critic"])
    compiled.clear()
    engine(game(set(), {}), steps=1).fit()
    assert compiled == [], "auto does not compile on a CPU"


def test_training_sets_torchs_flags_and_puts_them_back() -> None:
    flags: list[tuple[Any, ...]] = []

    def read() -> tuple[Any, ...]:
        backends = torch.backends
        return (
            backends.cuda.matmul.allow_tf32,
            backends.cudnn.allow_tf32,
            torch.are_deterministic_algorithms_enabled(),
        )

    class Reading(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Any) -> None:
            flags.append(read())

    before = read()
    engine(game(set(), {}), deterministic=True, steps=1, callbacks=[Reading()]).fit()
    assert flags == [(False, False, True)], "fp32 is IEEE's, convolutions included"
    with computing(torch.device("cuda"), "tf32"):
        assert read() == (True, True, False)
        assert torch.backends.cudnn.benchmark
        with computing(torch.device("cuda"), "fp32", deterministic=True):
            assert read() == (False, False, True)
            assert not torch.backends.cudnn.benchmark
    assert read() == before


def test_means_of_gradients_that_are_zero_become_zero_and_the_callers_arithmetic_stays() -> None:
    def phases(objective: Any) -> list[gv.Phase]:
        weights = list(objective.model.parameters())
        losses = iter([1e-36, *[0.0] * 49])

        def loss(batch: gv.Batch) -> gv.Loss:
            return gv.Loss(next(losses) * sum((weight.sum() for weight in weights), torch.zeros(())))

        return [gv.Phase("all", loss, trains=[objective])]

    trained = engine(FromPhases(model(), phases), steps=50, optimizers=optimizer("adam")).fit()
    (adam,) = (each.torch_optimizer for each in trained.state.optimizers.values())
    means = [values["exp_avg"] for values in adam.state.values()]
    assert means
    assert all(mean.eq(0).all() for mean in means), "a tenth less each step ends in subnormal numbers"
    assert sys.float_info.min / 2 > 0, "outside of training nothing has changed"


def test_tf32_is_refused_where_there_is_none() -> None:
    with pytest.raises(gv.ConfigurationError, match="this cpu has no TF32"):
        engine(game(set(), {}), precision="tf32")


def test_auto_takes_bf16_then_tf32_then_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, found = torch.device("cuda"), []
    for bf16, tf32 in ((True, True), (False, True), (False, False)):
        monkeypatch.setattr("ganvae_core.engine.devices.has_fast_bf16", lambda device, has=bf16: has)
        monkeypatch.setattr("ganvae_core.engine.devices.has_tf32", lambda device, has=tf32: has)
        found.append(select_precision(gv.EngineSettings(), cuda))
    assert found == ["bf16", "tf32", "fp32"]


def test_after_training_the_modules_are_as_they_were() -> None:
    """A second stage is another engine on the same model: nothing of the first one's precision may be left."""
    objective = game(set(), {})
    first = engine(objective, precision="bf16", steps=1).fit()
    inside = objective.get_submodule("critic").seen
    for module in first.objective.modules():
        assert "forward" not in vars(module)
        assert "features" not in vars(module)
    inside.clear()  # pyright: ignore[reportCallIssue]
    second = engine(objective, precision="fp32", steps=1).fit()
    assert inside == {torch.float32}
    with torch.no_grad():
        for parameter in objective.parameters():
            parameter.zero_()
        assert second.model.generator(torch.ones(1, 2)).abs().sum() > 0, "the average is a model of its own"


def test_a_run_in_bf16_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = engine(game(set(), {}), precision="bf16", steps=5).fit()
    engine(game(set(), {}), precision="bf16", steps=2, directory=tmp_path).fit()
    going_on = engine(game(set(), {}), precision="bf16", steps=5)
    going_on.restore(read_checkpoint(tmp_path / "checkpoints" / "step-000002"))
    going_on.fit()
    assert same(state(whole.objective), state(going_on.objective))


@pytest.mark.parametrize("kept", ["kept", "read"])
def test_images_lie_in_channels_last_order_only_where_that_was_asked_for_or_with_bf16(
    kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[bool] = []

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            orders.append(batch.x.is_contiguous(memory_format=torch.channels_last))
            return gv.Loss(objective.layer(batch.x).square().mean())

        return [gv.Phase("a", loss, trains=[objective.layer])]

    x = torch.rand(20, 2, 8, 8)
    if kept == "read":
        monkeypatch.setattr("ganvae_core.data.stream.RESIDENT_SHARE", 0.0)
    for precision, wanted in (("fp32", None), ("bf16", None), ("fp32", True), ("bf16", False)):
        own = gv.Model(
            gv.MLPGenerator([2], [2, 8, 8]).requires_grad_(False), gv.StandardNormal([2]), gv.Point()
        )
        objective = FromPhases(own, phases, layer=nn.Conv2d(2, 2, 3))
        engine(objective, data=x, steps=1, precision=precision, channels_last=wanted).fit()
    assert orders == [False, True, True, False]


def test_auto_takes_fp32_on_a_cpu() -> None:
    assert engine(game(set(), {}), precision="auto").precision == "fp32"
