"""Configuration files of version 0.1: read, or refused with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

import ganvae_core as gv
from ganvae_core.config.configuration import Choice, configure
from ganvae_core.config.layers import parse_yaml
from ganvae_core.config.old_files import from_0_1
from ganvae_core.plugins import installed_plugins

OF_0_1 = """
plugin: gan
recipe: gan
data: {name: builtin/digits, condition: false, held_out: 0.1, split_seed: 0}
latent:
  shape: [32]
prior: {name: builtin/normal}
generator: {name: builtin/mlp, hidden: [128, 128], activation: tanh, batch_norm: false, initial_scale: 0.15}
encoder: null
critic: {name: builtin/mlp, hidden: [128], activation: leaky-relu, dropout: 0.0, initial_scale: null,
  conditioning: concatenation}
observation: {name: builtin/point}
objective: {name: gan/relativistic, critic_steps: null, r1_weight: 0.1, r2_weight: 0.1,
  penalty_half_life_samples: 0.0, lipschitz_weight: null, dragan_weight: 0.0, spectral_norm: false,
  clip_weights: null, packing: 1, rotation_weight: 0.0, information_weight: 0.0, augmentation_target: null}
metrics: []
callbacks: []
engine: {steps: 2, batch_size: 128, seed: 0, device: auto, precision: auto, micro_batch_size: null,
  channels_last: null, ema_half_life_samples: 50000.0, log_every: 50, samples_every: 500,
  checkpoint_every: 1000, keep_checkpoints: 2, evaluate_every: null, on_nonfinite: stop,
  on_callback_error: stop}
optimizers:
  default: {name: adam, lr: 0.0005, betas: [0.5, 0.99], eps: 1.0e-08, weight_decay: 0.0, momentum: 0.0,
    schedule: cosine, warmup_samples: 0, clip_norm: null}
  critic: {name: sgd, lr: 0.1, betas: [0.9, 0.999], eps: 1.0e-08, weight_decay: 0.0, momentum: 0.5,
    schedule: constant, warmup_samples: 0, clip_norm: null}
"""
"""What ganvae 0.1 wrote as config.yaml, with an optimizer for the critic."""


def read(text: str) -> Any:
    tree = from_0_1(parse_yaml(text, "config.yaml"))
    return configure(installed_plugins(), "gan", "gan", [tree])


def test_a_file_of_0_1_is_read_as_it_was_meant() -> None:
    made = read(OF_0_1)
    default, critic = (made.optimizers[name].options for name in ("default", "critic"))
    assert (default["betas"], default["lr"]) == ((0.5, 0.99), 5e-4)
    assert "momentum" not in default
    assert default["schedule"] == Choice("builtin/cosine", {"from": 1.0, "to": 0.0, "samples": None})
    assert (made.optimizers["critic"].id, critic["momentum"]) == ("builtin/sgd", 0.5)
    assert made.components["objective"].options["r1_weight"] == 0.1
    assert made.engine.on_nonfinite == "stop"
    assert made.stages == ()


def test_weights_that_halved_are_schedules_now() -> None:
    with pytest.raises(gv.ConfigurationError, match="penalty_half_life_samples is gone") as raised:
        read(OF_0_1.replace("half_life_samples: 0.0,", "half_life_samples: 1e6,"))
    (hint,) = raised.value.hints
    schedule = hint.partition("r1_weight: ")[2].partition("}")[0] + "}"
    assert schedule == "{name: step, from: 0.1, factor: 0.5, samples: 1000000}"
    made = read(OF_0_1.replace("r1_weight: 0.1", f"r1_weight: {schedule}"))
    weight = made.components["objective"].options["r1_weight"]
    assert weight == Choice("builtin/step", {"samples": 1_000_000, "factor": 0.5, "from": 0.1})


def test_rollback_is_refused_with_what_takes_its_place() -> None:
    with pytest.raises(gv.ConfigurationError, match="on_nonfinite: rollback is gone") as raised:
        read(OF_0_1.replace("on_nonfinite: stop", "on_nonfinite: rollback"))
    assert "on_nonfinite: skip" in raised.value.hints[0]
    assert "--from RUN" in raised.value.hints[0]


def test_options_that_an_optimizer_does_not_have_are_refused_in_a_file_of_today() -> None:
    with pytest.raises(gv.ConfigurationError, match="'builtin/adam' has no option 'momentum'"):
        read("optimizers: {default: {name: adam, momentum: 0.5}}")
