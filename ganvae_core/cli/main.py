"""``ganvae``: a verb is imported when it is used, so that help and listings answer at once."""

from __future__ import annotations

import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO, cast

import click

from ganvae_core.cli.frame import Settings, add_everywhere, current_catalogue
from ganvae_core.cli.plugin_commands import ExtensibleGroup
from ganvae_core.cli.stopping import handling_stops, stop_now


@dataclass(frozen=True)
class Verb:
    """A verb that is not imported yet.

    Args:
        section: of the help page.
        target: ``module:attribute`` below ``ganvae_core.cli``.
        summary: its line in the help page.
    """

    section: str
    target: str
    summary: str


VERBS = {
    "run": Verb("Train", "run_verb:run", "train a model, or resume a run"),
    "fit-prior": Verb("Train", "run_verb:fit_prior", "give a trained autoencoder another prior"),
    "config": Verb("Train", "config_verb:config", "print the complete configuration, commented"),
    "sample": Verb("Use", "model_verbs:sample", "draw new samples from a trained model"),
    "reconstruct": Verb("Use", "model_verbs:reconstruct", "pass data through the encoder and the generator"),
    "encode": Verb("Use", "model_verbs:encode", "write the codes of data"),
    "runs": Verb("Look", "runs_verbs:runs", "list runs with their results"),
    "show": Verb("Look", "runs_verbs:show", "describe one run: its settings, progress and results"),
    "data": Verb("Look", "data_verb:data", "describe a source of data"),
    "components": Verb("Look", "component_verbs:components", "list the installed components"),
    "plugins": Verb("Look", "plugin_verbs:plugins", "list, install and check plugins"),
    "doctor": Verb("Look", "doctor_verb:doctor", "describe this machine"),
}


class LazyGroup(ExtensibleGroup):
    """The group of all verbs. Names and summaries are listed here; a verb is imported when it is used."""

    def builtin(self) -> dict[str, str]:
        return {name: verb.summary for name, verb in VERBS.items()}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = VERBS[cmd_name].target.partition(":")
        verb: click.Command = getattr(importlib.import_module(f"ganvae_core.cli.{module}"), attribute)
        return add_everywhere(verb)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            raise unknown_verb(ctx, args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, dict[str, str]] = {}
        for name, verb in VERBS.items():
            sections.setdefault(verb.section, {})[name] = verb.summary
        added = self.added(ctx)
        if added:
            sections["From plugins"] = added
        width = max(len(name) for rows in sections.values() for name in rows)
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in rows.items()])

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_usage(ctx, formatter)
        self.format_help_text(ctx, formatter)
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)
        self.format_epilog(ctx, formatter)


def unknown_verb(context: click.Context, name: str) -> Exception:
    """The error for a word that is no verb: often a plugin's name, or what other programs call ``run``."""
    from ganvae_core.errors import ConfigurationError, did_you_mean

    if name in current_catalogue(context).with_recipes():
        return ConfigurationError(f"there is no verb '{name}'. Did you mean 'ganvae run --plugin {name}'?")
    near = " Did you mean 'run'?" if name == "train" else did_you_mean(name, ganvae.list_commands(context))
    return ConfigurationError(f"there is no verb '{name}'.{near}", "ganvae --help")


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    subcommand_metavar="VERB …",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with:  ganvae run --plugin vae",
)
@click.pass_context
def ganvae(context: click.Context) -> None:
    """Train, compare and explore generative latent-variable models."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


add_everywhere(ganvae)


@handling_stops(stop_now)
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and print an error in one line.

    Args:
        arguments: what was typed after ``ganvae``; by default those of this process.

    Returns:
        The exit code.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    settings = Settings(typed=tuple(typed))
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns of a home that cannot be written
    with lasting_streams():
        try:
            result = ganvae.main(typed, prog_name="ganvae", standalone_mode=False, obj=settings)
        except (Exception, KeyboardInterrupt) as error:
            with handling_stops(signal.SIG_IGN):  # a launcher may end this process because of the error
                from ganvae_core.cli.failures import report

                # An error in reading the arguments comes before the option has been seen.
                if settings.traceback or "--traceback" in typed:
                    import traceback

                    traceback.print_exception(error)
                return report(error)
    return result if isinstance(result, int) else 0


class LastingStream:
    """A stream whose text is dropped once its reader has gone away, like ``head -1``: a run goes on to its end."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or io.StringIO()  # None: it was closed before this process began
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a question mark for a character that a terminal's encoding lacks

    def write(self, text: str) -> int:
        with self._lasting():
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._lasting():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _lasting(self) -> Generator[None]:
        try:
            yield
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextmanager
def lasting_streams() -> Generator[None]:
    """Standard output and standard error as ``LastingStream``s."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, LastingStream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
