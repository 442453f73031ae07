"""The values that pass between data, objectives and the engine. Importing this module imports no torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn

Better = Literal["higher", "lower"]
Shown = Literal["mean", "draw"]


NUMBERS = ("number", "whole", "date", "constant")
"""The kinds of fields that are numbers in x; the others are chosen from categories."""


@dataclass(frozen=True)
class Field:
    """One column of a user's table, where it lies in x, and how it goes there and back.

    In a row of a source a field is one float64: its number, seconds since 1970 for a date, the position in
    ``categories`` for a category, and NaN for a missing cell. In x it is ``width`` positions: first ``numbers``
    numbers, then ``choices`` positions of which one is 1 and the others are 0.

    The number of a field is ``knots`` interpolated at the value. The choices of a category are its categories. Those of
    a number, if it has any, say what the cell is: an ordinary value of one of the ``modes`` (or simply an ordinary
    value), one of the ``spikes``, or missing. Its number is 0 unless the value is ordinary.

    Args:
        name: of the column.
        kind: ``number``, ``whole`` (whole numbers), ``date``, ``constant``, ``category`` or ``flag`` (two categories).
        start: first position along the last axis of x.
        width: number of positions.
        categories: the values of a category, in the order of their positions. Those from ``choices`` on (or one
            earlier, where cells may be missing) share the last position with the one before them.
        shares: of the rows that each category has.
        missing: whether missing cells are learned: the last choice.
        knots: pairs of a value and its number in x, both rising; numbers beyond them are extrapolated.
        modes: mean and scale in x of each mode of a number that has several: x is (number - mean) / scale.
        spikes: values of which each is a choice of its own.
        bounds: lowest and highest value of samples, or None where samples may lie beyond those of the data.
        step: what samples are rounded to multiples of, such as 0.01; 0 for numbers that are not rounded.
        cycles: periods in seconds (a week, a day) whose sine and cosine follow the number of a date.
        dtype: of the column in the user's table, by Arrow's name: ``int64``, ``string``, ``timestamp[s]``.
        format: of a date that the table holds as text: ``%d.%m.%Y``.
    """

    name: str
    kind: str = "number"
    start: int = 0
    width: int = 1
    categories: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()
    missing: bool = False
    knots: tuple[tuple[float, float], ...] = ((0.0, 0.0), (1.0, 1.0))
    modes: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    spikes: tuple[float, ...] = ()
    bounds: tuple[float, float] | None = None
    step: float = 0.0
    cycles: tuple[float, ...] = ()
    dtype: str = "double"
    format: str = ""

    @property
    def varies(self) -> bool:
        """Whether the cells of the data differ."""
        return self.kind != "constant" and (len(self.categories) != 1 or self.missing)

    @property
    def numbers(self) -> int:
        """Positions in x that hold numbers; they come first."""
        return 1 + 2 * len(self.cycles) if self.kind in NUMBERS else 0

    @property
    def choices(self) -> int:
        """Positions in x of which one is 1; they come last."""
        return self.width - self.numbers

    @property
    def ordinary(self) -> int:
        """How many of a number's choices say that its value is an ordinary one; they come first."""
        return len(self.modes) if self.choices and self.kind in NUMBERS else 0


@dataclass(frozen=True)
class Rows:
    """Rows of a source, in the source's own types.

    Args:
        x: (B, *X); where ``DataSpec.encoded`` (B, fields) float64, as ``Field`` says.
        labels: (B,) class numbers where ``DataSpec.classes`` names them, (B, fields) where the condition has fields,
            else (B, *K) floats of side information, or None.
        mask: (B, *X) bool, or (B, fields), false where a value is missing or padded; None where all are there. A
            missing cell of a field that learns which are missing is a value like any other.
    """

    x: np.ndarray
    labels: np.ndarray | None = None
    mask: np.ndarray | None = None


HELD_OUT = "held_out/"
"""Begins the names of held-out results in the records of the log."""
OF_SAMPLES = "samples/"
"""Begins the names of what is measured of samples while training, in the records of the log."""
COST_OF_TRAINING = frozenset(("samples_per_second", "seconds", "peak_megabytes"))
"""Names in the records of the log that depend on the machine: of the interval, and the most memory so far."""


@dataclass(frozen=True)
class Figure:
    """One result of a metric.

    Args:
        name: the key under which ``Metric.measure`` returns it.
        label: for a table's heading and an axis.
        unit: ``nats``, ``dB`` …; empty where there is none.
        better: which direction is good.
        only_for: what it is of, where a metric gives it for some models or data alone: ``images``.
    """

    name: str
    label: str
    unit: str = ""
    better: Better = "higher"
    only_for: str = ""


