"""Progress of training: a bar in a terminal, a line at times in a pipe."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any, final

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from ganvae_core.cli.output import four_digits
from ganvae_core.training import Callback, TrainingView
from ganvae_core.types import HELD_OUT, OF_SAMPLES

REDRAWN_A_SECOND = 2
LINE_SECONDS = 10.0
"""Seconds between two lines where there is no terminal."""
LONG_SECONDS = 600.0
"""Seconds left from which the estimate has a line of its own, with the command of a smaller recipe."""
AVERAGED = 10
"""The last intervals whose speed the time left follows: a single one may have measured, saved or waited."""
MAIN_TERMS = 4
NOT_LOSSES = ("gradient_norm", "accuracy")


@final
class Progress(Callback):
    """Shows how far training is, how fast, how long it still takes, and the main losses.

    Args:
        console: where it is drawn.
        noun: what is counted each second: ``images``, ``rows``, ``points``.
        steps_done: gives the steps that are done, whenever the bar is drawn.
        smaller: the command of a smaller recipe, which is named where training takes long.
    """

    def __init__(
        self, console: Console, noun: str, steps_done: Callable[[], int], smaller: str | None = None
    ) -> None:
        self.console = console
        self.steps_done = steps_done
        self.noun = noun
        self._bar: _StepsBar | None = None
        self.smaller = smaller
        self._said_how_long = False
        self._last_line = 0.0
        self._seconds_a_step: deque[float] = deque(maxlen=AVERAGED)
        self._above = _Above(console)

    def on_start(self, training: TrainingView) -> None:
        """Draw the bar, unless no step is left, as where a prior is fitted in closed form."""
        self._seconds_a_step.clear()  # those of the stage before
        if training.step >= training.target_steps:
            return
        self._last_line = time.monotonic()
        logging.getLogger("ganvae").addHandler(self._above)
        if self.console.is_terminal:
            self._bar = _StepsBar(training.target_steps, self.steps_done, self.console)
            self._bar.start()

    def on_step(self, training: TrainingView, record: Mapping[str, Any]) -> None:
        """Show the losses of the last interval."""
        if "samples_per_second" not in record:  # only what was warned of or measured at the end
            return
        speed = f"{record['samples_per_second']:,.0f} {self.noun}/s"
        losses = main_terms(record, "likelihood" in training.objective.needs)
        batch_size = min(training.settings.batch_size, len(training.data.training))
        self._seconds_a_step.append(batch_size / record["samples_per_second"])
        left = fmean(self._seconds_a_step) * (training.target_steps - record["step"])
        if left >= LONG_SECONDS and not self._said_how_long:
            self._say(f"this takes about {duration(left)}")
            if self.smaller is not None:
                self._say(f"a smaller recipe takes a few minutes:  {self.smaller}")
        self._said_how_long = True
        if self._bar is not None:
            self._bar.update(self._bar.task, speed=speed, losses=losses)
        elif time.monotonic() - self._last_line >= LINE_SECONDS or record["step"] == training.target_steps:
            self._last_line = time.monotonic()
            still = f" · {duration(left)} left" if left else ""
            self._say(f"{record['step']:,}/{training.target_steps:,} · {speed}{still} · {losses}")

    def on_end(self, training: TrainingView) -> None:
        """Leave the bar as it is."""
        self._close()

    def on_error(self, training: TrainingView, error: BaseException) -> None:
        """Leave the bar as it is."""
        self._close()

    def _say(self, text: str) -> None:
        self.console.print(f"  {text}", highlight=False, soft_wrap=True)

    def _close(self) -> None:
        logging.getLogger("ganvae").removeHandler(self._above)
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def duration(seconds: float) -> str:
    """``40 s``, ``12 min`` or ``1 h 23 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class _Above(logging.Handler):
    """Prints warnings of training, above the bar if there is one."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        text = Text.assemble(("warning: ", "bold yellow"), record.getMessage())
        self.console.print(text, highlight=False, soft_wrap=True)


class _StepsBar(Bar):
    """A bar that reads how far training is whenever it is drawn, so that no step has to report it."""

    def __init__(self, target_steps: int, steps_done: Callable[[], int], console: Console) -> None:
        self._steps_done = steps_done
        super().__init__(
            TextColumn("  {task.completed:,.0f}/{task.total:,.0f}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=20, table_column=Column(min_width=6)),
            TimeRemainingColumn(elapsed_when_finished=True, table_column=Column(no_wrap=True, min_width=7)),
            TextColumn("{task.fields[speed]}", table_column=Column(no_wrap=True)),
            # In a narrow terminal the losses are cut, and nothing else.
            TextColumn(
                "{task.fields[losses]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
            ),
            console=console,
            expand=True,
            refresh_per_second=REDRAWN_A_SECOND,
        )
        self.task = self.add_task("", total=target_steps, completed=steps_done(), speed="", losses="")

    def get_renderables(self) -> Iterable[RenderableType]:
        if hasattr(self, "task"):
            self.update(self.task, completed=self._steps_done())
        return super().get_renderables()


def main_terms(record: Mapping[str, Any], in_nats: bool) -> str:
    """The main losses of a record: ``loss 17.9 nats · reconstruction 11.6 · KL 6.3``."""
    names = [
        name
        for name in record
        if "/" in name and not name.endswith(NOT_LOSSES) and not name.startswith((HELD_OUT, OF_SAMPLES))
    ]
    phases = {name.partition("/")[0] for name in names}
    words: list[str] = []
    for name in names[:MAIN_TERMS]:
        phase, _, term = name.partition("/")
        term = "KL" if term == "kl" else term
        label = term if len(phases) == 1 else f"{phase} {term}"
        unit = " nats" if in_nats and term == "loss" else ""
        words.append(f"{label.replace('_', ' ')} {four_digits(record[name])}{unit}")
    return " · ".join(words)
