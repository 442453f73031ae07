"""What the verbs are given: a run, rows of data or files, their codes, and codes of samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np

from ganvae_core.cli import request
from ganvae_core.cli.frame import PathName
from ganvae_core.cli.output import counted, note, said_if_slow
from ganvae_core.cli.request import CONDITION, DATA, SEED, open_data
from ganvae_core.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.data.split import Split
    from ganvae_core.runs.loading import Run
    from ganvae_core.types import Batch

DATA_SUFFIXES = (".npy", ".npz", ".csv", ".tsv", ".parquet")
"""Of files that hold arrays or tables, which are read as they are."""
ROWS = click.option("--rows", metavar="N,…", help="Numbers of rows of the data.")
RESIZE = click.option("--resize", is_flag=True, help="Scale images to the size that the model takes.")
FILES = click.argument("files", nargs=-1, metavar="[FILE]...", type=PathName())


@dataclass(frozen=True, eq=False)
class Given:
    """Codes, and what they come from.

    Args:
        z: (N, *Z).
        condition: (N, *K), where the model takes any.
        x: (N, *X) the rows of which these are the codes; None for samples.
    """

    z: Tensor
    condition: Tensor | None
    x: Tensor | None = None

    def some(self, chosen: slice) -> Given:
        """Some of them."""
        condition = None if self.condition is None else self.condition[chosen]
        return Given(self.z[chosen], condition, None if self.x is None else self.x[chosen])


class Chosen(NamedTuple):
    """Rows of the data, or all of a file.

    Args:
        split: where they are.
        indices: (N,) their numbers.
        is_picture: whether the file is a picture, whose black and white are the ends of the data's range.
    """

    split: Split
    indices: np.ndarray
    is_picture: bool = False


@dataclass(frozen=True, eq=False)
class Request(request.Request):
    """What is asked for by the parameters that verbs share, and which rows.

    Args:
        files: whose rows are taken.
        rows: numbers of rows of the data, as they are typed.
        resize: whether pictures are scaled.
    """

    files: tuple[Path, ...] = ()
    rows: str | None = None
    resize: bool = False

    @property
    def names_rows(self) -> bool:
        """Whether rows are given, by files or by number."""
        return bool(self.files) or self.rows is not None

    def chosen(self, held_out: int = 0) -> list[Chosen]:
        """The rows that are given by files or by number; otherwise so many held-out ones, or the first two.

        Raises:
            ConfigurationError: both files and rows are given.
            DataError: a file cannot be read or has another shape, or there is no such row.
        """
        from ganvae_core.evaluation.sampling import evenly

        if self.files and (self.rows is not None or self.data is not None):
            raise ConfigurationError("files go with neither --rows nor --data.", "give one of them")
        if self.files:
            return [self._file(file) for file in self.files]
        split = self.open_data()
        if held_out and self.rows is None:
            return [
                Chosen(split, evenly(split.held_out if len(split.held_out) else split.training, held_out))
            ]
        numbers = row_numbers(self.rows or "0,1")
        if numbers.max() >= len(split.source):
            raise DataError(f"--rows: there is no row {numbers.max():,}: the data has {len(split.source):,}.")
        return [Chosen(split, numbers)]

    def batch(self, chosen: Sequence[Chosen]) -> Batch:
        """Rows as the model takes them, with the condition that is asked for.

        Raises:
            ConfigurationError: the model takes a condition, and there is none.
        """
        batch = joined([_pixels(self.run, each) if each.is_picture else self.run.batch(each.split, each.indices)
                        for each in chosen])  # fmt: skip
        if self.asked:
            batch = dataclasses.replace(batch, condition=self.condition(len(batch.x)))
        if self.run.spec.condition is not None and batch.condition is None:
            raise ConfigurationError(
                "this model takes a condition, and the files have none.", "give  --condition C"
            )
        return batch

    def samples(self, count: int) -> Given:
        """The codes of which ``ganvae sample --seed`` makes its samples.

        Raises:
            ConfigurationError: the prior is not trained yet.
        """
        from ganvae_core.evaluation.sampling import can_sample, sample_codes

        run = self.run
        if not can_sample(run.model):
            raise ConfigurationError(
                "this run has no samples yet: its prior is trained in a further stage, and it is at step"
                f" {run.step:,}.",
                f"go on with it:  ganvae run --resume {run.path}",
            )
        return Given(*sample_codes(run.model, count, self.seed, run.device, self.condition(count)))

    def codes(self, chosen: Sequence[Chosen]) -> Given:
        """The codes of rows: the encoder's, or those that optimisation finds where there is no encoder."""
        import torch

        from ganvae_core.data.randomness import seeded
        from ganvae_core.latent import invert

        run, batch = self.run, self.batch(chosen)
        if run.model.encoder is not None:
            with torch.no_grad():
                return Given(run.model.encode(batch.x, batch.condition).mean, batch.condition, batch.x)
        note(f"{run.path} has no encoder: codes are found by optimisation")
        with seeded(run.device, self.seed), said_if_slow("looking for codes"):
            found = invert(run.model, batch.x, batch.condition, mask=batch.mask)
        return Given(found.z, batch.condition, batch.x)

    def code(self, text: str) -> Given:
        """A code as it is typed, or in a file that the page of ``ganvae explore`` saved, with its condition.

        Raises:
            ConfigurationError: it is no code of this model, or the model takes a condition and there is none.
            DataError: the file cannot be read.
        """
        import math

        import torch

        run, kept = self.run, None
        shape: tuple[int, ...] = tuple(getattr(run.model.prior, "latent_shape", None) or ())
        if text.lower().endswith((".json", ".safetensors")):
            values, kept = _saved_code(Path(text))
        else:
            try:
                values = [float(part) for part in text.split(",")]
            except ValueError:
                raise ConfigurationError(
                    f"--code: '{text}' is not a list of numbers.", "like  --code=0.5,-1.2"
                ) from None
        if not all(map(math.isfinite, values)):
            raise ConfigurationError("--code: a number of the code is not finite.")
        if len(values) != math.prod(shape):
            raise ConfigurationError(
                f"--code: a code of this model has {counted(math.prod(shape), 'number')}, and {len(values):,} are"
                " given."
            )
        given = self.condition(1)
        if given is None and run.spec.condition is not None:
            if kept is None or len(kept) != math.prod(run.spec.condition):
                raise ConfigurationError("this model takes a condition.", "give  --condition C")
            given = torch.tensor(kept, device=run.device).reshape(1, *run.spec.condition)
        return Given(torch.tensor(values, device=run.device).reshape(1, *shape), given)

    def _file(self, file: Path) -> Chosen:
        """All rows of a picture, or of any other file of data, as the run's model can take it.

        Raises:
            DataError: it cannot be read, or has another shape.
        """
        if not file.exists():
            raise DataError(f"there is no file '{file}'.")
        if self.run.spec.modality != "image" or file.suffix.lower() in DATA_SUFFIXES:
            split = open_data(self.run, str(file), self.asked)
            return Chosen(split, np.arange(len(split.source)))
        from PIL import Image

        if file.is_file() and file.suffix.lower() not in Image.registered_extensions():
            raise DataError(f"{file} is not a picture.", f"data is in files of {', '.join(DATA_SUFFIXES)}")
        channels, height, width = self.run.spec.shape
        options: dict[str, Any] = {"grayscale": channels == 1}
        if self.resize:
            options["resize"] = width if width == height else [width, height]
        try:
            split = open_data(self.run, str(file), self.asked, options)
        except DataError as error:
            differs = "does not fit" in error.message and not self.resize
            hint = "--resize scales pictures" if differs else ""
            raise DataError(f"{file}: {error.message}", hint) from error
        return Chosen(split, np.arange(len(split.source)), is_picture=True)


