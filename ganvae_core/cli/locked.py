"""``--locked``: only with the very plugins that a run was made with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganvae_core.cli.frame import current_catalogue
from ganvae_core.errors import ConfigurationError

if TYPE_CHECKING:
    from ganvae_core.config.configuration import Configuration

LOCKED = click.option(
    "--locked", is_flag=True, help="Refuse plugins that differ from those that the run was made with."
)


def refuse_other_plugins(run: Path) -> None:
    """Refuse plugins that are not exactly those of a run.

    Raises:
        RunError: it is no run, or does not say which plugins took part.
        ConfigurationError: a plugin of the run is not installed.
        PluginError: a plugin differs.
    """
    from ganvae_core.plugins.lock import refuse_differences
    from ganvae_core.store.directory import LOCK, RunDirectory

    refuse_differences(RunDirectory.open(run).path / LOCK, current_catalogue())


def refuse_other_plugins_beside(file: Path | None) -> Path:
    """The same for a new run from ``--config RUN/config.yaml``; the lock file that lies beside it.

    Raises:
        ConfigurationError: there is no such file, so nothing to compare with.
    """
    from ganvae_core.plugins.lock import refuse_differences
    from ganvae_core.store.directory import LOCK

    lock = None if file is None else file.parent / LOCK
    if lock is None or not lock.is_file():
        missing = "" if lock is None else f"; there is no {lock}"
        raise ConfigurationError(
            f"--locked compares with a run, and none is named{missing}.",
            "go on with one:  ganvae run --locked --resume RUN",
            "or start from one:  ganvae run --locked --config RUN/config.yaml",
        )
    refuse_differences(lock, current_catalogue())
    return lock


def refuse_newcomers(lock: Path, configuration: Configuration) -> None:
    """Refuse plugins in a configuration that took no part in the run that it came from.

    Raises:
        PluginError: there is one.
    """
    from ganvae_core.plugins import lock as locks

    locks.refuse_newcomers(lock, configuration.plugins)