@dataclass(frozen=True)
class Units:
    """The mapping of a source's values to a model's inputs, ``x = (raw - offset) / scale``, and back.

    Args:
        offset: one number, or one for each position of an axis of x.
        scale: likewise; never zero.
        dtype: the numpy name of the source's own type, in which samples are given back.
        constant: positions in ``offset`` whose values never vary: they are returned exactly, whatever a model outputs.
        whole: positions of columns of whole numbers, to which samples are rounded.
        axis: of an event, counted from its end, that several offsets and scales are for: -1 for columns, -3 for the
            channels of images.
    """

    offset: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    dtype: str = "float32"
    constant: tuple[int, ...] = ()
    whole: tuple[int, ...] = ()
    axis: int = -1

    def shape(self, values: Sequence[float]) -> tuple[int, ...]:
        """The shape in which offsets or scales are broadcast over x: (3, 1, 1) for three channels of images."""
        return (len(values), *(1,) * (-1 - self.axis)) if len(values) > 1 else (1,)


@dataclass(frozen=True)
class DataSpec:
    """The specification of data that components are given.

    Args:
        shape: of one event, *X: (channels, height, width) for images, (columns,) for tables and points.
        range: lowest and highest value of ``Batch.x``, or None where there is no bound.
        modality: the name of the view that draws and writes its rows: ``image``, ``table``, ``points`` (2-D),
            ``array``, or that of a plugin's view.
        condition: shape of the condition, *K, or None where the model is given none.
        count: number of rows.
        fields: the columns of a table, in the order of x.
        classes: names of the classes, where the condition is a label.
        condition_fields: the columns of a table that the model is given as a condition, in the order of *K.
        units: how x relates to the source's own values.
        class_type: what the classes are in the source: ``text``, ``int`` (whole numbers) or ``bool``.
        details: further properties of a modality as JSON values: a vocabulary, a sample rate in Hz.
        mean: of all values of x in training rows, where they are bounded and the source is not lazy: what the encoder
            ``mlp`` centres x at.
    """

    shape: tuple[int, ...]
    range: tuple[float, float] | None = (0.0, 1.0)
    modality: str = "array"
    condition: tuple[int, ...] | None = None
    count: int = 0
    fields: tuple[Field, ...] | None = None
    classes: tuple[str, ...] | None = None
    units: Units = field(default_factory=Units)
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    class_type: str = "text"
    condition_fields: tuple[Field, ...] | None = None
    mean: float | None = None

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The names of the fields."""
        return None if self.fields is None else tuple(field.name for field in self.fields)

    def class_values(self) -> np.ndarray:
        """(classes,) the classes in the type that they have in the source: text, whole numbers or booleans."""
        import numpy as np

        classes = self.classes or ()
        if self.class_type == "bool":
            return np.array([name.lower() == "true" for name in classes])
        return np.array(classes, dtype=np.int64 if self.class_type == "int" else None)

    @property
    def encoded(self) -> bool:
        """Whether the fields say how rows go into x; else a field is one position of x, and ``units`` say it."""
        plain = (Field(field.name, field.kind, field.start) for field in self.fields or ())
        return self.fields is not None and self.fields != tuple(plain)

    def as_dict(self) -> dict[str, Any]:
        """This specification as plain JSON values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Drawing:
    """What a picture shows. A view uses the fields that it has a place for, and ignores the others.

    Rows are in the source's own units, as those of ``View.write`` are.

    Args:
        rows: (N, *X) what a model has made, or rows of data.
        name: what ``rows`` are, for a legend: ``samples``, ``reconstructions``, ``rows``.
        real: (M, *X) rows of data to compare them with.
        originals: (N, *X) the rows that ``rows`` reconstruct, or that are nearest to samples.
        labels: (N,) the position of each row's class in ``DataSpec.classes``.
        columns: of a grid; 0 leaves the choice to the view.
        headings: a text above each column of a grid; they also say how many columns there are.
        rows_together: lines of a grid that belong together, with a wider gap before the next ones; 0 for all.
    """

    rows: np.ndarray
    name: str = "samples"
    real: np.ndarray | None = None
    originals: np.ndarray | None = None
    labels: np.ndarray | None = None
    columns: int = 0
    headings: Sequence[str] = ()
    rows_together: int = 0


