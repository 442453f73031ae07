"""What verbs on a trained model share: its run, data and conditions, and where results are written."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import PathName, WholeNumber, current_catalogue
from ganvae_core.cli.output import note, warn, warnings_as_notes
from ganvae_core.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.data.split import Split
    from ganvae_core.runs.loading import Run
    from ganvae_core.types import View

RUN = click.argument("path", metavar="RUN", type=PathName())
OVERRIDES = click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
CHECKPOINT = click.option("--checkpoint", metavar="STEP|best", help="Another than the newest checkpoint.")
DEVICE = click.option("--device", default="auto", metavar="D", help="auto, cpu, cuda, cuda:1, mps, …")
SEED = click.option(
    "--seed", type=WholeNumber(min=0), default=0, metavar="N", help="Other draws for another seed."
)
CONDITION = click.option(
    "--condition",
    "asked",
    metavar="C",
    multiple=True,
    help="A class's name, numbers like 0.5,1, or COLUMN=VALUE (several times), for all rows.",
)
DATA = click.option("--data", metavar="S", help="Other data than the run's.")
OUTPUT = click.option("-o", "--output", type=PathName(), metavar="FILE", help="Where to write.")


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked for by the parameters that verbs share.

    Args:
        run: with its model.
        options: of data, by KEY=VALUE.
        checkpoint: other than the newest.
        data: other than the run's.
        asked: by ``--condition``.
        seed: of draws.
        output: the file to write; None for the usual one.
    """

    run: Run
    options: Mapping[str, Any]
    checkpoint: str | None
    data: str | None = None
    asked: tuple[str, ...] = ()
    seed: int = 0
    output: Path | None = None

    def condition(self, count: int) -> Tensor | None:
        """(count, *K) what ``--condition`` says, or None without it."""
        with warnings_as_notes():
            return self.run.condition(self.asked, count, seed=self.seed) if self.asked else None

    def open_data(self) -> Split:
        """The data, which needs no labels where a condition is asked for; warnings are printed as notes."""
        return open_data(self.run, self.data, self.asked, self.options)

    def output_for(self, what: str, usual: str, endings: tuple[str, ...] | None = None) -> Path:
        """Where results are written: as is asked, or at the usual place below the run's folder.

        Args:
            what: they are.
            usual: place.
            endings: that are possible; by default those of rows.

        Raises:
            ConfigurationError: it cannot be written, or is data that is read.
        """
        output = self.output or self.run.path / usual
        refuse_output(self.run, output, what, endings, self.data)
        return output

    def written(self, output: Path, what: str, more: str = "") -> None:
        """Say what was made, and print where it is."""
        note(f"{what} by {self.run.path} at step {self.run.step:,}{more}")
        click.echo(str(output))


def requested(
    *parameters: Callable[[Callable[..., Any]], Callable[..., Any]], kind: type[Request] = Request
) -> Callable[..., Callable[..., None]]:
    """Give a verb a ``Request``, made of its run, the checkpoint, the device, the output and further parameters.

    Args:
        parameters: that are further fields of the request, or KEY=VALUE.
        kind: of the request.
    """

    def decorate(verb: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(verb)
        def run_verb(path: Path, device: str, overrides: Sequence[str] = (), **values: Any) -> None:
            run, options = load(path, values["checkpoint"], device, overrides)
            shared = {field.name for field in dataclasses.fields(kind)} & values.keys()
            verb(kind(run, options, **{name: values.pop(name) for name in shared}), **values)

        with_parameters: Callable[..., None] = run_verb
        for add in reversed((RUN, *parameters, CHECKPOINT, DEVICE, OUTPUT)):
            with_parameters = add(with_parameters)
        return with_parameters

    return decorate


def load(
    path: Path, checkpoint: str | None, device: str, overrides: Sequence[str] = ()
) -> tuple[Run, Mapping[str, Any]]:
    """A run, and the settings of data among the overrides; with a warning for each damaged checkpoint passed over."""
    from ganvae_core.config.configuration import as_named
    from ganvae_core.config.layers import parse_overrides
    from ganvae_core.runs.loading import read_run

    layer = dict(parse_overrides(overrides))
    options = as_named(layer.pop("data"), "data") if "data" in layer else {}
    run = read_run(path, checkpoint=checkpoint, device=device, catalogue=current_catalogue(), layer=layer)
    for passed_over in run.damage:
        warn(passed_over)
    return run, options


def need_encoder(run: Run) -> None:
    """Refuse a run without an encoder.

    Raises:
        ConfigurationError: it has none.
    """
    if run.model.encoder is None:
        raise ConfigurationError(
            f"{run.path} has no encoder: {run.configuration.plugin} makes data from codes and not codes from data.",
            "train a model that has one:  ganvae run --plugin vae",
        )


def usual_ending(view: View) -> str:
    """The ending of files that rows of a view are usually written to."""
    return view.endings[0] if view.endings else ".npz"


def refuse_output(
    run: Run, output: Path, what: str, endings: tuple[str, ...] | None = None, data: str | None = None
) -> None:
    """Refuse an output that cannot be written, the run's own data, and the data to be read.

    Raises:
        ConfigurationError: it is one of these.
    """
    from ganvae_core.views.files import ARRAYS, check_output

    check_output(output, what, (*run.view.endings, *ARRAYS) if endings is None else endings)
    learned_from = run.configuration.components["data"].options.get("path")
    read = [
        Path(os.path.expanduser(each)).resolve() for each in (learned_from, data) if isinstance(each, str)
    ]
    if output.resolve() in read:
        raise ConfigurationError(
            f"-o {output}: the run or this command reads its data from there; name another file."
        )


def open_data(
    run: Run, data: str | None = None, asked: Sequence[str] = (), options: Mapping[str, Any] | None = None
) -> Split:
    """The run's data, or other data, which needs no labels where a condition is asked for."""
    unlabelled = {"condition": False} if asked and data is not None else {}
    with warnings_as_notes():
        return run.open_data(data, {**(options or {}), **unlabelled})
