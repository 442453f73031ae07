"""Checks of distributions: priors, posteriors of encoders, observations with a likelihood."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ganvae_core.errors import NotFittedError
from ganvae_core.interfaces import ANY_SUPPORT, FittedPrior
from ganvae_kit.checks import CheckFailure, NotChecked, check
from ganvae_kit.densities import FEW_VALUES, compared
from ganvae_kit.exercise import Inputs, codes
from ganvae_kit.modules import fresh, perturb, returned
from ganvae_kit.places import Place, place_of, place_of_assignment
from ganvae_kit.situations import Situation, condition_of, seeded
from ganvae_kit.state import changed, remembered
from ganvae_kit.subjects import Component


@check("observation", needs=["shapes"])
def masks(component: Component) -> None:
    """Entries that a mask leaves out count nothing in log_prob, which takes leading sample axes of x."""
    for situation in component.situations:
        made = fresh(situation).eval()
        if not made.has_likelihood:
            raise NotChecked("it has no likelihood")
        inputs = Inputs.of(situation, made, 7)
        with torch.no_grad(), seeded():
            observed, x = made(inputs.main), inputs.x
            whole, none = observed.log_prob(x), observed.log_prob(x, torch.zeros_like(x, dtype=torch.bool))
            every = observed.log_prob(x, torch.ones_like(x, dtype=torch.bool))
            draws = observed.log_prob(torch.stack([x, x.flip(0)]))
            single = torch.stack([whole, observed.log_prob(x.flip(0))])
        wrong = ""
        if none.any():
            wrong = f"where no entry was observed log_prob is {float(none[0]):.4g}, not 0"
        elif not torch.allclose(every, whole, rtol=1e-4):
            wrong = "where every entry was observed log_prob is another with a mask than without"
        elif draws.shape != single.shape or not torch.allclose(draws, single, rtol=1e-4, atol=1e-4):
            wrong = f"log_prob of x (2, 7, *X) has the shape {tuple(draws.shape)} or other values than of each x alone"
        if wrong:
            raise CheckFailure(
                f"{situation.where}{wrong}",
                place_of(type(observed).log_prob),
                "gv.sum_event(terms, event_axes, mask) sums the observed entries of an event",
            )


@check("prior", needs=["shapes"])
def support(component: Component) -> None:
    """It says where its codes live, and its draws are there."""
    for situation in component.situations:
        made = fresh(situation)
        if getattr(made, "support", None) not in ANY_SUPPORT:
            raise CheckFailure(
                f"{situation.where}support is {getattr(made, 'support', None)!r}, not one of"
                f" {', '.join(sorted(ANY_SUPPORT))}",
                place_of_assignment(type(made), "support") or place_of(type(made)),
            )
        with torch.no_grad(), seeded():
            z = made.sample(2_000, one_condition(situation, 2_000)).flatten(1)
        few = all(len(column.unique()) <= FEW_VALUES for column in z.T)
        if (made.support == "discrete") != few and z.shape[1] > 1:
            found = "takes few values in each coordinate" if few else "takes a new value for each draw"
            raise CheckFailure(
                f"{situation.where}support is {made.support}, and a code {found}",
                place_of_assignment(type(made), "support") or place_of(type(made)),
            )


@check("prior", needs=["shapes"])
def prior_gradients(component: Component) -> None:
    """Where log_prob depends on the code, its gradient with respect to the code is finite at the prior's own draws."""
    for situation in component.situations:
        made = fresh(situation)
        with seeded():
            condition = one_condition(situation, 200)
            z = made.sample(200, condition).detach().requires_grad_()
            value = made.log_prob(z, condition)
        if value.requires_grad:
            (found,) = torch.autograd.grad(value.sum(), z, allow_unused=True)
            if found is not None and not found.isfinite().all():
                raise CheckFailure(
                    f"{situation.where}the gradient of log_prob is not finite", place_of(made.log_prob)
                )


@check("prior", needs=["support", "same-seed"])
def density(component: Component) -> None:
    """``log_prob`` is the logarithm of a density that integrates to one and that the draws follow.

    A chi-squared test; a correct prior is reported for fewer than 1 seed in 1,000,000, and the seeds are fixed.
    """
    for situation in component.situations:
        made = fresh(situation)
        perturb(made)
        _compare(
            situation,
            lambda count: made.sample(count, one_condition(situation, count)),  # noqa: B023
            lambda z: made.log_prob(z, one_condition(situation, len(z))),  # noqa: B023
            (place_of(made.sample), _returned(situation, made, made.log_prob)),
            on_sphere=made.support == "sphere",
        )


