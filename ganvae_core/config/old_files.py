"""Configuration files of ganvae 0.1: what is read differently now, and what has to be written instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ganvae_core.config.options import Option, convert
from ganvae_core.errors import ConfigurationError

HALF_LIFE = "penalty_half_life_samples"
WRITTEN = ("betas", "eps", "momentum")
"""Options that 0.1 wrote for every optimizer."""
USED = {
    "adam": ("betas", "eps"),
    "adamw": ("betas", "eps"),
    "sgd": ("momentum",),
    "rmsprop": ("eps", "momentum"),
}
"""Those that the algorithms have."""


def from_0_1(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration file without the settings of 0.1 that have no effect.

    Raises:
        ConfigurationError: a setting that has an effect is gone; the message says what to write instead.
    """
    tree = dict(tree)
    engine, objective, optimizers = (tree.get(key) for key in ("engine", "objective", "optimizers"))
    if isinstance(engine, Mapping) and engine.get("on_nonfinite") == "rollback":
        raise ConfigurationError(
            "engine.on_nonfinite: rollback is gone.",
            "write  on_nonfinite: skip  instead; or stop, and begin a new run with the weights of the stopped one:"
            "  ganvae run --from RUN optimizers.default.lr=VALUE",
        )
    if isinstance(objective, Mapping) and HALF_LIFE in objective:
        half_life = convert(Option(HALF_LIFE, float, 0.0), objective[HALF_LIFE], f"objective.{HALF_LIFE}")
        if half_life:
            raise ConfigurationError(
                f"objective.{HALF_LIFE} is gone: the weight of a penalty may be a schedule.",
                f"write instead  r1_weight: {{name: step, from: {objective.get('r1_weight')}, factor: 0.5,"
                f" samples: {half_life:.0f}}}  and r2_weight likewise",
            )
        tree["objective"] = {name: value for name, value in objective.items() if name != HALF_LIFE}
    if isinstance(optimizers, Mapping):
        tree["optimizers"] = {name: _used(given) for name, given in optimizers.items()}
    return tree


def _used(optimizer: Any) -> Any:
    if not isinstance(optimizer, Mapping) or any(option not in optimizer for option in WRITTEN):
        return optimizer
    used = USED.get(str(optimizer.get("name")), WRITTEN)
    return {option: value for option, value in optimizer.items() if option in used or option not in WRITTEN}
