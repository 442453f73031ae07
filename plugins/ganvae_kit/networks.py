"""Checks of networks, observations and priors: shapes, gradients, rows, conditions, storage."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ganvae_core.model import has_batch_norm
from ganvae_core.store.checkpoints import (
    Snapshot,
    load_tensors,
    read_checkpoint,
    tensors_of,
    write_checkpoint,
)
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.data import seeded
from ganvae_kit.random_draws import cut
from ganvae_kit.state import changed, differ, remembered, same, statistics
from ganvae_kit.subjects import Component
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
                raise CheckFailure.of(error, where=f"a batch of {rows}") from error
            for name, output in found.items():
                if tuple(output.value.shape) != output.shape:
                    message = f"a batch of {rows}: {name} has the shape {tuple(output.value.shape)}, not {output.shape}"
                    raise CheckFailure(message)


def refuse_lazy(trial: Trial) -> None:
    """Weights must be there before data is: they are counted, moved, averaged and given to an optimizer.

    Raises:
        CheckFailure: some have no shape yet.
    """
    for name, tensor in (*trial.made.named_parameters(), *trial.made.named_buffers()):
        if is_lazy(tensor):
            raise CheckFailure(
                f"its parameter {name} has no shape before it has seen data",
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
                raise CheckFailure(f"{name} has no gradient", hint)
    if total.requires_grad:
        total.backward()
    if trial.component.of != "prior" and (main.grad is None or not main.grad.isfinite().all()):
        raise CheckFailure("the gradient of what it is given is not finite")
    for name, parameter in trial.made.named_parameters():
        if not parameter.requires_grad or not parameter.numel():
            continue
        if parameter.grad is None or not parameter.grad.any():
            message, hint = f"no gradient reaches its parameter {name}", "remove it, or use it"
        elif not parameter.grad.isfinite().all():
            message, hint = f"the gradient of its parameter {name} is not finite", ""
        else:
            continue
        raise CheckFailure(message, hint)


def _refuse_constant(name: str, output: Output, value: Tensor, main: Tensor) -> None:
    """Each of the outputs follows the input, and not only one of them."""
    if not output.follows:
        return
    found: Any = torch.autograd.grad(value, main, retain_graph=True, allow_unused=True)[0]
    if found is None or not found.any():
        message = f"{name} does not change with what it is given: its gradient is zero"
        raise CheckFailure(message, "is something rounded, or detached?")


@check(*NETWORKS, needs=["same-seed"], each=trials)
def state_round_trip(trial: Trial) -> None:
    """Its weights, shared ones too, go through safetensors into a new one that then computes bit for bit the same."""
    made, other = trial.perturbed().made, Trial(trial.situation, seed=1)
    other.made = trial.situation.make(seed=1)
    with tempfile.TemporaryDirectory() as folder:
        written = write_checkpoint(Path(folder), Snapshot(tensors_of(made), {}, {"step": 0}).copied())
        load_tensors(other.made, read_checkpoint(written).model(), "the checkpoint")
    for what, restored in (("restored from safetensors", other.made), ("copied", copy.deepcopy(made))):
        for name in changed(remembered(made), remembered(restored)):
            if name not in statistics(made):
                hint = "what must be kept is a parameter, or a buffer that is not persistent=False"
                raise CheckFailure(f"when {what}, its {name} differs", hint)
        other.made = restored
        made.eval()
        restored.eval()
        first, second = trial.call(), other.call()
        for name, output in first.items():
            if not same(output.value, second[name].value):
                raise CheckFailure(f"when {what}, {name} differs")


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
        raise CheckFailure(message, hint)


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
            raise CheckFailure(f"{name} of a row depends on the other rows", hint)


def _of_rows(trial: Trial, inputs: Inputs) -> Mapping[str, Output]:
    """What a component gives for these rows, from a seed; of a prior, the density alone."""
    if trial.component.of != "prior":
        trial.inputs = inputs
        return trial.call()
    with torch.no_grad(), seeded():
        return {"log_prob": Output(trial.made.log_prob(inputs.main, inputs.condition), ())}
