"""Processes of their own that begin with torch imported, which takes seconds at every other start.

A server imports the libraries once and forks for each command. The fork imports ganvae and its plugins itself, and sees
no more of this process than a process that a shell starts. What is about the start of a process, its interpreter's
options or its imports is tested with ``subprocess``.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import site
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

LIBRARIES = ["torch", "torch._dynamo", "torch.optim", "scipy.stats", "sklearn.datasets", "sklearn.neighbors",
             "matplotlib.figure", "PIL.Image", "safetensors.torch"]  # fmt: skip
ENOUGH_SECONDS = 600


@dataclass(frozen=True)
class Done:
    """What a command gave: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Python:
    """An interpreter that a fork takes itself for.

    Args:
        executable: its path.
        prefix: the folder of its environment.
        packages: its site-packages; those of the server's own are looked at after them.
    """

    executable: Path
    prefix: Path
    packages: Path

    def imitate(self) -> None:
        """Look for modules where this interpreter does."""
        sys.executable, sys.prefix, sys.exec_prefix = str(self.executable), str(self.prefix), str(self.prefix)
        paths = sysconfig.get_paths()
        sys.path[:] = ["", paths["stdlib"], paths["platstdlib"], f"{paths['platstdlib']}/lib-dynload"]
        site.addsitedir(str(self.packages))


class Warm:
    """``python -m MODULE ARGUMENTS``, or ``python -c CODE ARGUMENTS``.

    Args:
        module: what is run.
        arguments: of the command.
        code: what is run where ``module`` is empty.
        folder: the working directory.
        variables: the environment's variables.
        python: the interpreter; by default this one.
        before: called in the process before the command; a function of a module.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[object],
        *,
        code: str = "",
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
        python: Python | None = None,
        before: Callable[[], object] | None = None,
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LIBRARIES)
        self._printed = tempfile.TemporaryDirectory()
        given = (module, code, [str(each) for each in arguments], str(folder or Path.cwd()),
                 dict(os.environ if variables is None else variables), python, before, self._printed.name)  # fmt: skip
        self.process = context.Process(target=_run, args=given, daemon=True)
        self.process.start()

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self.process.pid is not None
        return self.process.pid

    def said(self) -> str:
        """What it has written to standard error."""
        return Path(self._printed.name, "err").read_text("utf-8")

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.is_alive()

    def send_signal(self, number: int) -> None:
        """Send a signal to it."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it, if it has not ended, and drop what it printed."""
        self.process.kill()
        self.process.join()
        self._printed.cleanup()

    def done(self) -> Done:
        """What it gave, when it has ended. To be called once."""
        self.process.join(ENOUGH_SECONDS)
        assert self.process.exitcode is not None, "it does not end"
        out, err = (Path(self._printed.name, name).read_text("utf-8") for name in ("out", "err"))
        self._printed.cleanup()
        return Done(self.process.exitcode, out, err)


def warm(module: str, *arguments: object, **options: Any) -> Done:
    """Run a command to its end, as ``Warm`` does."""
    return Warm(module, arguments, **options).done()


def ganvae(*arguments: object, **options: Any) -> Done:
    """``ganvae ARGUMENTS`` in a process of its own."""
    return warm("ganvae_core", *arguments, **options)


def _run(
    module: str,
    code: str,
    arguments: list[str],
    folder: str,
    variables: dict[str, str],
    python: Python | None,
    before: Callable[[], object] | None,
    printed: str,
) -> None:
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(Path(printed, name), os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL),
                            (signal.SIGHUP, signal.SIG_DFL)):  # fmt: skip
        signal.signal(number, handler)
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    multiprocessing.process.current_process()._config["daemon"] = False  # pyright: ignore
    if python is not None:
        python.imitate()
    if before is not None:
        before()
    run_to_the_end(module, code, arguments)


def run_to_the_end(module: str, code: str, arguments: Sequence[str]) -> NoReturn:
    """Run a module, or code, as a new interpreter does, and end this process as that ends."""
    sys.argv = [module or "-c", *arguments]
    ended: Any = 0
    try:
        if module:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        else:
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        ended = error.code
    threading._shutdown()  # pyright: ignore[reportPrivateUsage]
    sys.stdout.flush()
    os._exit(ended if isinstance(ended, int) else 0 if ended is None else 1)
