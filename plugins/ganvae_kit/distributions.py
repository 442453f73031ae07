"""Checks of what draws and has a density: priors, posteriors of encoders, observations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ganvae_core.config.options import component_facts
from ganvae_core.errors import NotFittedError
from ganvae_core.interfaces import ANY_SUPPORT, Encoder, FittedPrior, Posterior
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.data import seeded
from ganvae_kit.densities import FEW_VALUES, compared
from ganvae_kit.situations import Situation, situations
from ganvae_kit.state import changed, remembered
from ganvae_kit.subjects import Component
from ganvae_kit.trials import Trial, codes, one_condition, refuses_density, trials


@check("encoder", needs=["shapes"], each=trials)
def posterior(trial: Trial) -> None:
    """``deterministic`` says truly whether its posterior has a density, and the posterior is a dataclass of tensors."""
    made = trial.made.eval()
    found: Posterior = made(trial.inputs.main, trial.inputs.condition)
    if not hasattr(type(found), "__dataclass_fields__"):
        message = f"its posterior {type(found).__name__} is not a dataclass, so its tensors are not found"
        raise CheckFailure(message, "put @dataclass(frozen=True, eq=False) above it")
    refuses = refuses_density(lambda: found.log_prob(found.mean))
    if refuses != made.deterministic:
        said = "has no density" if refuses else "has a density"
        message = f"its posterior {said}, and deterministic is {made.deterministic}"
        raise CheckFailure(message)


@check("observation", needs=["shapes"], each=trials)
def in_range(trial: Trial) -> None:
    """Its mean and its draws lie within the data's range, and log_prob raises where it has no likelihood."""
    made, inputs = trial.made.eval(), trial.inputs
    with torch.no_grad(), seeded():
        observed = made(inputs.main * 3)
        low, high = trial.situation.data.range or (-torch.inf, torch.inf)
        for name, value in (("mean", observed.mean), ("sample()", observed.sample())):
            if not ((value >= low) & (value <= high)).all():
                reaches = f"from {float(value.min()):.4g} to {float(value.max()):.4g}"
                message = f"{name} reaches {reaches}, and the data from {low:g} to {high:g}"
                raise CheckFailure(message)
    if refuses_density(lambda: observed.log_prob(inputs.x)) == made.has_likelihood:
        message = f"has_likelihood is {made.has_likelihood}, and log_prob contradicts it"
        raise CheckFailure(message)


@check("observation", needs=["shapes"], each=trials)
def masks(trial: Trial) -> None:
    """Entries that a mask leaves out count nothing in log_prob, which takes leading sample axes of x."""
    made, x = trial.made.eval(), trial.inputs.x
    if not made.has_likelihood:
        raise NotChecked("it has no likelihood")
    with torch.no_grad(), seeded():
        observed = made(trial.inputs.main)
        whole, none = observed.log_prob(x), observed.log_prob(x, torch.zeros_like(x, dtype=torch.bool))
        every = observed.log_prob(x, torch.ones_like(x, dtype=torch.bool))
        draws = observed.log_prob(torch.stack([x, x.flip(0)]))
        single = torch.stack([whole, observed.log_prob(x.flip(0))])
    if none.any():
        wrong = f"where no entry was observed, log_prob is {float(none[0]):.4g}, not 0"
    elif not torch.allclose(every, whole, rtol=1e-4):
        wrong = "where every entry was observed, log_prob with a mask differs from log_prob without"
    elif draws.shape != single.shape or not torch.allclose(draws, single, rtol=1e-4, atol=1e-4):
        wrong = f"log_prob of x (2, 7, *X) has the shape {tuple(draws.shape)}, or differs from log_prob of each x alone"
    else:
        return
    hint = "gv.sum_event(terms, event_axes, mask) sums the observed entries of an event"
    raise CheckFailure(wrong, hint)


@check("prior", needs=["makes"], each=trials)
def own_weights(trial: Trial) -> None:
    """It keeps an encoder that it is given out of its own state, where the model would store and train it twice."""
    if "encoder" not in component_facts(trial.component.target):
        raise NotChecked("it takes no encoder")
    for name, part in trial.made.named_modules():
        if isinstance(part, Encoder):
            raise CheckFailure(
                f"it holds the encoder's weights as its own, as {name}",
                "keep it out of the module's children:  self.encoder = (encoder,)",
            )


@check("prior", needs=["shapes"], each=trials)
def support(trial: Trial) -> None:
    """It says where its codes live, and its draws are there."""
    found = getattr(trial.made, "support", None)
    with torch.no_grad(), seeded():
        z = trial.made.sample(2_000, one_condition(trial.situation, 2_000)).flatten(1)
    few = all(len(column.unique()) <= FEW_VALUES for column in z.T)
    if found not in ANY_SUPPORT:
        wrong = f"support is {found!r}, not one of {', '.join(sorted(ANY_SUPPORT))}"
    elif (found == "discrete") != few and z.shape[1] > 1:
        takes = "takes few values in each coordinate" if few else "takes a new value for each draw"
        wrong = f"support is {found}, and a code {takes}"
    else:
        return
    raise CheckFailure(wrong)