class View:
    """Shows rows of one modality to a person: as pictures and in files. Views work with numpy and import no torch.

    A view's component is named after the modality that it shows, which ``DataSpec.modality`` names. It implements
    ``draw`` where ``endings`` has ``.png``, and ``write`` where it has any other. Every view's rows can also be written
    to ``.npz`` and ``.npy`` files.

    Rows are (N, *X) in the source's own units. Those of a view that shows draws have the source's own type. Those of a
    view that shows means are floating point and not rounded, since a mean may lie between two values.

    Attributes:
        noun: what rows are called, in the plural: ``images``.
        endings: of the files that ``draw`` and ``write`` make, the usual one first; an empty one is a folder of files.
        shown: whether samples are shown as means of the observation or as draws from it, where the observation leaves
            the choice.
        as_grid: whether a picture shows each row by itself, as a grid of images does, and not where many rows lie, as a
            scatter plot does.
        plugin: whose recipe ``ganvae data`` names for such data.
        gaps: whether a picture leaves out what is NaN; rows of data have it there where a value is missing.
        shows_real: whether a grid of samples has rows of data above them; other pictures have data beside samples.
        quantities: whether values have an order, so that means and distances of rows say something; characters have
            none.
        along: the axis of a row that is time, or the order of a text; None where there is none.
    """

    noun: ClassVar[str] = "rows"
    endings: ClassVar[tuple[str, ...]] = ()
    shown: ClassVar[Shown] = "mean"
    as_grid: ClassVar[bool] = False
    plugin: ClassVar[str] = "vae"
    gaps: ClassVar[bool] = False
    shows_real: ClassVar[bool] = False
    quantities: ClassVar[bool] = True
    along: ClassVar[int | None] = None

    def fits(self, spec: DataSpec) -> bool:
        """Whether rows of this specification can be shown."""
        return True

    def describe(self, spec: DataSpec) -> str:
        """One row in words: ``8 × 8``, ``5 columns``; empty where there is nothing to say."""
        return " × ".join(str(size) for size in spec.shape)

    def places_in_unit(self, spec: DataSpec) -> float:
        """Places of the axis ``along`` in one unit that users give spans in: a time, a character, a second of sound."""
        return 1.0

    def hidden(self, spec: DataSpec) -> float | np.ndarray:
        """What a picture has in place of hidden values, in the source's units: one value, or a pattern (*X)."""
        return math.nan if self.gaps else 0.0

    def draw(self, drawing: Drawing, spec: DataSpec, path: Path) -> None:
        """Draw rows to a PNG file. The path is a draft's: the file appears in its place when it is complete."""
        raise NotImplementedError

    def write(self, rows: np.ndarray, spec: DataSpec, path: Path, further: Mapping[str, np.ndarray]) -> None:
        """Write rows (N, *X) as the path's ending says, to a draft like that of ``draw``.

        Args:
            rows: what to write.
            spec: what the data is.
            path: of a file with one of ``endings``, or of a folder that does not exist yet.
            further: arrays (N, …) that belong to the rows, by name, such as ``label``; for formats that can hold them.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Batch:
    """One batch of training, on the engine's device.

    Args:
        x: (B, *X) floating point within the data's range; zero where the mask is false.
        condition: (B, *K) or None.
        mask: (B, *X) bool, true where x was observed; None where all of it was.
        index: (B,) row numbers in the source.
        samples_seen: rows that training had used before this step. Schedules are functions of it.
    """

    x: Tensor
    condition: Tensor | None
    mask: Tensor | None
    index: Tensor
    samples_seen: int


@dataclass(frozen=True)
class Loss:
    """The result of a phase's loss.

    Args:
        value: () the scalar that is minimised.
        terms: named scalars () to log; likelihood terms in nats, averaged over the batch.
        statistics: named tensors that ``Phase.after`` receives averaged; they are not logged.
    """

    value: Tensor
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    statistics: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Phase:
    """One loss, the modules that it trains, and how often it runs.

    Args:
        name: unique in its objective; logged terms are called ``name/term``.
        loss: the loss of a batch; it changes no state and calls neither ``backward`` nor ``item``.
        trains: the modules whose parameters this phase updates; all others stay unchanged.
        every: run in each ``every``-th step (from step ``every - 1`` on).
        optimizer: name of the optimizer settings; phases with one name share one optimizer. Default: ``name``.
        second_order: the loss differentiates a gradient, so it runs in fp32 and uncompiled.
        couples_rows: the loss ties rows together, so it is never split into micro-batches.
        after: called once per successful update, without gradients, with the averaged terms and statistics.
    """

    name: str
    loss: Callable[[Batch], Loss]
    trains: Sequence[nn.Module]
    every: int = 1
    optimizer: str = ""
    second_order: bool = False
    couples_rows: bool = False
    after: Callable[[Mapping[str, Tensor]], None] | None = None

    def __post_init__(self) -> None:
        if not self.optimizer:
            object.__setattr__(self, "optimizer", self.name)
