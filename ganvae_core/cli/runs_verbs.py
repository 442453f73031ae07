"""``ganvae runs`` and ``ganvae show``: runs, read from their directories without torch."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ganvae_core.cli import describe
from ganvae_core.cli.frame import PathName
from ganvae_core.cli.output import aligned, counted, four_digits, labelled, note, print_json, table
from ganvae_core.cli.run_files import (
    Outline,
    last_record,
    outline,
    pictures,
    read_config,
    settings,
)
from ganvae_core.data.specifications import stored_specs
from ganvae_core.engine.settings import EngineSettings
from ganvae_core.errors import RunError
from ganvae_core.plugins.known import OWN
from ganvae_core.plugins.lock import read_lock
from ganvae_core.store.directory import CONFIG, DATA, DEFAULT_PARENT, LOCK, METRICS, RunDirectory, find_runs
from ganvae_core.store.manifests import best_step
from ganvae_core.types import HELD_OUT, OF_SAMPLES

SLOTS = ("prior", "generator", "encoder", "critic", "observation", "objective")
NOT_THE_SOURCES = ("condition", "held_out", "split_seed")
"""Settings of data that all sources share, which are shown in words."""

Fact = tuple[str, str]


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=PathName())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def runs(folder: Path | None, as_json: bool) -> None:
    """List the runs in DIR (default: runs), the newest last."""
    parent = folder or Path(DEFAULT_PARENT)
    # Before the first run there is no such folder, which is no mistake unless one asked for it.
    found = [outline(run) for run in find_runs(parent)] if folder or parent.is_dir() else []
    if as_json:
        print_json([as_plain(one) for one in found])
    elif found:
        table([row(one) for one in found], ("run", "recipe", "data", "steps", "held out", "changed"))
        newest = next((one for one in reversed(found) if not one.problem), found[-1])
        note(f"next:  ganvae show {shlex.quote(str(newest.run))}")
    elif (parent / CONFIG).is_file():
        note(f"'{parent}' is a run itself:  ganvae show {shlex.quote(str(parent))}")
    else:
        note(f"there are no runs in '{parent}' yet")
        note("make one:  ganvae run --plugin vae")


@click.command()
@click.argument("path", metavar="RUN", type=PathName())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(path: Path, as_json: bool) -> None:
    """Show the data, settings, progress, results and pictures of RUN."""
    run = RunDirectory.open(path)
    config, about, manifests = read_config(run), outline(run), run.manifests()
    if as_json:
        print_json(everything(run, config, about, manifests))
        return
    steps = counted(about.steps, "step")
    done = steps if about.step == about.steps else f"{about.step:,} of {steps}"
    far = f"{'finished' if about.finished else 'unfinished'}: {done}"
    click.echo(f"{path}   {about.recipe} on {about.data}   {far}")
    facts = [*made_of(run, config), *outcome(run, about, manifests), *versions(run)]
    facts += [(kind, str(picture)) for kind, picture in pictures(run).items()]
    for line in aligned(facts):
        click.echo(f"  {line}")
    if not manifests:
        note("it has no checkpoint: it is training, was stopped before its first one, or they were deleted")
        return
    for line in (*describe.preference(run), *describe.noise(run)):
        note(line)
    if not about.finished:
        note(f"go on:  ganvae run --resume {shlex.quote(str(path))}")
    note(f"next:  ganvae sample {shlex.quote(str(path))} -n 100")


def row(about: Outline) -> tuple[str, ...]:
    """The cells of a run's line."""
    changed = moment(about.changed, datetime.now())
    if about.problem:
        return str(about.run), "damaged", "", "", about.problem, changed
    done = f"{about.step:,} of {about.steps:,}"
    results = describe.results(about.results, about.figures, about.gaps)
    return str(about.run), about.recipe, about.data, done, results, changed


