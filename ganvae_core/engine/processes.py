"""The processes that train together, called ranks, and their communication.

A world of one rank never uses torch.distributed. Tensors are exchanged in the default process group: over NCCL between
accelerators, over gloo between CPUs. Errors, paths and results are exchanged as JSON in a second group with a long
timeout, since measuring and writing on rank 0 may take hours.
"""

from __future__ import annotations

import atexit
import json
import os
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar, final

import torch
from torch import Tensor, distributed

from ganvae_core import errors
from ganvae_core.engine.environment import LAUNCHER, RUN_KEY, world_size
from ganvae_core.errors import ConfigurationError, GanvaeError, TrainingError

T = TypeVar("T")

REPORTER_KEY = "ganvae/reporter"
WAIT_FOR_FIRST = timedelta(days=7)
"""Timeout of the second group. A rank that dies closes its connections at once, so that no other one waits for it."""
CONNECTING = timedelta(seconds=20)
"""How long a rank tries to reach its launcher, which listens before it starts any. Signals do not end this wait."""
REPORT_DELAY_SECONDS = 0.5
"""Delay of the reports of other ranks than rank 0, which comes first where all fail."""


class RankLostError(TrainingError):
    """Another rank cannot be reached: its process ended, or the network failed."""


@final
class World:
    """The ranks of one training.

    Args:
        rank: number of this process, from 0.
        size: how many there are.
        local_rank: number of this process on its machine; None where it is unknown.
        local_size: how many of them are on this machine.
        store: torch's key-value store; None where the process group was not initialised here.
        group: torch's process group for numbers; None in a world of one.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        local_rank: int | None = 0,
        local_size: int = 1,
        store: Any = None,
        group: Any = None,
    ) -> None:
        self.rank = rank
        self.size = size
        self.local_rank = local_rank
        self.local_size = local_size
        self.group = group
        self._store = store
        self._messages = (
            None if group is None else distributed.new_group(backend="gloo", timeout=WAIT_FOR_FIRST)
        )

    def release(self) -> None:
        """Drop the references to torch's groups and store, at the end of the process."""
        self.group = self._messages = self._store = None

    @property
    def first(self) -> bool:
        """Whether this is rank 0, the only one that writes, measures and prints."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """This rank's rows of a global batch; where it cannot be shared evenly, the first ranks have one more.

        Raises:
            ConfigurationError: there are fewer rows than ranks.
        """
        if batch_size < self.size:
            raise ConfigurationError(
                f"a batch of {batch_size} row{'s' * (batch_size > 1)} cannot be shared by {self.size} processes.",
                "engine.batch_size is that of all processes together: take a larger one, or fewer processes",
            )
        each, more = divmod(batch_size, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def own_device(self, device: torch.device) -> torch.device:
        """This rank's device: the ranks of a machine share its CPU, and each uses an accelerator of its own.

        Raises:
            ConfigurationError: there are fewer accelerators than ranks, or one is named for all.
        """
        if self.size == 1 or device.type == "cpu":
            return device
        if device.index is not None:  # pyright: ignore[reportUnnecessaryComparison]
            raise ConfigurationError(
                f"engine.device: {device} is one device, and each of {self.size} processes needs its own.",
                f"let each take one:  --device {device.type}",
            )
        count = torch.accelerator.device_count()
        index = torch.accelerator.current_device_index() if self.local_rank is None else self.local_rank
        if index >= count:
            raise ConfigurationError(
                f"engine.device: {self.local_size} processes need a {device.type} device each, and this machine has"
                f" {count}.",
                f"start {count} of them, or train on the CPU:  --device cpu",
            )
        torch.accelerator.set_device_index(index)
        return torch.device(device.type, index)

    def sum_(self, values: Tensor) -> None:
        """Replace values by their sum over ranks, which is the same on all of them bit for bit.

        Raises:
            RankLostError: a rank cannot be reached.
        """
        with _connected():
            distributed.all_reduce(values, group=self.group)

    def broadcast_(self, tensors: Iterable[Tensor], device: torch.device) -> None:
        """Replace tensors by those of rank 0.

        Raises:
            RankLostError: a rank cannot be reached.
        """
        if self.size == 1:
            return
        for tensor in tensors:
            values = tensor.detach().to(device).contiguous()
            with _connected():
                distributed.broadcast(values, 0, group=self.group)
            tensor.detach().copy_(values)

    def count(self, flags: list[bool]) -> list[int]:
        """How many ranks have each flag set. It does not wait for accelerators.

        Raises:
            RankLostError: a rank cannot be reached.
        """
        counts = torch.tensor(flags, dtype=torch.int32)
        with _connected():
            distributed.all_reduce(counts, group=self._messages)
        return counts.tolist()

    def exchange(self, message: Any) -> list[Any]:
        """The messages of all ranks, by rank: JSON values.

        Raises:
            RankLostError: a rank cannot be reached.
        """
        if self.size == 1:
            return [message]
        text = torch.frombuffer(bytearray(json.dumps(message).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with _connected():
            distributed.all_gather(lengths, torch.tensor([len(text)]), group=self._messages)
            longest = max(int(length) for length in lengths)
            texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
            padded = torch.nn.functional.pad(text, (0, longest - len(text)))
            distributed.all_gather(texts, padded, group=self._messages)
        return [
            json.loads(bytes(sent[: int(length)].tolist()))
            for sent, length in zip(texts, lengths, strict=True)
        ]

    def from_first(self, work: Callable[[], T]) -> T:
        """The result of ``work`` on rank 0, a JSON value, on all ranks. An error there is raised on all.

        Raises:
            RankLostError: a rank cannot be reached.
        """
        if self.size == 1:
            return work()
        value = self.together(lambda: work() if self.first else None)
        return self.exchange(value)[0]

    def together(self, work: Callable[[], T]) -> T:
        """The result of ``work``, called on all ranks. An error on one of them is raised on all.

        Raises:
            RankLostError: a rank cannot be reached.
        """
        if self.size == 1:
            return work()
        value, error = _tried(work)
        failures = self.exchange(_as_json(error))
        if error is not None:
            raise error
        for rank, failure in enumerate(failures):
            if failure is not None:
                raise _from_json(failure, rank)
        return value  # pyright: ignore[reportReturnType]

    @contextmanager
    def entered_by_first(self, make: Callable[[], AbstractContextManager[Any]]) -> Generator[None]:
        """A context that rank 0 enters. An error on entering is raised on all ranks.

        Raises:
            RankLostError: a rank cannot be reached.
        """
        with ExitStack() as stack:
            self.together(lambda: stack.enter_context(make() if self.first else nullcontext()))
            yield

    def announce_run(self, path: str) -> None:
        """Publish the run's path, for the launcher's messages."""
        if self.first and self._store is not None:
            self._store.set(RUN_KEY, path)

    def may_report(self) -> bool:
        """Whether this rank reports a failure: rank 0 if it fails, else the first rank that fails."""
        if self._store is None:
            return self.first
        if not self.first:
            time.sleep(REPORT_DELAY_SECONDS)
        try:
            return self._store.compare_set(REPORTER_KEY, "", str(self.rank)).decode() == str(self.rank)
        except (
            RuntimeError
        ):  # the process that serves the store has ended: a second report is better than none
            return True


ALONE = World()
_current = ALONE


def world() -> World:
    """The ranks that this process trains with: those of torch's process group.

    The first call initialises that group from ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``, which
    torchrun sets, unless the program has done so itself.

    Raises:
        ConfigurationError: the environment is incomplete, or the ranks cannot connect.
    """
    global _current
    if not distributed.is_available():
        return ALONE
    store = None
    if not distributed.is_initialized():
        if world_size() == 1:
            return ALONE
        store = _join()
    if _current.group is not distributed.group.WORLD:
        size = distributed.get_world_size()
        if size == 1:
            return ALONE
        local = os.environ.get("LOCAL_RANK")
        _current = World(
            distributed.get_rank(),
            size,
            None if local is None else int(local),
            int(os.environ.get("LOCAL_WORLD_SIZE", size)),
            store,
            distributed.group.WORLD,
        )
    return _current


def _join() -> Any:
    """Initialise torch's process group from the environment."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    backend = "gloo"
    if accelerator is not None and accelerator.type != "mps":
        backend = f"cpu:gloo,{accelerator.type}:{distributed.get_default_backend_for_device(accelerator)}"
    # Torch's optimizers import this module. The defaults of its functions would hold the process group until the
    # interpreter exits, so it is imported before there is one.
    from torch.distributed.nn import functional  # noqa: F401  # pyright: ignore[reportUnusedImport]

    try:
        store, rank, size = _rendezvous()
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size)
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"the {world_size()} processes of this run could not connect: {_first_line(error)}",
            "they connect by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, which torchrun sets",
        ) from error
    atexit.register(_leave)
    return store


