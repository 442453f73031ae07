"""Runs the conformance kit in processes of its own, so that a plugin that crashes or hangs takes no one with it.

This imports neither torch nor the plugin: the kit's process writes what it does into a file, line by line.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganvae_core.errors import ConfigurationError, GanvaeError, PluginError
from ganvae_core.plugins.discovery import DISABLE_VARIABLE, disabled_by_environment

CHECK_SECONDS = 60.0
"""What one check may take before it counts as hanging."""
START_SECONDS = 120.0
"""What may pass before the process says which plugins there are: it imports torch and the plugin's description."""
MOST_PROCESSES = 20
"""After so many crashes nothing new is learned."""
PAUSE_SECONDS = 0.05
FRAME = re.compile(r'File "(.+)", line (\d+)')


@dataclass
class Report:
    """What came of checking the plugins of a target.

    Args:
        plugins: name, origin and subjects of each.
        outcomes: of the checks, in their order.
    """

    plugins: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    outcomes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.of("failed")

    def of(self, state: str) -> list[dict[str, Any]]:
        """The outcomes in one state."""
        return [outcome for outcome in self.outcomes if outcome["state"] == state]

    def note(self, plugin: dict[str, Any]) -> None:
        """Add a plugin, unless another process has named it before."""
        if plugin["plugin"] not in {known["plugin"] for known in self.plugins}:
            self.plugins.append(plugin)


def check_plugins(
    target: str,
    *,
    settings: Sequence[tuple[str, str, str]] = (),
    only: Sequence[str] = (),
    check_seconds: float = CHECK_SECONDS,
    disabled: Collection[str] = (),
    progress: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Check a plugin by its name, or those of a distribution's folder.

    Args:
        target: the name or the path.
        settings: component, key and value of settings that components are checked with.
        only: names of checks; all by default.
        check_seconds: that one check may take.
        disabled: plugins that are left out, beside those that the environment disables.
        progress: is called after every check.

    Raises:
        ConfigurationError, PluginError: there is nothing to check.
    """
    report = Report()
    with tempfile.TemporaryDirectory(prefix="ganvae-check-") as folder:
        for _ in range(MOST_PROCESSES):
            order = {
                "target": target,
                "seconds": check_seconds,
                "only": list(only),
                "settings": list(settings),
            }
            process = _Process(Path(folder), {**order, "done": report.outcomes}, disabled)
            if process.follow(report, progress):
                return report
    raise PluginError(f"'{target}' has ended the checks {MOST_PROCESSES} times; the rest was left out.",
                      *(str(outcome["message"]) for outcome in report.of("failed")[:3]))  # fmt: skip


class _Process:
    """One process of the kit, and the file that it writes to."""

    def __init__(self, folder: Path, order: dict[str, Any], disabled: Collection[str]) -> None:
        self.events = folder / f"events-{time.monotonic_ns()}.jsonl"
        self.events.touch()
        self.output = folder / f"{self.events.stem}.txt"
        self.seconds: float = order["seconds"]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            DISABLE_VARIABLE: ",".join([*disabled_by_environment(), *sorted(disabled)]),
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ganvae_kit"],
                stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                env=environment,
            )  # fmt: skip
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({**order, "events": str(self.events)}, default=str).encode())
        self.process.stdin.close()

    def follow(self, report: Report, progress: Callable[[Report], None]) -> bool:
        """Take in what the process says until it ends; whether it did all that it had to.

        Raises:
            GanvaeError: there is nothing to check, or the process ended before it began.
        """
        running: dict[str, Any] | None = None
        try:
            for event in self._events():
                kind = event.pop("event")
                if kind == "error":
                    error = PluginError if event["exit_code"] == PluginError.exit_code else ConfigurationError
                    raise error(event["message"], *event["hints"])
                if kind == "plugin":
                    report.note(event)
                elif kind == "start":
                    running = event
                elif kind == "outcome":
                    running = None
                    report.outcomes.append(event)
                    progress(report)
                elif kind == "end":
                    return True
        finally:
            self.process.kill()
            self.process.wait()
        if running is None:
            raise GanvaeError("the process of the checks ended before a check was begun.", *self._said()[-3:])
        report.outcomes.append({**running, **self._crash(report, running)})
        progress(report)
        return False

    def _events(self) -> Iterator[dict[str, Any]]:
        """What is written, as it is written, until the process has ended or has said nothing for too long."""
        limit, last = START_SECONDS, time.monotonic()
        with self.events.open(encoding="utf-8") as file:
            part = ""
            while True:
                ended = self.process.poll() is not None
                read = file.read()
                if read:
                    *lines, part = (part + read).split("\n")
                    last, limit = time.monotonic(), self.seconds + START_SECONDS
                    yield from (json.loads(line) for line in lines)
                if ended or time.monotonic() - last > limit:
                    return
                if not read:
                    time.sleep(PAUSE_SECONDS)

    def _crash(self, report: Report, running: dict[str, Any]) -> dict[str, Any]:
        """The outcome of the check in which the process ended."""
        code, said = self.process.returncode, self._said()
        if any(line.startswith("Timeout (") for line in said):
            message = f"it did not end within {self.seconds:g} seconds"
        elif code < 0:
            message = f"it crashed the process (signal {-code})"
        else:
            message = f"it ended the process (exit code {code})"
        folders = next((tuple(p["folders"]) for p in report.plugins if p["plugin"] == running["plugin"]), ())
        frames = [match.groups() for line in said if (match := FRAME.search(line))]
        own = [(file, int(line)) for file, line in frames if folders and file.startswith(folders)]
        file, line = own[0] if own else ("", 0)
        return {"state": "failed", "message": message, "file": file, "line": line, "seconds": self.seconds}

    def _said(self) -> list[str]:
        return self.output.read_text("utf-8", errors="replace").splitlines()
