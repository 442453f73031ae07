"""Checks: their list, outcomes, failures, and how one is run."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from ganvae_core.errors import GanvaeError
from ganvae_core.plugins.specs import Kind
from ganvae_kit.offline import offline
from ganvae_kit.places import Owns, Place, place_in_traceback

Of = Kind | Literal["plugin", "recipe"]
State = Literal["passed", "failed", "not checked"]


class CheckFailure(AssertionError):  # noqa: N818 - it is what a failed assertion is
    """A failed check.

    Args:
        message: what is wrong.
        place: the file and line to look at.
        hints: what to do.
    """

    def __init__(self, message: str, place: Place | None = None, *hints: str) -> None:
        self.message = message
        self.place = place
        self.hints = tuple(hint for hint in hints if hint)
        where = (f"look at {place}",) if place else ()
        super().__init__("\n  ".join((message, *where, *self.hints)))

    @classmethod
    def of(
        cls,
        error: BaseException,
        place: Place | None = None,
        *hints: str,
        where: str = "",
        owns: Owns | None = None,
    ) -> CheckFailure:
        """The failure that an error is.

        Args:
            error: with its own hints, if it is one of ganvae's.
            place: to look at, unless the error came through a file that ``owns`` names.
            hints: further ones.
            where: what the message begins with.
            owns: which files are the plugin's.
        """
        own = isinstance(error, GanvaeError)
        message = error.message if own else f"{type(error).__name__}: {error}"
        place = (place_in_traceback(error, owns) if owns else None) or place
        return cls(f"{where}: {message}" if where else message, place, *(error.hints if own else ()), *hints)


class NotChecked(Exception):  # noqa: N818 - no error: it says why a check was left out
    """A check that does not apply, or cannot be done here; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check of one subject.

    Args:
        check: its name.
        subject: ``plugin``, ``objective/elbo``, ``recipe/vae`` …
        state: whether the promise was kept.
        message: what was wrong, or why it was not checked.
        file: to look at, or empty.
        line: to look at, or 0.
        seconds: that it took.
        raised: the failure itself, with what caused it.
    """

    check: str
    subject: str
    state: State
    message: str = ""
    file: str = ""
    line: int = 0
    seconds: float = 0.0
    raised: CheckFailure | None = field(default=None, compare=False, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """This outcome as plain JSON values."""
        return {key: getattr(self, key) for key in self.__dataclass_fields__ if key != "raised"}


Subject = Any
"""A plugin, one of its components, or one of its recipes: it has ``of``, ``label``, ``owns`` and ``outcomes``."""
Cases = Callable[[Any], Iterable[Any]]
"""The cases in which a subject is checked; each has a ``label``, and a ``place`` for failures that name no line."""


@dataclass(frozen=True)
class Check:
    """One promise, and the function that holds a subject to it.

    Args:
        name: unique.
        of: what it is about.
        proves: one sentence.
        function: raises ``CheckFailure`` or ``NotChecked``.
        needs: names of checks that must have passed before, since this one would only repeat what they say.
        each: gives the cases of a subject, for each of which the function is called; None for the subject itself.
    """

    name: str
    of: tuple[Of, ...]
    proves: str
    function: Callable[[Any], None]
    needs: tuple[str, ...] = ()
    each: Cases | None = None

    def run(self, subject: Any) -> None:
        """Hold a subject to the promise, in each of its cases.

        Raises:
            CheckFailure: it is not kept in one of them.
            NotChecked: it applies to none of them.
        """
        if self.each is None:
            self.function(subject)
            return
        applies, reason = False, NotChecked("it was not made")
        for case in self.each(subject):
            try:
                self.function(case)
                applies = True
            except NotChecked as other:
                reason = other
            except CheckFailure as failure:
                hints = failure.hints
                raise CheckFailure(
                    f"{case.label}: {failure.message}", failure.place or case.place, *hints
                ) from failure
        if not applies:
            raise reason


CHECKS: dict[str, Check] = {}
"""All checks by name, in the order in which they are run."""

Function = TypeVar("Function", bound=Callable[[Any], None])


def check(*of: Of, needs: Sequence[str] = (), each: Cases | None = None) -> Callable[[Function], Function]:
    """Decorates a function that is a check of these subjects. Its docstring's first paragraph says what it proves."""

    def register(function: Function) -> Function:
        name = function.__name__.replace("_", "-")
        assert name not in CHECKS, f"two checks are called {name}"
        text = inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0]
        CHECKS[name] = Check(name, of, " ".join(text.split()), function, tuple(needs), each)
        return function

    return register


def checks_of(subject: Subject) -> list[Check]:
    """The checks that apply to a subject, in their order."""
    return [check for check in CHECKS.values() if subject.of in check.of]


def held(check: Check, subject: Subject) -> Outcome:
    """The outcome of a check, run at most once for a subject; what it needs is run before."""
    if check.name not in subject.outcomes:
        subject.outcomes[check.name] = _held(check, subject)
    return subject.outcomes[check.name]


def _held(check: Check, subject: Subject) -> Outcome:
    for name in check.needs:
        if subject.of in CHECKS[name].of and held(CHECKS[name], subject).state != "passed":
            return Outcome(check.name, subject.label, "not checked", f"{name} comes first")
    started = time.perf_counter()
    state, message, file, line, raised = "passed", "", "", 0, None
    try:
        enforce(check, subject)
    except NotChecked as reason:
        state, message = "not checked", str(reason)
    except CheckFailure as failure:
        state, message, raised = "failed", "\n".join((failure.message, *failure.hints)), failure
        file, line = (failure.place.file, failure.place.line) if failure.place else ("", 0)
    seconds = time.perf_counter() - started
    return Outcome(check.name, subject.label, state, message, file, line, seconds, raised)


def enforce(check: Check, subject: Subject) -> None:
    """Run a check by itself, without a network.

    Raises:
        CheckFailure: the promise is not kept, or the plugin's code raised something on the way.
        NotChecked: it does not apply.
    """
    try:
        with offline():
            check.run(subject)
    except (CheckFailure, NotChecked):
        raise
    except (Exception, SystemExit) as error:
        place = place_in_traceback(error, subject.owns) or getattr(subject, "place", None)
        if place is None and not isinstance(error, GanvaeError):
            what = f"outside of the plugin's own files, {type(error).__name__}: {error}"
            raise CheckFailure(what, place_in_traceback(error, lambda file: True)) from error
        raise CheckFailure.of(error, place) from error