@check("encoder", needs=["posterior", "same-seed"])
def posterior_density(component: Component) -> None:
    """The posterior's ``log_prob`` is the logarithm of a density that integrates to one and that its draws follow.

    A chi-squared test; a correct posterior is reported for fewer than 1 seed in 1,000,000.
    """
    checked = 0
    for situation in component.situations:
        made = fresh(situation).eval()
        if made.deterministic:
            continue
        inputs = Inputs.of(situation, made, 2)
        with torch.no_grad():
            found: Any = made(inputs.main[1:], None if inputs.condition is None else inputs.condition[1:])
        kind: Any = type(found)
        _compare(
            situation,
            lambda count: found.rsample((count,)).squeeze(1),  # noqa: B023
            lambda z: found.log_prob(z.unsqueeze(1)).squeeze(1),  # noqa: B023
            (place_of(kind.rsample), place_of(kind.log_prob)),
        )
        checked += 1
    if not checked:
        raise NotChecked("its posterior is one point and has no density")


@check("observation", needs=["in-range", "same-seed", "masks"])
def likelihood(component: Component) -> None:
    """``log_prob`` is the logarithm of a density, or of probabilities, that add up to one and that the draws follow.

    A chi-squared test for events of one value and of two; a correct observation is reported for fewer than 1 seed in
    1,000,000. It is not made where draws beyond the bounds of data are set to them.
    """
    checked = 0
    for situation, values in itertools.product(component.situations, (1, 2)):
        shape = (*[1] * (len(situation.data.shape) - 1), values)
        few = replace(situation, data=replace(situation.data, shape=shape))
        if few.refusal is not None:
            continue
        made = fresh(few).eval()
        if not made.has_likelihood:
            raise NotChecked("it has no likelihood")
        raw = Inputs.of(few, made, 1).main
        try:
            _compare(
                few,
                lambda count: made(raw.expand(count, *raw.shape[1:])).sample(),  # noqa: B023
                lambda x: made(raw.expand(len(x), *raw.shape[1:])).log_prob(x),  # noqa: B023
                (place_of(type(made).forward), place_of(type(made).forward)),
            )
        except NotChecked:
            if few.data.range is None:
                raise
            continue
        checked += 1
    if not checked:
        raise NotChecked("draws beyond the bounds of the data are set to them, so their density is none")


@check("prior", needs=["shapes"])
def fit(component: Component) -> None:
    """A prior that is fitted refuses to be used before, finds the same for the same codes, and stores what it found."""
    for situation in component.situations:
        made, other = situation.make(), situation.make(seed=1)
        if not isinstance(made, FittedPrior):
            raise NotChecked("it is not fitted after training")
        z = codes(situation.shape, made.support)
        if made.fitted:
            raise CheckFailure(f"{situation.where}it is fitted from the start", place_of(type(made)))
        for name, use in (("sample", lambda: made.sample(2)), ("log_prob", lambda: made.log_prob(z[:2]))):  # noqa: B023
            try:
                use()
            except NotFittedError:
                continue
            raise CheckFailure(f"{situation.where}{name} does not raise NotFittedError before it is fitted",
                               place_of(getattr(made, name)))  # fmt: skip
        made.fit(z.clone(), one_condition(situation, len(z)))
        other.fit(z.clone(), one_condition(situation, len(z)))
        if not made.fitted:
            raise CheckFailure(f"{situation.where}it is not fitted after fit", place_of(made.fit))
        differing = changed(remembered(made), remembered(other))
        if differing:
            raise CheckFailure(
                f"{situation.where}the same codes give another {differing[0]} the second time",
                place_of(made.fit),
            )


def one_condition(situation: Situation, count: int) -> Tensor | None:
    """(count, *K) the same condition in every row, or None."""
    condition = condition_of(situation.data, 1)
    return None if condition is None else condition.expand(count, *condition.shape[1:])


def _compare(
    situation: Situation,
    sample: Callable[[int], Tensor],
    log_prob: Callable[[Tensor], Tensor],
    places: tuple[Place | None, Place | None],
    on_sphere: bool = False,
) -> None:
    with torch.no_grad(), seeded():
        evidence = compared(sample, log_prob, on_sphere=on_sphere)
    if evidence.message:
        place, other = places[::-1] if evidence.of_density else places
        hint = "" if evidence.of_density else f"the density is computed at {other}"
        raise CheckFailure(f"{situation.where}{evidence.message}", place, hint)


def _returned(situation: Situation, made: Any, method: Callable[..., Any]) -> Place | None:
    return returned(made, Inputs.of(situation, made, 2), method)
