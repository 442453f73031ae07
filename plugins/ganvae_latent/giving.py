"""What the verbs are given: rows of data or files, their codes, and codes of samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from ganvae_core.cli.frame import PathName, WholeNumber
from ganvae_core.cli.model_verbs import load, open_with
from ganvae_core.cli.output import counted, note, said_if_slow, warnings_as_notes
from ganvae_core.errors import ConfigurationError, DataError, NotApplicable

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.data.split import Split
    from ganvae_core.runs.loading import Run

DATA_SUFFIXES = (".npy", ".npz", ".csv", ".tsv", ".parquet")
"""Of files that hold arrays or tables, which are read as they are."""
NETS = ("judge", "efficientnet-lite0", "inception")
"""Of the metrics: a small classifier of the data's own labels, and two networks of ImageNet."""
METRIC_OF_NETS, METRIC_OF_CLASSES = "metrics/memorisation", "metrics/judge"
"""The metrics that give them and their classes; plugins import no other plugin."""
SPACES = ("data", "codes", "critic", *NETS)
SEED = click.option(
    "--seed", type=WholeNumber(min=0), default=0, metavar="N", help="Other samples for another seed."
)
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


def load_run(path: Path, checkpoint: str | None, device: str) -> Run:
    """The run, with a warning for each damaged checkpoint that was passed over."""
    return load(path, checkpoint, device)[0]


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


def features_of(run: Run, space: str) -> Callable[[Tensor, Tensor | None], Tensor]:
    """(B, *X), (B, *K)? -> (B, F) what rows are compared by: one of ``SPACES``.

    Raises:
        ConfigurationError: the run has no encoder, no critic with features, or such a net cannot be had for its data.
    """
    if space == "data":
        return lambda x, condition: x.flatten(1)
    if space == "codes":
        need_encoder(run)
        return lambda x, condition: run.model.encode(x, condition).mean.flatten(1)
    if space == "critic":
        critic: Any = getattr(run.objective(), "critic", None)
        if critic is None or not hasattr(critic, "features"):
            raise ConfigurationError(
                f"{run.path} has no critic whose features could be compared.",
                "take  judge  or  efficientnet-lite0",
            )
        return critic.features
    net = _net(run, space)
    return lambda x, condition: net(x).to(x.device)


def _net(run: Run, name: str) -> Callable[[Tensor], Tensor]:
    """(B, *X) -> (B, F) of a net by which metrics compare samples with data."""
    return _of_metric(run, METRIC_OF_NETS, f"the features of {name}", "features", net=name)


def classifier_of(run: Run) -> Callable[[Tensor], Tensor]:
    """(B, *X) -> (B,) the class numbers that a small classifier of the data's own labels finds.

    Raises:
        ConfigurationError: the data has no labels.
    """
    return _of_metric(run, METRIC_OF_CLASSES, "labels of samples", "classifier")


def _of_metric(run: Run, metric: str, what: str, method: str, **options: Any) -> Callable[[Tensor], Tensor]:
    from ganvae_core.evaluation.subject import ModelSubject

    made = run.catalogue.load(run.catalogue.component("metric", metric)[1])(**options)
    try:
        return getattr(made, method)(ModelSubject(run.model, open_data(run), device=run.device))
    except NotApplicable as error:
        raise ConfigurationError(f"{what} cannot be had: {error.message}") from error


