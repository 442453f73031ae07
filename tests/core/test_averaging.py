"""The averaged model: an exponential moving average by rows of data, in evaluation mode."""

from __future__ import annotations

import pytest
import torch
from toys import engine, model, regression, same, state

from ganvae_core.engine.ema import EMA, RAMP


def test_weights_are_averaged_with_a_half_life_in_rows() -> None:
    own = model()
    averaged = EMA(own, half_life_samples=100)
    before = state(averaged.model)
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(1.0)
    for _ in range(10):  # ten steps of ten rows are one half-life
        averaged.update(samples_seen=10**6, batch_size=10)
    for name, parameter in averaged.model.named_parameters():
        torch.testing.assert_close(parameter, before[name] + 0.5, rtol=1e-5, atol=1e-6)


def test_the_half_life_does_not_depend_on_the_batch_size() -> None:
    results = []
    for batch_size in (5, 50):
        own = model()
        averaged = EMA(own, half_life_samples=70)
        with torch.no_grad():
            own.generator.get_parameter("head.weight").add_(1.0)
        for _ in range(100 // batch_size):
            averaged.update(10**6, batch_size)
        results.append(averaged.model.generator.get_parameter("head.weight"))
    torch.testing.assert_close(results[0], results[1])


def test_early_on_the_initial_weights_are_forgotten_fast() -> None:
    own = model()
    averaged = EMA(own, half_life_samples=1e9)
    with torch.no_grad():
        own.generator.get_parameter("head.bias").fill_(1.0)
        averaged.model.generator.get_parameter("head.bias").fill_(0.0)
    averaged.update(samples_seen=1000, batch_size=50)
    expected = 1 - 0.5 ** (50 / (1000 * RAMP))
    assert averaged.model.generator.get_parameter("head.bias")[0].item() == pytest.approx(expected)


def test_a_half_life_of_0_follows_the_trained_weights_bit_for_bit() -> None:
    trained = engine(regression(), ema_half_life_samples=0.0).fit()
    assert same(state(trained.model), state(trained.objective.model))


def test_otherwise_the_average_lags_behind() -> None:
    trained = engine(regression(), ema_half_life_samples=1000.0).fit()
    assert not same(state(trained.model), state(trained.objective.model))


def test_buffers_are_copied_and_not_averaged() -> None:
    own = model(batch_norm=True)
    averaged = EMA(own, half_life_samples=1000)
    own.generator.train()(torch.randn(8, 2))
    averaged.update(8, 8)
    for name, buffer in own.named_buffers():
        assert torch.equal(averaged.model.get_buffer(name), buffer), name
    assert averaged.model.get_buffer("generator.layers.1.num_batches_tracked") == 1


def test_it_is_a_model_of_its_own_in_evaluation_mode_without_gradients() -> None:
    training = engine(regression())
    assert not any(module.training for module in training.model.modules())
    training.fit()
    assert not any(module.training for module in training.model.modules())
    assert not any(parameter.requires_grad for parameter in training.model.parameters())
    own = {parameter.data_ptr() for parameter in training.objective.parameters()}
    assert not own & {parameter.data_ptr() for parameter in training.model.parameters()}


def test_a_long_average_takes_every_fourth_step() -> None:
    own = model()
    averaged = EMA(own, half_life_samples=320)  # 32 steps of ten rows
    weight = averaged.model.generator.get_parameter("head.weight")
    before, changes = weight.clone(), []
    with torch.no_grad():
        own.generator.get_parameter("head.weight").add_(1.0)
    for step in range(10_001, 10_017):
        previous = weight.clone()
        averaged.update(step * 10, 10)
        changes.append(not torch.equal(weight, previous))
    assert changes == [False, False, False, True] * 4
    torch.testing.assert_close(weight, before + 1 - 0.5**0.5)
