"""``ganvae map``: the codes of data in the plane."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import WholeNumber
from ganvae_core.cli.output import counted, note, said_if_slow
from ganvae_core.cli.request import need_encoder, open_data
from ganvae_latent.giving import Request, requested

if TYPE_CHECKING:
    import numpy as np

    from ganvae_core.runs.loading import Run

THUMBNAIL_INCHES = 0.28
MOST_COLOURS = 20


@click.command("map")
@click.option(
    "-n", "--count", type=WholeNumber(min=3), default=2000, metavar="N", help="Rows, evenly spread."
)
@click.option("--by", type=click.Choice(["pca", "tsne", "umap"]), default="pca", metavar="P",
              help="How codes come into the plane: pca, tsne, or umap (where umap-learn is installed).")  # fmt: skip
@click.option("--thumbnails", type=WholeNumber(min=0), default=0, metavar="N", help="Pictures on the map.")
@click.option("--grid", type=WholeNumber(min=2), metavar="N",
              help="Draw N × N codes of a latent space of two dimensions, decoded, in place of the map.")  # fmt: skip
@requested()
def draw_map(
    request: Request,
    count: int,
    by: Any,
    thumbnails: int,
    grid: int | None,
) -> None:
    """Draw the codes of data in the plane, coloured by label.

    Codes of two dimensions are drawn as they are; others are projected. A .parquet has x, y, the number of the row, its
    label and the PNG of an image, for other viewers.

    \b
    ganvae map runs/vae-digits-1 -o map.png --thumbnails 60
    ganvae map runs/vae-digits-1 --by tsne -o map.parquet
    """
    import numpy as np

    from ganvae_core import latent
    from ganvae_core.evaluation.sampling import evenly
    from ganvae_core.store.files import whole_path
    from ganvae_core.views.files import ending_of
    from ganvae_core.views.showing import shown_rows
    from ganvae_latent.showing import need_images, write

    run = request.run
    need_encoder(run)
    usual = f"maps/{f'grid-{grid}' if grid else by}.png"
    output = request.output_for("maps", usual, (".png",) if grid else (".png", ".parquet"))
    if thumbnails or grid:
        need_images(run, "grids" if grid else "thumbnails")
    split = open_data(run, request.data)
    indices = evenly(np.arange(len(split.source)), count)
    with said_if_slow("encoding"):
        codes = run.encode(split, indices)
    if grid:
        flat = codes.reshape(len(codes), -1)
        low, high = np.quantile(flat, [0.01, 0.99], axis=0)
        one = request.condition(1)
        made = latent.decoded_plane(
            run.model,
            tuple(low[:2]),
            tuple(high[:2]) if len(high) > 1 else (0.0, 0.0),
            grid,
            None if one is None else one[0],
        )
        write(run, made, output, columns=grid)
        note(f"{grid} × {grid} codes from {low[0]:.2f} to {high[0]:.2f} and {low[1]:.2f} to {high[1]:.2f}")
        click.echo(str(output))
        return
    with said_if_slow(f"projecting {len(codes):,} codes"):
        places = latent.project(codes, by, seed=request.seed)
    classes = split.source.spec.classes
    numbers = None if not classes else np.asarray(split.source.labels(indices))
    if ending_of(output) == ".parquet":
        images = (
            shown_rows(run.batch(split, indices).x, run.spec, run.view)
            if run.spec.modality == "image"
            else None
        )
        with whole_path(output) as draft:
            _write_parquet(draft, places, indices, numbers, classes, images, run)
    else:
        chosen = evenly(np.arange(len(indices)), thumbnails) if thumbnails else indices[:0]
        images = shown_rows(run.batch(split, indices[chosen]).x, run.spec, run.view) if thumbnails else None
        axis_names = (
            ("first dimension", "second dimension")
            if codes[0].size == 2 and by == "pca"
            else (f"{by} 1", f"{by} 2")
        )
        with whole_path(output) as draft:
            _draw(draft, places, numbers, classes, axis_names, images, chosen, run)
    request.written(output, counted(len(places), "code"), f", in the plane by {by}")


def _draw(
    path: Path,
    places: np.ndarray,
    labels: np.ndarray | None,
    classes: tuple[str, ...] | None,
    axis_names: tuple[str, str],
    images: np.ndarray | None,
    chosen: np.ndarray,
    run: Run,
) -> None:
    from matplotlib import colormaps
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    from ganvae_core.views.figures import BESIDE_LINES, new_figure, save_figure
    from ganvae_core.views.image import as_pixels, unit_range

    figure = new_figure(7.0, 6.0)
    axes: Any = figure.subplots()
    size = max(2.0, min(14.0, 20_000 / len(places)))
    if labels is None or not classes or len(classes) > MOST_COLOURS:
        axes.scatter(places[:, 0], places[:, 1], s=size, linewidths=0, alpha=0.7)
    else:
        colours = colormaps["tab10" if len(classes) <= 10 else "tab20"]
        for number, name in enumerate(classes):
            of_class = places[labels == number]
            axes.scatter(
                of_class[:, 0],
                of_class[:, 1],
                s=size,
                linewidths=0,
                alpha=0.8,
                color=colours(number),
                label=name,
            )
        axes.legend(markerscale=(36 / size) ** 0.5, **BESIDE_LINES)
    if images is not None:
        for place, image in zip(places[chosen], unit_range(images, run.spec), strict=True):
            pixels = as_pixels(image)
            shown: Any = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
            zoom = THUMBNAIL_INCHES * 72 / max(shown.shape[:2])
            picture = OffsetImage(shown, zoom=zoom, cmap="gray", interpolation="nearest")
            axes.add_artist(AnnotationBbox(picture, tuple(place), frameon=True, pad=0.1))
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def _write_parquet(
    path: Path,
    places: np.ndarray,
    indices: np.ndarray,
    labels: np.ndarray | None,
    classes: tuple[str, ...] | None,
    images: np.ndarray | None,
    run: Run,
) -> None:
    import pyarrow as pa

    from ganvae_core.views.image import as_image, as_pixels, unit_range
    from ganvae_core.views.table import write_arrow

    columns: dict[str, Any] = {"x": places[:, 0], "y": places[:, 1], "row": indices}
    if labels is not None and classes:
        columns["label"] = [classes[number] for number in labels]
    if images is not None:
        files: list[bytes] = []
        for image in unit_range(images, run.spec):
            stream = io.BytesIO()
            as_image(as_pixels(image)).save(stream, format="PNG")
            files.append(stream.getvalue())
        columns["image"] = pa.array(files, pa.binary())
    write_arrow(pa.table(columns), path)
