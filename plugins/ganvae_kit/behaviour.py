"""Checks that networks and losses share: state, randomness, device, memory layout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch

from ganvae_core.interfaces import FittedPrior
from ganvae_kit.calls import unplaced
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.random_draws import drawn
from ganvae_kit.state import moved_by, same
from ganvae_kit.subjects import Component
from ganvae_kit.trials import NETWORKS, PhaseTrial, Trial, trials, trials_in


@check(*NETWORKS, "objective", needs=["shapes", "losses", "work-of-the-engine"], each=trials)
def keeps_state(trial: Trial) -> None:
    """A forward pass or a loss changes no state and none of its inputs; only batch norm and its like may.

    The engine may compute a loss once for each micro-batch, and again after it ran out of memory. In evaluation mode
    a network changes nothing at all.
    """
    for training in (True,) if isinstance(trial, PhaseTrial) else (True, False):
        with trial.in_mode(training):
            trial.run()  # what is cached is there from now on
        if names := moved_by(trial.call, trial.state, partial(trial.in_mode, training)):
            what = "evaluating the loss" if isinstance(trial, PhaseTrial) else "a forward pass"
            hint = "what must change is changed by Phase(after=…), once an update; x.mul_(…) writes in place"
            raise CheckFailure(f"{what} changes {names[0]}", hint)


@check(*NETWORKS, "objective", needs=["keeps-state"], each=trials)
def same_seed(trial: Trial) -> None:
    """All its randomness is torch's default generator: one seed gives one result, and no other generator is used."""
    trial.made.train()
    hint = "draw from torch's default generator, which the engine seeds for every phase of every step"
    with drawn(trial.owns) as draws:
        first = trial.run()
    if trial.is_reseeded:
        raise CheckFailure("it seeds torch's default generator", f"do not: {hint}")
    own = next((draw for draw in draws if draw.own_generator), None)
    if own is not None:
        raise CheckFailure("it draws from a generator of its own", hint, place=own.place)
    again = trial.run()
    for name, output in first.items():
        if not same(output.value, again[name].value):
            wrong = f"{name} differs from one call to the next, though torch's seed is the same"
            raise CheckFailure(f"{wrong}: it draws from another generator", hint)


@check(*NETWORKS, "objective", needs=["keeps-state"], each=trials)
def device(trial: Trial) -> None:
    """It makes tensors on the device of its inputs or weights; a network also runs on an accelerator."""
    with unplaced(trial.owns) as found:
        trial.run()
    if found:
        hint = "say where:  device=x.device, or x.new_zeros(…); a prior keeps an empty buffer for it"
        raise CheckFailure(
            f"{found[0].name} makes a tensor on the default device", hint, place=found[0].place
        )
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None or isinstance(trial, PhaseTrial) or isinstance(trial.made, FittedPrior):
        return
    trial.made.to(accelerator)
    trial.inputs = trial.inputs.each(lambda value: value.to(accelerator))
    for name, output in trial.run().items():
        if output.value.device.type != accelerator.type:
            raise CheckFailure(f"on {accelerator} {name} is on {output.value.device}")


def _of_several_channels(component: Component) -> Iterator[Trial]:
    for situation in component.situations:
        channels, *sides = situation.data.shape
        two = replace(
            situation, data=replace(situation.data, shape=(2, *sides))
        )  # of grey images, one layout is both
        if len(sides) == 2 and (channels > 1 or two.refusal is None):
            return trials_in([situation if channels > 1 else two])
    raise NotChecked("it takes no images of several channels")


@check(
    "generator",
    "encoder",
    "critic",
    "observation",
    "objective",
    needs=["same-seed"],
    each=_of_several_channels,
)
def memory_layout(trial: Trial) -> None:
    """Images of several channels may lie in memory pixel by pixel, as accelerators get them."""
    trial.channels_last()
    try:
        trial.run()
    except RuntimeError as error:
        hint = "x.flatten(1) and x.reshape(…) take every layout; x.view(…) does not"
        raise CheckFailure.of(error, hint, where="in the memory format channels_last") from error
