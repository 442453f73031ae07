"""Checks of networks, observations and priors: whatever is an ``nn.Module`` and no objective."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from ganvae_core.config.options import component_facts
from ganvae_core.interfaces import Encoder, FittedPrior, Posterior
from ganvae_core.store.checkpoints import (
    Snapshot,
    load_tensors,
    read_checkpoint,
    tensors_of,
    write_checkpoint,
)
from ganvae_kit.calls import unplaced
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.exercise import Inputs, Output, Outputs, can_train_on, outputs, ready, refuses_density
from ganvae_kit.places import Owns, Place, place_of, place_of_assignment
from ganvae_kit.random_draws import drawn, other_generators, seedings
from ganvae_kit.situations import Situation, seeded
from ganvae_kit.state import changed, remembered, same, statistics
from ganvae_kit.subjects import Component
from ganvae_kit.tracing import line_of_return, line_that

NETWORKS = ("generator", "encoder", "critic", "observation", "prior")
BATCHES = (2, 7, 1)


@check("prior", needs=["makes"])
def own_weights(component: Component) -> None:
    """It keeps an encoder that it is given out of its own state, where the model would store and train it twice."""
    for situation in component.situations:
        made = situation.make()
        if "encoder" not in component_facts(component.target):
            raise NotChecked("it asks for no encoder")
        held = [name for name, part in made.named_modules() if isinstance(part, Encoder)]
        if held:
            raise CheckFailure(
                f"{situation.where}it holds the encoder's weights as its own, as {held[0]}",
                place_of_parameter(made, held[0], component.owns),
                "keep it where torch does not look:  self.encoder = (encoder,)",
            )


@check(*NETWORKS, needs=["makes"])
def shapes(component: Component) -> None:
    """What it gives has the shapes of its interface for batches of 1, 2 and 7 rows, in train and in evaluation mode."""
    for situation in component.situations:
        made = fresh(situation)
        refuse_lazy(situation, made)
        for rows in BATCHES:
            inputs = Inputs.of(situation, made, rows)
            for training in (True, False):
                if training and not can_train_on(made, rows):
                    continue
                made.train(training)
                for name, output in put_out(made, inputs, f"a batch of {rows}: ").items():
                    if tuple(output.value.shape) != output.shape:
                        found = tuple(output.value.shape)
                        raise CheckFailure(
                            f"{situation.where}a batch of {rows}: {name} has the shape {found}, not {output.shape}",
                            returned(made, inputs, output.method),
                        )


@check(*NETWORKS, needs=["shapes"])
def inputs_kept(component: Component) -> None:
    """It leaves its inputs as they were: others use them after it."""
    for situation in component.situations:
        made = fresh(situation)
        inputs = Inputs.of(situation, made, 7)
        before = [inputs.main.clone(), inputs.x.clone()]
        run(made, inputs)

        def written(frame: Any, inputs: Inputs = inputs, before: list[Tensor] = before) -> bool:
            return not (same(inputs.main, before[0]) and same(inputs.x, before[1]))

        if written(None):
            for value, kept in zip((inputs.main, inputs.x), before, strict=True):
                value.copy_(kept)
            place = line_that(lambda: run(made, inputs), component.owns, written)  # noqa: B023
            raise CheckFailure(f"{situation.where}it writes into what it is given", place or place_of(type(made)),
                               "operations that end in _ write in place")  # fmt: skip


@check(*NETWORKS, needs=["inputs-kept"])
def same_seed(component: Component) -> None:
    """All its randomness is torch's default generator: one seed gives one output, and no other generator is asked."""
    for situation in component.situations:
        made = fresh(situation)
        inputs = Inputs.of(situation, made, 7)
        made.train()
        follows_seed(situation, made, lambda: run(made, inputs))  # noqa: B023
        start = {name: value.clone() for name, value in made.state_dict().items()}
        first = run(made, inputs)
        made.load_state_dict(start)
        again = run(made, inputs)
        for name, output in first.items():
            if not same(output.value.detach(), again[name].value.detach()):
                raise CheckFailure(
                    f"{situation.where}{name} differs from one call to the next, though the seed is the same",
                    line_that_remembers(made, inputs, component) or place_of(output.method),
                    "state that a forward pass changes must be a buffer, and randomness torch's default generator",
                )


