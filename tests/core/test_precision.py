"""bf16 covers the forwards of components, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toys import FromPhases, engine, model, same, state

import ganvae_core as gv
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


def test_the_averaged_model_computes_in_fp32() -> None:
    seen: list[torch.dtype] = []

    class Looking(gv.Callback):
        def on_step(self, training: gv.TrainingView, record: Any) -> None:
            hook = training.model.generator.get_submodule("head").register_forward_hook(
                lambda module, inputs, output: seen.append(output.dtype)
            )
            training.model.sample(2)
            hook.remove()

    engine(game(set(), {}), precision="bf16", steps=1, callbacks=[Looking()]).fit()
    assert seen == [torch.float32]


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


def test_images_lie_in_channels_last_order_only_where_that_was_asked_for_or_with_bf16() -> None:
    orders: list[bool] = []

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            orders.append(batch.x.is_contiguous(memory_format=torch.channels_last))
            return gv.Loss(objective.layer(batch.x).square().mean())

        return [gv.Phase("a", loss, trains=[objective.layer])]

    x = torch.rand(20, 2, 8, 8)
    for precision, wanted in (("fp32", None), ("bf16", None), ("fp32", True), ("bf16", False)):
        own = gv.Model(
            gv.MLPGenerator([2], [2, 8, 8]).requires_grad_(False), gv.StandardNormal([2]), gv.Point()
        )
        objective = FromPhases(own, phases, layer=nn.Conv2d(2, 2, 3))
        engine(objective, data=x, steps=1, precision=precision, channels_last=wanted).fit()
    assert orders == [False, True, True, False]


def test_auto_takes_fp32_on_a_cpu() -> None:
    assert engine(game(set(), {}), precision="auto").precision == torch.float32
