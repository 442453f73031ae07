"""Runs the kit and tells of each check in a line of JSON: what ``ganvae plugins check`` starts as a process of its own.

A plugin may crash, hang or end this process. Whoever started it knows from the last line which check that was, and goes
on with another process, which is given the outcomes so far.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import ganvae_kit.groups  # noqa: F401 # pyright: ignore[reportUnusedImport] - registers the checks
from ganvae_core.config.layers import Text, nest
from ganvae_core.errors import ConfigurationError, GanvaeError, did_you_mean
from ganvae_kit.checks import CHECKS, Check, Outcome, Subject, checks_of, held
from ganvae_kit.opening import open_plugins
from ganvae_kit.subjects import Given, PluginUnderTest, Settings


class Teller:
    """Appends events to a file, each a line that is there at once."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", encoding="utf-8", buffering=1)

    def tell(self, event: str, **values: Any) -> None:
        """Write one event."""
        self._file.write(json.dumps({"event": event, **values}, default=str) + "\n")
        self._file.flush()


def run(order: Mapping[str, Any]) -> None:
    """Run every check that has no outcome yet.

    Args:
        order: ``target``, ``events`` (a file), ``seconds`` (that one check may take), ``only`` (names of checks; none
            for all), ``settings`` (``[label, key, value]`` as typed), ``done`` (the outcomes that were reached before).
    """
    teller = Teller(Path(order["events"]))
    target: str = order["target"]
    try:
        for name in order["only"]:
            with_needs(name)
        plugins = open_plugins(target, Given(settings=typed_settings(order["settings"])))
    except GanvaeError as error:
        teller.tell("error", message=error.message, hints=error.hints, exit_code=error.exit_code)
        return
    keep_exits_visible()
    for plugin in plugins:
        recall(plugin, order["done"])
        teller.tell(
            "plugin", plugin=plugin.plugin.name, origin=plugin.plugin.origin, folders=plugin.folders,
            subjects=[subject.label for subject in plugin.subjects],
            checks=sum(len(chosen(subject, order["only"])) for subject in plugin.subjects),
        )  # fmt: skip
        for subject in plugin.subjects:
            for check in chosen(subject, order["only"]):
                if check.name in subject.outcomes:
                    continue
                teller.tell("start", plugin=plugin.plugin.name, subject=subject.label, check=check.name)
                # Says where it hangs, and ends this process.
                faulthandler.dump_traceback_later(order["seconds"], exit=True)
                outcome = held(check, subject)
                faulthandler.cancel_dump_traceback_later()
                teller.tell("outcome", plugin=plugin.plugin.name, **outcome.as_dict())
    teller.tell("end")


def chosen(subject: Subject, only: list[str]) -> list[Check]:
    """The checks of a subject that are asked for, and those that they need."""
    wanted = {name for asked in only for name in with_needs(asked)}
    return [check for check in checks_of(subject) if not only or check.name in wanted]


def with_needs(name: str) -> set[str]:
    """A check's name, and the names of all that it needs.

    Raises:
        ConfigurationError: there is no such check.
    """
    if name not in CHECKS:
        raise ConfigurationError(f"there is no check '{name}'.{did_you_mean(name, CHECKS)}",
                                 f"checks: {', '.join(CHECKS)}")  # fmt: skip
    return {name}.union(*map(with_needs, CHECKS[name].needs))


def typed_settings(typed: list[list[str]]) -> dict[str, list[Settings]]:
    """Settings that were typed as ``KIND/NAME:KEY=VALUE``, by component."""
    found: dict[str, dict[str, Any]] = {}
    for label, key, value in typed:
        found.setdefault(label, {})[key] = Text(value)
    for layer in found.values():
        nest(list(layer.items()))
    return {label: [layer] for label, layer in found.items()}


def recall(plugin: PluginUnderTest, done: list[Mapping[str, Any]]) -> None:
    """Give subjects the outcomes that an earlier process reached."""
    known = {field.name for field in fields(Outcome)}
    for subject in plugin.subjects:
        for values in done:
            if values["plugin"] == plugin.plugin.name and values["subject"] == subject.label:
                subject.outcomes[values["check"]] = Outcome(
                    **{key: values[key] for key in known & values.keys()}
                )


def keep_exits_visible() -> None:
    """Let a crash, and a call of ``os._exit``, say on standard error which lines they come from."""
    faulthandler.enable()
    leave = os._exit  # pyright: ignore[reportPrivateUsage]

    def leave_with_traceback(status: int) -> None:
        faulthandler.dump_traceback(all_threads=False)
        leave(status)

    os._exit = leave_with_traceback  # pyright: ignore[reportAttributeAccessIssue]


def main() -> None:
    """Read an order from standard input, and carry it out."""
    order = json.loads(sys.stdin.read())
    sys.stdin = Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - a plugin that asks for input gets none
    run(order)