def _rendezvous() -> tuple[Any, int, int]:
    if LAUNCHER in os.environ:  # the launcher serves the store
        from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(
            address, port, world_size(), is_master=False, timeout=CONNECTING, wait_for_workers=False
        )
        store.set_timeout(distributed.default_pg_timeout)
        return store, int(os.environ["RANK"]), world_size()
    from torch.distributed.rendezvous import rendezvous

    return next(rendezvous("env://"))


def _leave() -> None:
    """Destroy the process groups before the interpreter shuts down.

    The threads of gloo may hold the last reference to a tensor. Releasing it during shutdown aborts the process.
    """
    if distributed.is_initialized():
        distributed.destroy_process_group()
    _current.release()


@contextmanager
def _connected() -> Generator[None]:
    """Turn an error of torch's backends into a ``RankLostError``.

    Raises:
        RankLostError: a rank cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        raise RankLostError(
            "the connection to another process of this run was lost.", _first_line(error)
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _tried(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    try:
        return work(), None
    except RankLostError:
        raise
    except Exception as error:
        return None, error


def _as_json(error: Exception | None) -> dict[str, Any] | None:
    """An error as JSON, with the nearest class of ``ganvae_core.errors``, to be raised on other ranks."""
    if error is None:
        return None
    if not isinstance(error, GanvaeError):
        return {
            "kind": "TrainingError",
            "message": f"{type(error).__name__}: {_first_line(error)}",
            "hints": [],
        }
    kind = next(kind.__name__ for kind in type(error).__mro__ if vars(errors).get(kind.__name__) is kind)
    return {"kind": kind, "message": error.message, "hints": list(error.hints)}


def _from_json(failure: dict[str, Any], rank: int) -> GanvaeError:
    where = f"rank {rank}: " if rank else ""
    return vars(errors)[failure["kind"]](where + failure["message"], *failure["hints"])