@check("prior", needs=["shapes"], each=trials)
def prior_gradients(trial: Trial) -> None:
    """Where log_prob depends on the code, its gradient with respect to the code is finite at the prior's own draws."""
    with seeded():
        condition = one_condition(trial.situation, 200)
        z = trial.made.sample(200, condition).detach().requires_grad_()
        value = trial.made.log_prob(z, condition)
    if value.requires_grad:
        (found,) = torch.autograd.grad(value.sum(), z, allow_unused=True)
        if found is not None and not found.isfinite().all():
            raise CheckFailure("the gradient of log_prob is not finite")


@check("prior", needs=["support", "same-seed"], each=trials)
def density(trial: Trial) -> None:
    """``log_prob`` is the logarithm of a density that integrates to one and that the draws follow.

    A chi-squared test; a correct prior is reported for fewer than 1 seed in 1,000,000, and the seeds are fixed.
    """
    made, situation = trial.perturbed().made, trial.situation
    _compare(
        lambda count: made.sample(count, one_condition(situation, count)),
        lambda z: made.log_prob(z, one_condition(situation, len(z))),
        on_sphere=made.support == "sphere",
    )


@check("encoder", needs=["posterior", "same-seed"], each=trials)
def posterior_density(trial: Trial) -> None:
    """The posterior's ``log_prob`` is the logarithm of a density that integrates to one and that its draws follow.

    A chi-squared test; a correct posterior is reported for fewer than 1 seed in 1,000,000.
    """
    made, inputs = trial.made.eval(), trial.inputs.each(lambda value: value[1:2])
    if made.deterministic:
        raise NotChecked("its posterior is one point and has no density")
    with torch.no_grad():
        found: Any = made(inputs.main, inputs.condition)
    _compare(
        lambda count: found.rsample((count,)).squeeze(1),
        lambda z: found.log_prob(z.unsqueeze(1)).squeeze(1),
    )


def _small_events(component: Component) -> Iterator[Trial]:
    """The observation of events of one value and of two, one row of each."""
    for situation, values in itertools.product(component.situations, (1, 2)):
        shape = (*[1] * (len(situation.data.shape) - 1), values)
        few = replace(situation, data=replace(situation.data, shape=shape))
        if few.refusal is None:
            yield Trial(few, rows=1)


@check("observation", needs=["in-range", "same-seed", "masks"], each=_small_events)
def likelihood(trial: Trial) -> None:
    """``log_prob`` is the logarithm of a density, or of probabilities, that add up to one and that the draws follow.

    A chi-squared test for events of one value and of two; a correct observation is reported for fewer than 1 seed in
    1,000,000. It is not made where draws beyond the bounds of data are set to them.
    """
    made, raw = trial.made.eval(), trial.inputs.main
    if not made.has_likelihood:
        raise NotChecked("it has no likelihood")
    _compare(
        lambda count: made(raw.expand(count, *raw.shape[1:])).sample(),
        lambda x: made(raw.expand(len(x), *raw.shape[1:])).log_prob(x),
    )


@check("prior", needs=["shapes"], each=situations)
def fit(situation: Situation) -> None:
    """A prior that is fitted cannot be used before, finds the same for the same codes, and stores what it found."""
    made, other = situation.make(), situation.make(seed=1)
    if not isinstance(made, FittedPrior):
        raise NotChecked("it is not fitted after training")
    if made.fitted:
        raise CheckFailure("it is fitted from the start")
    z = codes(situation.shape, made.support)
    for name, arguments in (("sample", (2,)), ("log_prob", (z[:2],))):
        try:
            getattr(made, name)(*arguments)
        except NotFittedError:
            continue
        raise CheckFailure(f"{name} does not raise NotFittedError before it is fitted")
    for each in (made, other):
        each.fit(z.clone(), one_condition(situation, len(z)))
    if differing := changed(remembered(made), remembered(other)):
        raise CheckFailure(f"the same codes give another {differing[0]} the second time")
    if not made.fitted:
        raise CheckFailure("it is not fitted after fit")


def _compare(
    sample: Callable[[int], Tensor],
    log_prob: Callable[[Tensor], Tensor],
    on_sphere: bool = False,
) -> None:
    with torch.no_grad(), seeded():
        evidence = compared(sample, log_prob, on_sphere=on_sphere)
    if evidence.message:
        raise CheckFailure(evidence.message)