def moment(then: datetime, now: datetime) -> str:
    """A local time in few letters: this year's with the hour, an older one with the year."""
    return f"{then:%d %b %H:%M}" if then.year == now.year else f"{then:%d %b %Y}"


def as_plain(about: Outline) -> dict[str, Any]:
    """An outline as JSON values."""
    changed = about.changed.isoformat(timespec="seconds")
    return dataclasses.asdict(about) | {"changed": changed, "results": about.results}


def everything(
    run: RunDirectory, config: Mapping[str, Any], about: Outline, manifests: Mapping[int, dict[str, Any]]
) -> dict[str, Any]:
    """The output of ``show`` as JSON values; missing or damaged parts are null."""
    best = best_step(manifests)
    checkpoints = [
        {"step": step, "best": step == best, "whole": bool(manifest),
         "results": settings(manifest.get("results"))}
        for step, manifest in manifests.items()
    ]  # fmt: skip
    return as_plain(about) | {
        "config": config,
        "data_spec": _or_none(lambda: run.read_json(DATA)),
        "checkpoints": checkpoints,
        "metrics": last_record(run),
        "versions": _or_none(lambda: versions_of(run)),
        "pictures": pictures(run),
    }


def made_of(run: RunDirectory, config: Mapping[str, Any]) -> list[Fact]:
    """The data, the components and the settings, a line each."""
    facts = about_data(run, config["data"])
    shape = settings(config.get("latent")).get("shape")
    facts += [("latent", f"shape {plain_text(shape)}")] if shape else []
    facts += [
        (slot, chosen(config[slot]) + became(run, slot, config[slot])) for slot in SLOTS if config.get(slot)
    ]
    for name, optimizer in settings(config.get("optimizers")).items():
        used = {key: value for key, value in settings(optimizer).items() if value != 0}
        facts.append(("optimizer" if name == "default" else f"optimizer {name}", chosen(used)))
    facts += [("trains", plain_text(config["train"]))] if config.get("train") else []
    facts += [("from", options(config["from"]))] if config.get("from") else []
    for number, stage in enumerate(config.get("stages") or (), start=2):
        facts.append((f"stage {number}", options(settings(stage))))
    engine = unusual(config["engine"], EngineSettings(), always=("steps", "batch_size", "seed"))
    return [*facts, ("engine", options(engine))]


def about_data(run: RunDirectory, data: Mapping[str, Any]) -> list[Fact]:
    """The source with its options, and its rows."""
    facts = [("data", chosen({name: value for name, value in data.items() if name not in NOT_THE_SOURCES}))]
    try:
        spec, whole = stored_specs(run)
    except RunError as error:
        return [*facts, ("", error.message)]
    held_out = f"{whole.count - spec.count:,} held out"
    rows = describe.counted(spec.count, str(run.data_record().get("rows", "rows")))
    facts.append(("", f"{rows} to learn from, {held_out}"))
    if spec.columns:
        facts.append(("columns", ", ".join(spec.columns)))
    if whole.classes:
        use = "the model is given them" if spec.condition else "not used for training"
        facts.append(("classes", f"{len(whole.classes)}, {use}"))
    return facts


def outcome(run: RunDirectory, about: Outline, manifests: Mapping[int, Mapping[str, Any]]) -> list[Fact]:
    """The checkpoints, the held-out results and what was logged last."""
    best = best_step(manifests)
    steps = [
        f"{step:,}" + (" (best)" if step == best else "" if manifest else " (damaged)")
        for step, manifest in manifests.items()
    ]
    facts = [("checkpoints", " · ".join(["step " + steps[0], *steps[1:]]))] if steps else []
    if about.results or about.gaps:
        facts.append(("held out", describe.results(about.results, about.figures, about.gaps)))
    return [
        *facts,
        *labelled("n/a", describe.reasons(about.figures, about.gaps)),
        *labelled("warned", warned(run)),
        *labelled("logged last", logged(last_record(run))),
    ]