@check(*NETWORKS, needs=["same-seed"])
def forward_keeps_state(component: Component) -> None:
    """A forward pass changes no state but the statistics of batch norm and its like, and in evaluation mode none."""
    for situation in component.situations:
        made = fresh(situation)
        inputs = Inputs.of(situation, made, 7)
        for training in (True, False):
            made.train(training)
            run(made, inputs)  # what is cached is there from now on
            before, allowed = remembered(made), statistics(made) if training else set[str]()

            def moved(frame: Any = None) -> list[str]:
                return [name for name in changed(before, remembered(made)) if name not in allowed]  # noqa: B023

            run(made, inputs)
            names = moved()
            if names:
                before = remembered(made)
                place = line_that(lambda: run(made, inputs), component.owns, lambda frame: bool(moved()))  # noqa: B023
                raise CheckFailure(
                    f"{situation.where}a forward pass changes {names[0]}", place or place_of(type(made).forward),
                    "the objective changes it by Phase(after=…), once an update",
                )  # fmt: skip


@check(*NETWORKS, needs=["inputs-kept"])
def gradients(component: Component) -> None:
    """Gradients are finite, and reach its inputs and each of its parameters; also where weights begin at zero."""
    for situation in component.situations:
        made = fresh(situation)
        perturb(made)
        made.train()
        inputs = Inputs.of(situation, made, 7).with_gradient()
        total = torch.zeros(())
        with seeded(), torch.enable_grad():
            for name, output in outputs(made, inputs).items():
                differentiable = component.of == "prior" or not output.needs_gradient
                if not output.value.requires_grad and not differentiable:
                    raise CheckFailure(f"{situation.where}{name} has no gradient", place_of(output.method),
                                       "is something detached, or computed under no_grad?")  # fmt: skip
                if output.value.requires_grad:
                    weights = torch.rand(output.value.shape, generator=torch.Generator().manual_seed(3))
                    value = (output.value * (weights + 0.5)).sum()
                    if component.of != "prior" and output.needs_gradient:
                        _refuse_constant(situation, name, output, value, inputs)
                    total = total + value
            if total.requires_grad:
                total.backward()
        _gradients_of(situation, made, inputs)


def _refuse_constant(situation: Situation, name: str, output: Output, value: Tensor, inputs: Inputs) -> None:
    """Each of the outputs follows the input, and not only one of them."""
    found: Any = torch.autograd.grad(value, inputs.main, retain_graph=True, allow_unused=True)[0]
    if found is None or not found.any():
        raise CheckFailure(
            f"{situation.where}{name} does not change with what it is given: its gradient is zero",
            place_of(output.method),
            "is something rounded, or detached?",
        )


def _gradients_of(situation: Situation, made: nn.Module, inputs: Inputs) -> None:
    given = inputs.main.grad
    if situation.component.of != "prior" and (given is None or not given.isfinite().all() or not given.any()):
        found = "has no gradient" if given is None or not given.any() else "has a gradient that is not finite"
        raise CheckFailure(f"{situation.where}what it is given {found}", place_of(type(made).forward))
    for name, parameter in made.named_parameters():
        if not parameter.requires_grad or not parameter.numel():
            continue
        if parameter.grad is None or not parameter.grad.any():
            place = place_of_parameter(made, name, situation.component.owns)
            raise CheckFailure(
                f"{situation.where}no gradient reaches its parameter {name}", place, "remove it, or use it"
            )
        if not parameter.grad.isfinite().all():
            place = place_of_parameter(made, name, situation.component.owns)
            raise CheckFailure(f"{situation.where}the gradient of its parameter {name} is not finite", place)


@check(*NETWORKS, needs=["inputs-kept"])
def dtype(component: Component) -> None:
    """In double precision it computes in double precision: it takes its type from its weights and inputs."""
    for situation in component.situations:
        made = ready(situation, situation.make(dtype=torch.float64)).double()
        inputs = Inputs.of(situation, made, 7, torch.float64)
        try:
            found = run(made, inputs)
        except RuntimeError as error:
            raise CheckFailure(
                f"{situation.where}in double precision: {str(error).partition(chr(10))[0]}",
                place_of_error(error, component), "make tensors with dtype=x.dtype, or x.new_zeros(…)",
            ) from error  # fmt: skip
        for name, output in found.items():
            # How a prior without weights should know the type that is wanted, no interface says.
            if output.value.dtype != torch.float64 and not (component.of == "prior" and name == "sample"):
                raise CheckFailure(
                    f"{situation.where}{name} is {output.value.dtype} where weights and inputs are torch.float64",
                    returned(made, inputs, output.method), "keep the type of the input: no .float(), dtype=x.dtype",
                )  # fmt: skip


