"""Checks: their list, outcomes, failures, and how one is run."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from ganvae_core.errors import GanvaeError
from ganvae_core.plugins.specs import Kind
from ganvae_kit.offline import offline
from ganvae_kit.places import Place, place_in_traceback

Of = Kind | Literal["plugin", "recipe"]
State = Literal["passed", "failed", "not checked"]


class CheckFailure(AssertionError):  # noqa: N818 - it is what a failed assertion is
    """A failed check. It names the plugin's line that raised its cause, else where what is checked begins.

    Args:
        message: what is wrong.
        hints: what to do.
        place: the file and line to look at, where it is another one.
    """

    def __init__(self, message: str, *hints: str, place: Place | None = None) -> None:
        self.message = message
        self.hints = tuple(hint for hint in hints if hint)
        self.place = place
        super().__init__(message)

    def __str__(self) -> str:
        where = (f"look at {self.place}",) if self.place else ()
        return "\n  ".join((self.message, *where, *self.hints))

    @classmethod
    def of(cls, error: BaseException, *hints: str, where: str = "") -> CheckFailure:
        """The failure that an error is.

        Args:
            error: with its own hints, if it is one of ganvae's.
            hints: further ones.
            where: what the message begins with.
        """
        own = isinstance(error, GanvaeError)
        message = error.message if own else f"{type(error).__name__}: {error}"
        return cls(f"{where}: {message}" if where else message, *(error.hints if own else ()), *hints)


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
        seconds: that it took.
        raised: the failure itself, with what caused it.
    """

    check: str
    subject: str
    state: State
    message: str = ""
    seconds: float = 0.0
    raised: CheckFailure | None = field(default=None, compare=False, repr=False)

    @property
    def place(self) -> Place | None:
        """The file and line to look at."""
        return self.raised.place if self.raised else None

    def as_dict(self) -> dict[str, Any]:
        """This outcome as plain JSON values."""
        file, line = (self.place.file, self.place.line) if self.place else ("", 0)
        return {
            "check": self.check, "subject": self.subject, "state": self.state, "message": self.message,
            "file": file, "line": line, "seconds": self.seconds,
        }  # fmt: skip


Subject = Any
"""A plugin, one of its components or recipes: it has ``of``, ``label``, ``place``, ``owns`` and ``outcomes``."""
Cases = Callable[[Any], Iterable[Any]]
"""The cases in which a subject is checked; each has a ``label`` and a ``place``."""


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
        """Hold a subject to the promise, in each of its cases, without a network.

        Raises:
            CheckFailure: it is not kept in one of them, or the plugin's code raised something on the way.
            NotChecked: it applies to none of them.
        """
        applies, reason = False, NotChecked("it was not made")
        with offline():
            for case in self._cases(subject):
                try:
                    with _failures_of(subject, case):
                        self.function(case)
                    applies = True
                except NotChecked as other:
                    reason = other
        if not applies:
            raise reason

    def _cases(self, subject: Any) -> Iterator[Any]:
        if self.each is None:
            yield subject
            return
        with _failures_of(subject, subject):
            yield from self.each(subject)


@contextmanager
def _failures_of(subject: Any, case: Any) -> Generator[None]:
    """Errors become failures, each of which names the case, and the line that raised the cause or where it begins."""
    try:
        yield
    except NotChecked:
        raise
    except (Exception, SystemExit) as error:
        found = error if isinstance(error, CheckFailure) else CheckFailure.of(error)
        raised = error.__cause__ if error is found else error
        place = found.place or (place_in_traceback(raised, subject.owns) if raised else None) or case.place
        raise CheckFailure(f"{case.label}: {found.message}", *found.hints, place=place) from raised


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
    state, message, raised = "passed", "", None
    try:
        check.run(subject)
    except NotChecked as reason:
        state, message = "not checked", str(reason)
    except CheckFailure as failure:
        state, message, raised = "failed", "\n".join((failure.message, *failure.hints)), failure
    return Outcome(check.name, subject.label, state, message, time.perf_counter() - started, raised)
