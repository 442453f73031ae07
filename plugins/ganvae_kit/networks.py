"""Checks of networks, observations and priors: shapes, gradients, types, rows, conditions, storage."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganvae_core.engine.phases import has_batch_norm
from ganvae_core.store.checkpoints import (
    Snapshot,
    load_tensors,
    read_checkpoint,
    tensors_of,
    write_checkpoint,
)
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.data import seeded
from ganvae_kit.places import Owns, Place, place_in_traceback, place_of, place_of_assignment
from ganvae_kit.random_draws import cut
from ganvae_kit.situations import Situation
from ganvae_kit.state import changed, remembered, same, statistics
from ganvae_kit.subjects import Component
from ganvae_kit.tracing import differ
from ganvae_kit.trials import NETWORKS, Inputs, Output, Trial, trials, trials_in

BATCHES = (2, 7, 1)
ROWS = 14
ROUNDING = 1e-4
"""Tolerance for another order of sums, relative to the largest value."""


@check(*NETWORKS, needs=["makes"], each=trials)
def shapes(trial: Trial) -> None:
    """What it gives has the shapes of its interface for batches of 1, 2 and 7 rows, in train and in evaluation mode."""
    refuse_lazy(trial)
    for rows in BATCHES:
        trial.inputs = Inputs.of(trial.situation, trial.made, rows)
        for training in (True, False):
            if training and rows == 1 and has_batch_norm(trial.made):
                continue
            trial.made.train(training)
            try:
                found = trial.call()
            except CheckFailure:
                raise
            except Exception as error:
                message = f"a batch of {rows}: {type(error).__name__}: {first_line(error)}"
                raise CheckFailure(message, place_in_traceback(error, trial.owns)) from error
            for name, output in found.items():
                if tuple(output.value.shape) != output.shape:
                    message = f"a batch of {rows}: {name} has the shape {tuple(output.value.shape)}, not {output.shape}"
                    raise CheckFailure(message, trial.returned(output.method))


def refuse_lazy(trial: Trial) -> None:
    """Weights must be there before data is: they are counted, moved, averaged and given to an optimizer.

    Raises:
        CheckFailure: some have no shape yet.
    """
    for name, tensor in (*trial.made.named_parameters(), *trial.made.named_buffers()):
        if is_lazy(tensor):
            raise CheckFailure(
                f"its parameter {name} has no shape before it has seen data",
                place_of_parameter(trial.made, name, trial.owns),
                "the facts say how large it is: data.shape, latent_shape, raw_shape",
            )


@check(*NETWORKS, needs=["keeps-state"], each=trials)
def gradients(trial: Trial) -> None:
    """Gradients are finite, and reach its inputs and each of its parameters; also where weights begin at zero."""
    trial.perturbed().made.train()
    main = trial.inputs.main.clone().requires_grad_()
    trial.inputs = replace(trial.inputs, main=main)
    total = torch.zeros(())
    with seeded():
        for name, output in trial.outputs().items():
            if output.value.requires_grad:
                weights = torch.rand(output.value.shape, generator=torch.Generator().manual_seed(3))
                value = (output.value * (weights + 0.5)).sum()
                total = total + value
                _refuse_constant(name, output, value, main)
            elif output.follows:
                hint = "is something detached, or computed under no_grad?"
                raise CheckFailure(f"{name} has no gradient", place_of(output.method), hint)
    if total.requires_grad:
        total.backward()
    if trial.component.of != "prior" and (main.grad is None or not main.grad.isfinite().all()):
        raise CheckFailure(
            "the gradient of what it is given is not finite", place_of(type(trial.made).forward)
        )
    for name, parameter in trial.made.named_parameters():
        if not parameter.requires_grad or not parameter.numel():
            continue
        if parameter.grad is None or not parameter.grad.any():
            message, hint = f"no gradient reaches its parameter {name}", "remove it, or use it"
        elif not parameter.grad.isfinite().all():
            message, hint = f"the gradient of its parameter {name} is not finite", ""
        else:
            continue
        raise CheckFailure(message, place_of_parameter(trial.made, name, trial.owns), hint)


def _refuse_constant(name: str, output: Output, value: Tensor, main: Tensor) -> None:
    """Each of the outputs follows the input, and not only one of them."""
    if not output.follows:
        return
    found: Any = torch.autograd.grad(value, main, retain_graph=True, allow_unused=True)[0]
    if found is None or not found.any():
        message = f"{name} does not change with what it is given: its gradient is zero"
        raise CheckFailure(message, place_of(output.method), "is something rounded, or detached?")


@check(*NETWORKS, needs=["keeps-state"])
def dtype(component: Component) -> None:
    """In double precision it computes in double precision: it takes its type from its weights and inputs."""
    for situation in component.situations:
        trial = Trial(situation, dtype=torch.float64)
        try:
            found = trial.run()
        except RuntimeError as error:
            raise CheckFailure(
                f"{trial.label}: in double precision: {first_line(error)}",
                place_in_traceback(error, trial.owns) or trial.place,
                "make tensors with dtype=x.dtype, or x.new_zeros(…)",
            ) from error
        for name, output in found.items():
            # No interface says how a prior without weights finds the type that is wanted.
            if output.value.dtype != torch.float64 and not (component.of == "prior" and name == "sample"):
                raise CheckFailure(
                    f"{trial.label}: {name} is {output.value.dtype} where weights and inputs are torch.float64",
                    trial.returned(output.method), "keep the type of the input: no .float(), dtype=x.dtype",
                )  # fmt: skip


@check(*NETWORKS, needs=["same-seed"], each=trials)
def state_round_trip(trial: Trial) -> None:
    """Its weights, shared ones too, go through safetensors into a new one that then computes bit for bit the same."""
    made, other = trial.perturbed().made, Trial(trial.situation, seed=1)
    refuse_shared_storage(trial)
    other.made = trial.situation.make(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        written = write_checkpoint(Path(folder), Snapshot(tensors_of(made), {}, {"step": 0}).copied())
        load_tensors(other.made, read_checkpoint(written).model(), "the checkpoint")
    for what, restored in (("restored from safetensors", other.made), ("copied", copy.deepcopy(made))):
        for name in changed(remembered(made), remembered(restored)):
            if name not in statistics(made):
                raise CheckFailure(
                    f"when {what}, it has another {name}", place_of_parameter(made, name, trial.owns),
                    "what must be kept is a parameter, or a buffer that is not persistent=False",
                )  # fmt: skip
        other.made = restored
        made.eval()
        restored.eval()
        first, second = trial.call(), other.call()
        for name, output in first.items():
            if not same(output.value, second[name].value):
                raise CheckFailure(f"when {what}, {name} differs", place_of(output.method))


def refuse_shared_storage(trial: Trial) -> None:
    """Two parameters that are not one, but share memory, are stored twice and trained twice.

    Raises:
        CheckFailure: there are such.
    """
    seen: dict[int, str] = {}
    for name, tensor in tensors_of(trial.made).items():
        memory = tensor.untyped_storage().data_ptr()
        if tensor.numel() and memory in seen:
            raise CheckFailure(
                f"{seen[memory]} and {name} share memory and are two parameters: both are stored",
                place_of_parameter(trial.made, name, trial.owns),
                "share the parameter itself:  self.second.weight = self.first.weight",
            )
        seen[memory] = name


@check("generator", "encoder", "critic", needs=["same-seed"], each=trials)
def conditions(trial: Trial) -> None:
    """Where it is made for a condition, another condition gives another output: it is not left out in silence."""
    if trial.inputs.condition is None:
        raise NotChecked("it takes no conditions")
    trial.perturbed().made.eval()
    first = trial.run()
    trial.inputs = replace(trial.inputs, condition=trial.inputs.condition.roll(1, 0))
    second = trial.run()
    if all(same(output.value, second[name].value) for name, output in first.items()):
        message = "it takes a condition, and gives the same for another one"
        hint = "use it, or refuse it:  gv.check_condition(condition, None)"
        raise CheckFailure(message, place_of(type(trial.made).forward), hint)


def _many_rows(component: Component) -> Any:
    return trials_in(component.situations, ROWS)


@check("generator", "encoder", "observation", "prior", needs=["same-seed"], each=_many_rows)
def rows_apart(trial: Trial) -> None:
    """In evaluation mode, what it gives for a row depends on that row alone, whatever batch the row is in.

    A critic is left out: it may look at a whole batch (Salimans et al. 2016), in phases that say ``couples_rows``.
    """
    trial.perturbed().made.eval()
    inputs, half = trial.inputs, ROWS // 2
    parts = [inputs, inputs.each(lambda value: value[:half]), inputs.each(lambda value: value[half:])]
    together, *apart = [run() for run in cut(trial.owns, parts, ROWS, lambda part: _of_rows(trial, part))]
    for name, output in together.items():
        value, first, second = output.value, apart[0][name].value, apart[1][name].value
        axis = next((n for n, size in enumerate(value.shape) if size != first.shape[n]), 0)
        if differ(value, torch.cat([first, second], axis), ROUNDING):
            hint = "axis 0 holds rows: sums, softmax and statistics are along the other axes"
            raise CheckFailure(f"{name} of a row depends on the other rows", place_of(output.method), hint)


def _of_rows(trial: Trial, inputs: Inputs) -> Mapping[str, Output]:
    """What a component gives for these rows, from a seed; of a prior, the density alone."""
    if trial.component.of != "prior":
        trial.inputs = inputs
        return trial.call()
    with torch.no_grad(), seeded():
        value = trial.made.log_prob(inputs.main, inputs.condition)
    return {"log_prob": Output(value, (), type(trial.made).log_prob)}


def place_of_parameter(made: nn.Module, name: str, owns: Owns) -> Place | None:
    """The line of the plugin that gives a module a parameter or attribute, by its dotted name; else its class's."""
    name = name.partition("[")[0].partition(" ")[0]
    owner, steps, found = made, name.split("."), place_of_assignment(type(made), name)
    for position, step in enumerate(steps[:-1]):
        below = getattr(owner, step, None)
        if not isinstance(below, nn.Module):
            break
        owner = below
        inner = place_of_assignment(type(owner), ".".join(steps[position + 1 :]))
        found = inner if inner and owns(inner.file) else found
    return found or place_of(type(made))


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return str(error).strip().partition("\n")[0]


def wide(situation: Situation) -> Situation | None:
    """The situation if it is one of images of several channels; with two channels where it is one of grey images."""
    channels, *sides = situation.data.shape
    if len(sides) != 2 or channels > 1:
        return situation if len(sides) == 2 else None
    data = replace(situation.data, shape=(2, *sides))
    two = replace(situation, name=f"{situation.name} of two channels", data=data)
    return two if two.refusal is None else None