@check(*NETWORKS, needs=["inputs-kept"])
def device(component: Component) -> None:
    """It makes tensors on the device of its inputs or weights; on an accelerator, where there is one, it runs."""
    for situation in component.situations:
        made = fresh(situation)
        inputs = Inputs.of(situation, made, 7)
        with unplaced(component.owns) as found:
            run(made, inputs)
        if found:
            hint = "say where:  device=x.device, or x.new_zeros(…); a prior keeps an empty buffer for it"
            message = f"{situation.where}{found[0].name} makes a tensor on the default device"
            raise CheckFailure(message, found[0].place, hint)
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        if accelerator is not None and not isinstance(made, FittedPrior):
            condition = inputs.condition
            moved = Inputs(situation, inputs.main.to(accelerator), inputs.x.to(accelerator),
                           None if condition is None else condition.to(accelerator))  # fmt: skip
            for name, output in outputs(made.to(accelerator), moved).items():
                if output.value.device.type != accelerator.type:
                    raise CheckFailure(f"{situation.where}on {accelerator} {name} is on {output.value.device}",
                                       place_of(output.method))  # fmt: skip


@check(*NETWORKS, needs=["forward-keeps-state"])
def state_round_trip(component: Component) -> None:
    """Its weights, shared ones too, go through safetensors into a new one that then computes bit for bit the same."""
    for situation in component.situations:
        made, other = fresh(situation), situation.make(seed=1)
        perturb(made)
        refuse_shared_storage(situation, made)
        with tempfile.TemporaryDirectory() as folder:
            written = write_checkpoint(Path(folder), Snapshot(tensors_of(made), {}, {"step": 0}).copied())
            load_tensors(other, read_checkpoint(written).model(), "the checkpoint")
        for what, restored in (("restored from safetensors", other), ("copied", copy.deepcopy(made))):
            lost = [
                name
                for name in changed(remembered(made), remembered(restored))
                if name not in statistics(made)
            ]
            if lost:
                raise CheckFailure(
                    f"{situation.where}when {what}, it has another {lost[0]}",
                    place_of_parameter(made, lost[0], component.owns),
                    "what must be kept is a parameter, or a buffer that is not persistent=False",
                )
            for module in (made, restored):
                module.eval()
            inputs = Inputs.of(situation, made, 7)
            first, second = run(made, inputs), run(restored, inputs)
            for name, output in first.items():
                if not same(output.value.detach(), second[name].value.detach()):
                    raise CheckFailure(
                        f"{situation.where}when {what}, {name} differs", place_of(output.method)
                    )


@check("encoder", needs=["shapes"])
def posterior(component: Component) -> None:
    """``deterministic`` says truly whether its posterior has a density, and the posterior is a dataclass of tensors."""
    for situation in component.situations:
        made = fresh(situation).eval()
        inputs = Inputs.of(situation, made, 2)
        found: Posterior = made(inputs.main, inputs.condition)
        if not hasattr(type(found), "__dataclass_fields__"):
            raise CheckFailure(
                f"{situation.where}its posterior {type(found).__name__} is no dataclass: its tensors are not found",
                place_of(type(found)), "put @dataclass(frozen=True, eq=False) above it",
            )  # fmt: skip
        refuses = refuses_density(lambda: found.log_prob(found.mean))  # noqa: B023
        if refuses != made.deterministic:
            said = "has no density" if refuses else "has a density"
            raise CheckFailure(
                f"{situation.where}its posterior {said}, and deterministic is {made.deterministic}",
                place_of_assignment(type(made), "deterministic") or place_of(type(made)),
            )


@check("observation", needs=["shapes"])
def in_range(component: Component) -> None:
    """Its mean and its draws lie within the data's range, and without a likelihood its log_prob says so."""
    for situation in component.situations:
        made = fresh(situation).eval()
        inputs = Inputs.of(situation, made, 7)
        low, high = situation.data.range or (-float("inf"), float("inf"))
        with torch.no_grad(), seeded():
            observed = made(inputs.main * 3)
            for name, values in (("mean", observed.mean), ("sample()", observed.sample())):
                if not ((values >= low) & (values <= high)).all():
                    reached = f"{float(values.min()):.4g} to {float(values.max()):.4g}"
                    raise CheckFailure(
                        f"{situation.where}{name} reaches from {reached}, and the data from {low:g} to {high:g}",
                        place_of(getattr(type(observed).__dict__.get(name.removesuffix("()")), "fget", None)
                                 or getattr(type(observed), name.removesuffix("()"))),
                    )  # fmt: skip
        if refuses_density(lambda: observed.log_prob(inputs.x)) == made.has_likelihood:  # noqa: B023
            raise CheckFailure(
                f"{situation.where}has_likelihood is {made.has_likelihood}, and log_prob says otherwise",
                place_of_assignment(type(made), "has_likelihood") or place_of(type(made)),
            )