def warned(run: RunDirectory) -> list[str]:
    """The last warning of training, a line after the other, and how many came before it."""
    try:
        texts = [text for record in run.metrics() for text in record.get("warnings", [])]
    except OSError as error:
        raise RunError(f"{run.path / METRICS} cannot be read: {error.strerror}.") from error
    earlier = f"and {len(texts) - 1:,} earlier, in {run.path / METRICS}" if len(texts) > 1 else ""
    return [line.strip() for text in texts[-1:] for line in (*str(text).splitlines(), earlier) if line]


def logged(record: Mapping[str, Any]) -> list[str]:
    """The terms of each phase in a line, with units where they are known; then the speed."""
    names = [name for name in record if "/" in name and not name.startswith((HELD_OUT, OF_SAMPLES))]
    lines: list[str] = []
    for phase in dict.fromkeys(name.partition("/")[0] for name in names):
        terms = {name.partition("/")[2]: record[name] for name in names if name.startswith(f"{phase}/")}
        # What is summed with a divergence is in nats as it is.
        in_nats = terms.keys() & {"loss", "reconstruction", "kl"} if "kl" in terms else set[str]()
        words = [
            f"{term.replace('_', ' ')} {four_digits(value)}{' nats' if term in in_nats else ''}"
            for term, value in terms.items()
        ]
        lines.append(f"{phase}: {' · '.join(words)}")
    if "samples_per_second" in record:
        lines.append(f"{record['samples_per_second']:,.0f} rows/s")
    return lines


def versions_of(run: RunDirectory) -> dict[str, Any]:
    """The versions that a run was made with by name, and its plugins as tables.

    Raises:
        RunError: the lock file is missing or damaged.
    """
    lock = dataclasses.asdict(read_lock(run.path / LOCK))
    return lock["versions"] | {"plugins": lock["plugins"]}


def versions(run: RunDirectory) -> list[Fact]:
    """The versions and plugins of the run."""
    try:
        lock = read_lock(run.path / LOCK)
    except RunError as error:
        return [("made with", error.message)]
    own = [f"{name} {version}" for name, version in lock.versions.items()]
    others = [f"{one.distribution} {one.version}" for one in lock.plugins.values() if one.distribution != OWN]
    return [("made with", " · ".join(dict.fromkeys([*own, *others])))]


def chosen(component: Any) -> str:
    """A component or an optimizer with its options: ``builtin/mlp, hidden [400], activation relu``."""
    if not isinstance(component, dict):
        return str(component)
    given = options({name: value for name, value in component.items() if name != "name"})
    return ", ".join(part for part in (str(component.get("name", "")), given) if part)


def became(run: RunDirectory, slot: str, component: Any) -> str:
    """What a component that follows from the data was made into: `` (MLPGenerator)``."""
    follows = str(settings(component).get("name", "")).endswith("/auto")
    found = settings((_or_none(lambda: run.read_json(DATA)) or {}).get("classes")).get(slot)
    return f" ({found})" if follows and found else ""


def options(values: Any) -> str:
    """Settings in a line, without those that are switched off."""
    return ", ".join(
        f"{name} {plain_text(value)}"
        for name, value in settings(values).items()
        if value is not None and value is not False and value not in ("", [])
    )


def unusual(values: Mapping[str, Any], defaults: EngineSettings, always: tuple[str, ...]) -> dict[str, Any]:
    """The settings that differ from the defaults, and some that are always shown."""
    usual = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(defaults).items()
    }
    return {name: value for name, value in values.items() if name in always or value != usual.get(name)}


def plain_text(value: Any) -> str:
    """A setting's value as it is typed."""
    if isinstance(value, dict):
        return f"({chosen(value)})"
    if isinstance(value, list):
        return f"[{', '.join(plain_text(item) for item in value)}]"
    return "true" if value is True else f"{value:g}" if isinstance(value, float) else str(value)


def _or_none(read: Any) -> Any:
    try:
        return read()
    except RunError:
        return None
