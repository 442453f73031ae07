"""A figure: what is trained, how it is measured, and what was published. One YAML file each, in ``figures/``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ganvae_core.config.layers import parse_yaml
from ganvae_core.config.options import convert, settings_options
from ganvae_core.errors import ConfigurationError, did_you_mean

FOLDER = Path(__file__).parent / "figures"
Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One measured value of the table.

    Args:
        title: what the table says above it.
        digits: after the point.
        best: which direction is good, where the median and the best seed are to be shown beside the mean.
    """

    title: str = ""
    digits: int = 1
    best: Literal["", "higher", "lower"] = ""


@dataclass(frozen=True)
class Published:
    """A row that was published, as it was printed.

    Args:
        label: of what.
        source: paper and table.
        values: text by column.
    """

    label: str = ""
    source: str = ""
    values: Tree = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Aim:
    """What a row should reach, in one column: a value, or a part of the value of another row.

    Args:
        says: the aim in words.
        row: whose value it is.
        column: which.
        below: it is reached by smaller values than this number, or than those of the row of this name.
        above: the same for larger values.
        times: factor of the other row's value.
        plus: added to it after that.
        each: every seed has to reach it, against the other row's same seed; otherwise means are compared.
    """

    says: str = ""
    row: str = ""
    column: str = ""
    below: float | str | None = None
    above: float | str | None = None
    times: float = 1.0
    plus: float = 0.0
    each: bool = False


@dataclass(frozen=True)
class Row:
    """A row of ours: a recipe with its overrides, trained once for each seed. Without a plugin, real data is measured.

    Args:
        name: of the row within its figure.
        label: what the table calls it.
        plugin: whose recipe is trained; null measures real data in place of samples.
        recipe: its name; by default the plugin's own.
        samples: rows of real data that training uses in all.
        steps: batches in all, where samples is not given.
        seeds: of the runs.
        against: the label of the published row that it is to be compared with.
        budget: how the budget relates to the published one, in a few words.
        picture: what the page shows of the first seed: the newest such file in its run directory, ``samples/*.png``.
        like: a row above, whose settings this one has where it gives none of its own.
        start: a row above, with whose weights each run begins, by its seed; that row is trained first where it was not.
        long: whether it takes hours, and so is run only where it is asked for.
        overrides: layers of settings by dotted key: the figure's, those of the row that it is like, its own.
        data: the data, where it is not the figure's.
        measures: what is measured, where it is not what the figure says.
    """

    name: str = ""
    label: str = ""
    plugin: str | None = None
    recipe: str | None = None
    samples: int | None = None
    steps: int | None = None
    seeds: tuple[int, ...] = (0,)
    against: str = ""
    budget: str = ""
    picture: str = ""
    like: str = ""
    start: Row | None = None
    long: bool = False
    overrides: Sequence[Tree] = ()
    data: Tree = field(default_factory=dict[str, Any])
    measures: Tree = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Figure:
    """A table of the page, and what it is made from.

    Args:
        name: of its file.
        title: of its section.
        position: of its section on the page.
        shows: what it is to show.
        protocol: how the published figures were taken, and how ours.
        notes: further remarks for readers.
        columns: by the name of the measured value.
        aims: what our rows should reach.
        published: rows of papers.
        rows: our rows.
    """

    name: str
    title: str = ""
    position: int = 0
    shows: str = ""
    protocol: str = ""
    notes: str = ""
    columns: Mapping[str, Column] = field(default_factory=dict[str, Column])
    aims: Sequence[Aim] = ()
    published: Sequence[Published] = ()
    rows: Sequence[Row] = ()