def fresh(situation: Situation, seed: int = 0) -> Any:
    """The component, ready to be used."""
    return ready(situation, situation.make(seed))


def run(made: nn.Module, inputs: Inputs) -> Outputs:
    """What a component gives, without gradients and from a seed."""
    with torch.no_grad(), seeded():
        return outputs(made, inputs)


def put_out(made: nn.Module, inputs: Inputs, when: str) -> Outputs:
    """What a component gives; what it raises is a failure that says when."""
    component = inputs.situation.component
    try:
        return run(made, inputs)
    except CheckFailure:
        raise
    except Exception as error:
        raise CheckFailure(
            f"{inputs.situation.where}{when}{type(error).__name__}: {str(error).partition(chr(10))[0]}",
            place_of_error(error, component) or place_of(type(made)),
        ) from error


def perturb(made: nn.Module) -> None:
    """Move the weights a little, so that none of them is where it began: at zero, say."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def returned(made: nn.Module, inputs: Inputs, method: Callable[..., Any]) -> Place | None:
    """The line from which a method of a component returned what is wrong."""
    owns = inputs.situation.component.owns
    return line_of_return(lambda: run(made, inputs), owns, method) or place_of(method)


def place_of_error(error: BaseException, component: Component) -> Place | None:
    from ganvae_kit.places import place_in_traceback

    return place_in_traceback(error, component.owns)


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


def refuse_lazy(situation: Situation, made: nn.Module) -> None:
    """Weights must be there before data is: they are counted, moved, averaged and given to an optimizer.

    Raises:
        CheckFailure: some have no shape yet.
    """
    for name, tensor in (*made.named_parameters(), *made.named_buffers()):
        if is_lazy(tensor):
            raise CheckFailure(
                f"{situation.where}its parameter {name} has no shape before it has seen data",
                place_of_parameter(made, name, situation.component.owns),
                "the facts say how large it is: data.shape, latent_shape, raw_shape",
            )


def refuse_shared_storage(situation: Situation, made: nn.Module) -> None:
    """Two parameters that are not one, but share memory, are stored twice and trained twice.

    Raises:
        CheckFailure: there are such.
    """
    seen: dict[int, str] = {}
    for name, tensor in tensors_of(made).items():
        if not tensor.numel():
            continue
        memory = tensor.untyped_storage().data_ptr()
        if memory in seen:
            raise CheckFailure(
                f"{situation.where}{seen[memory]} and {name} share memory and are two parameters: both are stored",
                place_of_parameter(made, name, situation.component.owns),
                "share the parameter itself:  self.second.weight = self.first.weight",
            )
        seen[memory] = name


def follows_seed(situation: Situation, made: nn.Module, call: Callable[[], object]) -> None:
    """Hold what a call draws against torch's default generator.

    Raises:
        CheckFailure: it draws from another one.
    """
    component = situation.component
    before = other_generators(component.owns) | remembered_generators(made)
    with drawn(component.owns) as draws, seedings(component.owns) as seeded_at:
        call()
    if seeded_at:
        raise CheckFailure(
            f"{situation.where}it seeds torch's default generator", seeded_at[0],
            "the engine seeds it for every phase of every step; with a seed of one's own all draws are alike",
        )  # fmt: skip
    own = next((draw for draw in draws if draw.own_generator), None)
    hint = "draw from torch's default generator, which the engine seeds for every phase of every step"
    if own is not None:
        raise CheckFailure(f"{situation.where}it draws from a generator of its own", own.place, hint)

    def states() -> dict[str, Any]:
        now = other_generators(component.owns) | remembered_generators(made)
        return {
            name: now.get(name, state) for name, state in before.items()
        }  # a module may be imported meanwhile

    def moved(frame: Any = None) -> list[str]:
        return changed(before, states())

    names = moved()
    if names:
        before = states()
        place = line_that(call, component.owns, lambda frame: bool(moved()))
        raise CheckFailure(f"{situation.where}it draws from {names[0]}", place or place_of(type(made)), hint)


def remembered_generators(made: nn.Module) -> dict[str, Any]:
    """The states of generators that a module keeps in its attributes."""
    from ganvae_kit.state import state_of_generator

    return {
        f"a generator of its own, {name}": state_of_generator(value)
        for part in made.modules()
        for name, value in vars(part).items()
        if state_of_generator(value) is not None
    }


def line_that_remembers(made: nn.Module, inputs: Inputs, component: Component) -> Place | None:
    """The line that changes what a module remembers outside of its buffers."""
    before = remembered(made)
    return line_that(
        lambda: run(made, inputs), component.owns, lambda frame: bool(changed(before, remembered(made)))
    )
