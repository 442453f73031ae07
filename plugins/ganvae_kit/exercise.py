"""Inputs for a component of each kind, and its outputs with their names and shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ganvae_core.engine.phases import has_batch_norm
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import FittedPrior, ObservedData, Posterior
from ganvae_kit.checks import CheckFailure
from ganvae_kit.places import place_of
from ganvae_kit.situations import Situation, condition_of, seeded, x_of

CODES = 300
"""Codes that a prior is fitted to."""
DRAWS = 3
"""Draws of a posterior for each row, where its shapes are checked."""


@dataclass(frozen=True)
class Output:
    """An output of a component.

    Args:
        value: the tensor.
        shape: that it must have.
        method: of the component that gave it.
        needs_gradient: whether it must be differentiable.
    """

    value: Tensor
    shape: tuple[int, ...]
    method: Callable[..., Any]
    needs_gradient: bool = True


Outputs = Mapping[str, Output]


@dataclass(frozen=True)
class Inputs:
    """The inputs of a component.

    Args:
        situation: that it is in.
        main: z, x or raw, the first argument.
        x: (B, *X) data.
        condition: (B, *K) or None.
    """

    situation: Situation
    main: Tensor
    x: Tensor
    condition: Tensor | None

    @classmethod
    def of(cls, situation: Situation, made: Any, rows: int, dtype: torch.dtype = torch.float32) -> Inputs:
        """Random inputs, the same each time."""
        kind, data = situation.component.spec.kind, situation.data
        x, condition = x_of(data, rows).to(dtype), condition_of(data, rows)
        generator = torch.Generator().manual_seed(1)
        if kind in ("encoder", "critic"):
            main = x
        else:
            shape = tuple(made.raw_shape(data)) if kind == "observation" else situation.shape
            main = torch.randn(rows, *shape, generator=generator).to(dtype)
        return cls(situation, main, x, None if condition is None else condition.to(dtype))

    def rows(self, which: slice) -> Inputs:
        """Some of the rows."""
        condition = None if self.condition is None else self.condition[which]
        return Inputs(self.situation, self.main[which], self.x[which], condition)

    def with_gradient(self) -> Inputs:
        """The same, with a main input that asks for a gradient."""
        return Inputs(self.situation, self.main.clone().requires_grad_(), self.x, self.condition)


def outputs(made: nn.Module, inputs: Inputs) -> Outputs:
    """All outputs of a component for its inputs.

    Raises:
        CheckFailure: what it returns is of another type than its interface says.
    """
    return _USES[inputs.situation.component.spec.kind](made, inputs)


def two_rows(situation: Situation, made: nn.Module) -> None:
    """Run two rows through a component, in evaluation mode."""
    if situation.component.spec.kind == "objective" or isinstance(made, FittedPrior):
        return
    with torch.no_grad(), seeded():
        made.eval()
        inputs = Inputs.of(situation, made, 2)
        if situation.component.spec.kind in ("generator", "encoder", "critic"):
            made(inputs.main, inputs.condition)
        elif situation.component.spec.kind == "observation":
            made(inputs.main)
        else:
            made.sample(2, inputs.condition)  # pyright: ignore[reportCallIssue]


def can_train_on(made: nn.Module, rows: int) -> bool:
    """Whether a module can take so many rows in train mode: batch norm cannot take one."""
    return rows > 1 or not has_batch_norm(made)


def ready(situation: Situation, made: Any) -> Any:
    """The component, fitted if it is a prior that is fitted on codes."""
    if isinstance(made, FittedPrior) and not made.fitted:
        made.fit(codes(situation.shape, made.support), _first(condition_of(situation.data, 1), CODES))
    return made


def codes(shape: tuple[int, ...], support: str, count: int = CODES) -> Tensor:
    """(count, *Z) codes in two clusters, as an encoder might give them, in the support of a prior."""
    generator = torch.Generator().manual_seed(2)
    centres = torch.where(torch.rand(count, generator=generator) < 0.5, -1.0, 1.0)
    z = torch.randn(count, *shape, generator=generator) * 0.5 + centres.reshape(-1, *[1] * len(shape))
    if support == "discrete":  # one-hot along the last axis
        return torch.nn.functional.one_hot(z.argmax(-1), shape[-1]).to(z.dtype)
    if support == "sphere":
        return z / z.flatten(1).norm(dim=1).reshape(-1, *[1] * len(shape))
    return z.tanh() if support == "bounded" else z


def _first(condition: Tensor | None, count: int) -> Tensor | None:
    return None if condition is None else condition[:1].expand(count, *condition.shape[1:])


def _generator(made: Any, inputs: Inputs) -> Outputs:
    raw = _tensor(made(inputs.main, inputs.condition), "forward", made.forward)
    return {
        "what forward returns": Output(raw, (len(inputs.main), *inputs.situation.data.shape), made.forward)
    }


def _encoder(made: Any, inputs: Inputs) -> Outputs:
    posterior = made(inputs.main, inputs.condition)
    if not isinstance(posterior, Posterior):
        raise CheckFailure(
            f"{inputs.situation.where}forward returned {type(posterior).__name__}, which is no Posterior",
            place_of(type(made).forward),
            "return ganvae_core.DiagonalNormal(location, log_variance), or ganvae_core.Dirac(location)",
        )
    own = _methods(posterior) if inputs.situation.component.owns(_file(posterior)) else (made.forward,) * 3
    shape = (len(inputs.main), *inputs.situation.shape)
    drawn = _tensor(posterior.rsample(), "rsample", own[1])
    found = {
        "the posterior's mean": Output(_tensor(posterior.mean, "mean", own[0]), shape, own[0]),
        "rsample()": Output(drawn, shape, own[1]),
        f"rsample(({DRAWS},))": Output(
            _tensor(posterior.rsample((DRAWS,)), "rsample", own[1]), (DRAWS, *shape), own[1]
        ),
    }
    if not made.deterministic:
        # The draw is taken as given, so that what is left is the gradient of the density itself.
        value = _tensor(posterior.log_prob(drawn.detach()), "log_prob", own[2])
        found["log_prob(z)"] = Output(value, shape[:1], own[2])
        value = _tensor(posterior.log_prob(posterior.rsample((DRAWS,)).detach()), "log_prob", own[2])
        found["log_prob of several draws"] = Output(value, (DRAWS, *shape[:1]), own[2])
    return found


def _critic(made: Any, inputs: Inputs) -> Outputs:
    rows = len(inputs.main)
    size = getattr(made, "feature_size", None)
    if not isinstance(size, int):
        raise CheckFailure(
            f"{inputs.situation.where}feature_size is {size!r}, and is to be the width of the features",
            place_of(type(made)),
        )
    features = _tensor(made.features(inputs.main, inputs.condition), "features", made.features)
    return {
        "what forward returns": Output(
            _tensor(made(inputs.main, inputs.condition), "forward", made.forward), (rows,), made.forward
        ),
        "what features returns": Output(features, (rows, size), made.features),
    }


def _observation(made: Any, inputs: Inputs) -> Outputs:
    observed = made(inputs.main)
    if not isinstance(observed, ObservedData):
        raise CheckFailure(
            f"{inputs.situation.where}forward returned {type(observed).__name__}, which is no ObservedData",
            place_of(type(made).forward),
        )
    own = _methods(observed)
    rows, shape = len(inputs.main), inputs.situation.data.shape
    found = {
        "mean": Output(_tensor(observed.mean, "mean", own[0]), (rows, *shape), own[0]),
        "sample()": Output(
            _tensor(observed.sample(), "sample", own[1]), (rows, *shape), own[1], needs_gradient=False
        ),
    }
    if made.has_likelihood:
        value = _tensor(observed.log_prob(inputs.x), "log_prob", own[2])
        found["log_prob(x)"] = Output(value, (rows,), own[2])
    return found


def _prior(made: Any, inputs: Inputs) -> Outputs:
    rows = len(inputs.main)
    z = _tensor(made.sample(rows, inputs.condition), "sample", made.sample)
    at = z.detach().to(inputs.main.dtype).requires_grad_(inputs.main.requires_grad)
    log_prob = _tensor(made.log_prob(at, inputs.condition), "log_prob", made.log_prob)
    return {
        "sample": Output(z, (rows, *inputs.situation.shape), made.sample, needs_gradient=False),
        "log_prob": Output(log_prob, (rows,), made.log_prob),
    }


_USES: dict[str, Callable[[Any, Inputs], Outputs]] = {
    "generator": _generator,
    "encoder": _encoder,
    "critic": _critic,
    "observation": _observation,
    "prior": _prior,
}


def _tensor(value: Any, name: str, method: Callable[..., Any]) -> Tensor:
    if not isinstance(value, Tensor):
        raise CheckFailure(f"{name} returned {type(value).__name__}, not a tensor", place_of(method))
    return value


def _methods(distribution: Posterior | ObservedData) -> tuple[Callable[..., Any], ...]:
    """``mean``, the method that draws, and ``log_prob``, as functions whose lines are known."""
    kind: Any = type(distribution)
    drawing = kind.rsample if isinstance(distribution, Posterior) else kind.sample
    return (getattr(kind.mean, "fget", kind.mean), drawing, kind.log_prob)


def _file(thing: Any) -> str:
    place = place_of(type(thing))
    return place.file if place else ""


def refuses_density(call: Callable[[], object]) -> bool:
    """Whether a call raises the error that says that there is no density."""
    try:
        call()
    except ConfigurationError:
        return True
    return False