def numbers(text: str) -> np.ndarray:
    """Row numbers as they are typed: ``3,17``.

    Raises:
        ConfigurationError: they are no whole numbers from 0 on.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise ConfigurationError(f"--rows: '{text}' is no list of row numbers.", "like  --rows 0,3,17")
    return np.array([int(part) for part in parts])


def condition_for(run: Run, asked: Sequence[str], count: int, seed: int = 0) -> Tensor | None:
    """(count, *K) what ``--condition`` says, or None without it."""
    return run.condition(asked, count, seed=seed) if asked else None


def samples(run: Run, count: int, seed: int, asked: Sequence[str]) -> Given:
    """The codes of which ``ganvae sample --seed`` makes its samples.

    Raises:
        ConfigurationError: the prior is not trained yet.
    """
    from ganvae_core.evaluation.sampling import can_sample, sample_codes

    if not can_sample(run.model):
        raise ConfigurationError(
            f"this run has no samples yet: its prior is trained in a further stage, and it is at step {run.step:,}.",
            f"go on with it:  ganvae run --resume {run.path}",
        )
    z, given = sample_codes(run.model, count, seed, run.device, condition_for(run, asked, count, seed))
    return Given(z, given)


def code_given(run: Run, text: str, asked: Sequence[str]) -> Given:
    """A code as it is typed, or in a file that the page of ``ganvae explore`` saved, which may have a condition, too.

    Raises:
        ConfigurationError: it is no code of this model, or the model takes a condition and there is none.
        DataError: the file cannot be read.
    """
    import math

    import torch

    shape: tuple[int, ...] = tuple(getattr(run.model.prior, "latent_shape", None) or ())
    kept: list[float] | None = None
    if text.lower().endswith((".json", ".safetensors")):
        if not Path(text).is_file():
            raise DataError(f"--code: there is no file '{text}'.")
        values, kept = _saved_code(Path(text))
    else:
        try:
            values = [float(part) for part in text.split(",")]
        except ValueError:
            raise ConfigurationError(
                f"--code: '{text}' is no list of numbers.", "like  --code=0.5,-1.2"
            ) from None
    if not all(map(math.isfinite, values)):
        raise ConfigurationError("--code: a number of the code is not finite.")
    if len(values) != math.prod(shape):
        raise ConfigurationError(
            f"--code: a code of this model has {counted(math.prod(shape), 'number')}, and {len(values):,} are given."
        )
    given = condition_for(run, asked, 1)
    if given is None and run.spec.condition is not None:
        if kept is None or len(kept) != math.prod(run.spec.condition):
            raise ConfigurationError("this model takes a condition.", "give  --condition C")
        given = torch.tensor(kept, device=run.device).reshape(1, *run.spec.condition)
    return Given(torch.tensor(values, device=run.device).reshape(1, *shape), given)


def _saved_code(file: Path) -> tuple[list[float], list[float] | None]:
    """The numbers of ``code`` and ``condition`` in a file."""
    import json

    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        content = file.read_bytes()
        held: Any = load(content) if file.suffix.lower() == ".safetensors" else json.loads(content)
        code, condition = held["code"], held.get("condition")
        values = np.asarray(code, np.float64).ravel().tolist()
        return values, None if condition is None else np.asarray(condition, np.float64).ravel().tolist()
    except (
        OSError,
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as error:
        raise DataError(f"--code: {file} holds no code: {type(error).__name__}.") from error


def rows_of(
    run: Run,
    files: Sequence[Path],
    data: str | None,
    rows: str | None,
    asked: Sequence[str],
    resize: bool,
) -> Any:
    """A batch of the rows that are given by files or by number.

    Raises:
        ConfigurationError: both are given.
        DataError: a file cannot be read or has another shape, or there is no such row.
    """
    import dataclasses

    if files and (rows is not None or data is not None):
        raise ConfigurationError("files are given, so --rows and --data have no use.", "give one of them")
    if files:
        batch = joined([_file(run, file, resize, asked) for file in files])
    else:
        split = open_data(run, data, asked)
        chosen = numbers(rows or "0,1")
        if chosen.max() >= len(split.source):
            raise DataError(f"--rows: there is no row {chosen.max():,}: the data has {len(split.source):,}.")
        batch = run.batch(split, chosen)
    if asked:
        batch = dataclasses.replace(batch, condition=condition_for(run, asked, len(batch.x)))
    if run.spec.condition is not None and batch.condition is None:
        raise ConfigurationError(
            "this model takes a condition, and the files have none.", "give  --condition C"
        )
    return batch


def joined(batches: Sequence[Any]) -> Any:
    """Batches as one."""
    import torch

    from ganvae_core.types import Batch

    first = batches[0]

    def all_of(name: str) -> Any:
        parts = [getattr(batch, name) for batch in batches]
        return None if any(part is None for part in parts) else torch.cat(parts)

    masks = [batch.mask for batch in batches]
    mask = None
    if any(one is not None for one in masks):
        mask = torch.cat([torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
                          for batch in batches])  # fmt: skip
    return Batch(all_of("x"), all_of("condition"), mask, all_of("index"), first.samples_seen)


def _file(run: Run, file: Path, resize: bool, asked: Sequence[str]) -> Any:
    """All rows of one file: a picture, or anything that is data.

    Black and white of a picture are the lowest and the highest value of the data's range, whatever the units of the
    data: 0 and 16 of the digits.
    """
    import torch

    from ganvae_core.types import Batch

    split = open_file(run, file, resize, asked)
    indices = np.arange(len(split.source))
    pixels = split.source.rows(indices).x
    if not is_picture(run, file) or run.spec.range is None or pixels.dtype.kind != "u":
        return run.batch(split, indices)
    low, high = run.spec.range
    x = low + (high - low) * pixels.astype(np.float32) / np.iinfo(pixels.dtype).max
    return Batch(
        torch.as_tensor(x, device=run.device), None, None, torch.as_tensor(indices, device=run.device), 0
    )


def is_picture(run: Run, file: Path) -> bool:
    """Whether a file is a picture, and not an array or a table."""
    return run.spec.modality == "image" and file.suffix.lower() not in DATA_SUFFIXES


def open_data(run: Run, data: str | None = None, asked: Sequence[str] = ()) -> Split:
    """The run's data, or other data that its model can take; warnings are printed as notes."""
    with warnings_as_notes():
        return open_with(run, data, {}, asked)


def open_file(run: Run, file: Path, resize: bool, asked: Sequence[str] = ()) -> Split:
    """A picture, or any other file of data, as the run's model can take it.

    Raises:
        DataError: it cannot be read, or has another shape.
    """
    if not is_picture(run, file):
        return open_data(run, str(file), asked)
    from PIL import Image

    if file.is_file() and file.suffix.lower() not in Image.registered_extensions():
        raise DataError(f"{file} is no picture.", f"data is in files of {', '.join(DATA_SUFFIXES)}")
    channels, height, width = run.spec.shape
    options: dict[str, Any] = {"grayscale": channels == 1}
    if resize:
        options["resize"] = width if width == height else [width, height]
    try:
        with warnings_as_notes():
            return open_with(run, str(file), options, asked)
    except DataError as error:
        differs = "does not fit" in error.message and not resize
        raise DataError(f"{file}: {error.message}", "--resize scales pictures" if differs else "") from error


def codes_of(run: Run, batch: Any, seed: int = 0) -> Given:
    """The codes of rows: the encoder's, or those that optimisation finds where there is no encoder."""
    import torch

    from ganvae_core.data.randomness import borrowed_randomness
    from ganvae_core.latent import invert

    if run.model.encoder is not None:
        with torch.no_grad():
            return Given(run.model.encode(batch.x, batch.condition).mean, batch.condition, batch.x)
    note(f"{run.path} has no encoder: codes are found by optimisation")
    with borrowed_randomness(run.device) as generator, said_if_slow("looking for codes"):
        generator.manual_seed(seed)
        found = invert(run.model, batch.x, batch.condition, mask=batch.mask)
    return Given(found.z, batch.condition, batch.x)