def requested(
    *more: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> Callable[..., Callable[..., None]]:
    """Give a verb a ``Request`` with data, seed and condition.

    Args:
        more: further parameters: which rows are taken, or KEY=VALUE.
    """
    return request.requested(*more, DATA, SEED, CONDITION, kind=Request)


def row_numbers(text: str) -> np.ndarray:
    """Row numbers as they are typed: ``3,17``.

    Raises:
        ConfigurationError: they are no whole numbers from 0 on.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigurationError(f"--rows: '{text}' is not a list of row numbers.", "like  --rows 0,3,17")
    return np.array([int(part) for part in parts])


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches as one."""
    import torch

    from ganvae_core.types import Batch

    def all_of(name: str) -> Any:
        parts = [getattr(batch, name) for batch in batches]
        return None if any(part is None for part in parts) else torch.cat(parts)

    mask = None
    if any(batch.mask is not None for batch in batches):
        mask = torch.cat([torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
                          for batch in batches])  # fmt: skip
    return Batch(all_of("x"), all_of("condition"), mask, all_of("index"), batches[0].samples_seen)


def _pixels(run: Run, chosen: Chosen) -> Batch:
    """A picture whose black and white are the ends of the data's range, such as 0 and 16 of the digits."""
    import torch

    from ganvae_core.types import Batch

    pixels = chosen.split.source.rows(chosen.indices).x
    if run.spec.range is None or pixels.dtype.kind != "u":
        return run.batch(chosen.split, chosen.indices)
    low, high = run.spec.range
    x = low + (high - low) * pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
    index = torch.as_tensor(chosen.indices, device=run.device)
    return Batch(torch.as_tensor(x, device=run.device), None, None, index, 0)


def _saved_code(file: Path) -> tuple[list[float], list[float] | None]:
    """The numbers of ``code`` and ``condition`` in a file.

    Raises:
        DataError: it cannot be read, or has none.
    """
    import json

    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not file.is_file():
        raise DataError(f"--code: there is no file '{file}'.")
    kind = file.suffix.lower().removeprefix(".")
    try:
        content = file.read_bytes()
        held: Any = load(content) if kind == "safetensors" else json.loads(content)
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise DataError(f"--code: {file} cannot be read as {kind}.") from error
    try:
        code, condition = held["code"], held.get("condition")
        values = np.asarray(code, np.float64).ravel().tolist()
        return values, None if condition is None else np.asarray(condition, np.float64).ravel().tolist()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"--code: {file} has no list of numbers called 'code'.") from error