def figure_names() -> list[str]:
    """The names of all figures, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read_figures() -> list[Figure]:
    """All figures, as they follow each other on the page.

    Raises:
        ConfigurationError: as ``read_figure``.
    """
    return sorted((read_figure(name) for name in figure_names()), key=lambda figure: figure.position)


def read_figure(name: str) -> Figure:
    """The figure of that name.

    Raises:
        ConfigurationError: there is none, or its file has an unknown key or a value of a wrong type.
    """
    names = figure_names()
    if name not in names:
        raise ConfigurationError(f"there is no figure '{name}'.{did_you_mean(name, names)}",
                                 f"there are: {', '.join(names)}")  # fmt: skip
    path = FOLDER / f"{name}.yaml"
    tree = dict(parse_yaml(path.read_text(encoding="utf-8"), path.name))
    shared = {key: _mapping(tree.pop(key, {}), f"{name}.{key}") for key in ("overrides", "data", "measures")}
    columns = _mapping(tree.pop("columns", {}), f"{name}.columns")
    published, aims = tree.pop("published", []), tree.pop("aims", [])
    rows = _mapping(tree.pop("rows", {}), f"{name}.rows")
    figure = _read(Figure, {**tree, "name": name}, name)
    return dataclasses.replace(
        figure,
        columns={key: _read(Column, value, f"{name}.columns.{key}") for key, value in columns.items()},
        aims=[_read(Aim, value, f"{name}.aims") for value in aims],
        published=[_read(Published, value, f"{name}.published") for value in published],
        rows=_rows(rows, shared, name),
    )


def _rows(trees: Tree, shared: Mapping[str, Tree], figure: str) -> list[Row]:
    """All rows, with what they do not say themselves taken from the row that they are like, and from the figure."""
    whole: dict[str, tuple[dict[str, Any], list[Tree]]] = {}  # by name: settings, and layers of overrides
    for name, given in trees.items():
        where = f"{figure}.rows.{name}"
        tree, layers = _mapping(given, where), [shared["overrides"]]
        own = _mapping(tree.pop("overrides", {}), f"{where}.overrides")
        if "like" in tree:
            if tree["like"] not in whole:
                raise ConfigurationError(f"{where}.like: there is no row '{tree['like']}' above.")
            above, layers = whole[tree["like"]]
            tree = _merged(above, tree)
        whole[name] = (tree, [*layers, own])
    rows: dict[str, Row] = {}
    for name, (tree, layers) in whole.items():
        where, start = f"{figure}.rows.{name}", tree.pop("start", None)
        if start is not None and start not in rows:
            raise ConfigurationError(f"{where}.start: there is no row '{start}' above.")
        row = _row(name, tree, layers, shared, where)
        rows[name] = dataclasses.replace(row, start=None if start is None else rows[start])
    return list(rows.values())


def _merged(above: Tree, below: Tree) -> dict[str, Any]:
    """What a row says, over what the row says that it is like. Its own budget replaces the other, in either unit."""
    budget = {"samples", "steps"}
    return {
        **{key: value for key, value in above.items() if key not in budget or not budget & below.keys()},
        **below,
    }


def _row(name: str, tree: Tree, layers: Sequence[Tree], shared: Mapping[str, Tree], where: str) -> Row:
    row = _read(Row, {**tree, "name": name}, where)
    if row.plugin is not None and (row.samples is None) == (row.steps is None):
        raise ConfigurationError(f"{where}: give either samples or steps.")
    return dataclasses.replace(
        row,
        overrides=[] if row.plugin is None else [layer for layer in layers if layer],
        data=row.data or shared["data"],
        measures=row.measures or shared["measures"],
    )


def _read(kind: type, tree: Any, where: str) -> Any:
    """A dataclass of this module from what a file says; scalars are read by their type, mappings stay as they are."""
    options = settings_options(kind)
    given: dict[str, Any] = {}
    for key, value in _mapping(tree, where).items():
        if key not in options:
            raise ConfigurationError(f"{where}: there is no '{key}'.{did_you_mean(key, options)}",
                                     f"there are: {', '.join(options)}")  # fmt: skip
        if options[key].annotation == Tree:
            given[key] = _mapping(value, f"{where}.{key}")
        else:
            given[key] = convert(options[key], value, f"{where}.{key}")
    return kind(**given)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{where}: settings by name are expected here, not '{value}'.")
    return dict(value)
