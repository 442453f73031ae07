"""Where the verbs write what they have made: pictures, films and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganvae_core.cli.request import usual_ending
from ganvae_core.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.runs.loading import Run
    from ganvae_latent.giving import Request

FILMS = (".gif", ".webp")
FRAME_MILLISECONDS = 80


def endings(run: Run, *, films: bool = False) -> tuple[str, ...]:
    """Of the files that rows of a run can be written to. A picture of a table has shares of many rows, and no lines."""
    from ganvae_core.views.files import ARRAYS

    film = FILMS if films and run.spec.modality == "image" else ()
    drawn = run.view.as_grid or usual_ending(run.view) != ".csv"
    return (*(ending for ending in run.view.endings if drawn or ending != ".png"), *film, *ARRAYS)


def output_for(request: Request, what: str, name: str | None = None, *, films: bool = False) -> Path:
    """Where rows are written: as is asked, or WHAT/NAME in the run with the usual ending of its data.

    Raises:
        ConfigurationError: it cannot be written, or is data that is read.
    """
    usual = f"{what}/{name or f'seed-{request.seed}'}{usual_ending(request.run.view)}"
    return request.output_for(what, usual, endings(request.run, films=films))


def write(
    run: Run,
    x: Tensor,
    output: Path,
    *,
    columns: int = 0,
    headings: Sequence[str] = (),
    condition: Tensor | None = None,
    further: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write rows (N, *X) of a model, and their conditions (N, *K), as the output's ending says."""
    from ganvae_core.cli.model_verbs import conditions_of
    from ganvae_core.types import Drawing
    from ganvae_core.views.files import ending_of
    from ganvae_core.views.showing import show, shown_rows

    name = run.view.noun if ending_of(output) == ".png" else "samples"
    drawing = Drawing(shown_rows(x, run.spec, run.view), name, columns=columns, headings=headings)
    show(run.view, drawing, run.spec, output, {**(further or {}), **conditions_of(run, condition, output)})


def write_film(run: Run, frames: Tensor, output: Path) -> None:
    """Write images (frames, N, *X) as an animation of grids, there and back.

    Args:
        run: whose images they are.
        frames: the grids in order.
        output: a .gif or .webp file.
    """
    from ganvae_core.store.files import whole_path
    from ganvae_core.views.image import columns_for, image_grid, unit_range
    from ganvae_core.views.showing import shown_rows

    columns = columns_for(frames.shape[1])
    grids = [
        image_grid(unit_range(shown_rows(frame, run.spec, run.view), run.spec), columns) for frame in frames
    ]
    film: list[Any] = [*grids, *grids[-2:0:-1]]
    kind = output.suffix.lower().removeprefix(".")
    with whole_path(output) as draft:
        film[0].save(
            draft, format=kind.upper(), save_all=True, append_images=film[1:],
            duration=FRAME_MILLISECONDS, loop=0,
        )  # fmt: skip


def need_images(run: Run, what: str) -> None:
    """Refuse data that is no images.

    Raises:
        ConfigurationError: it is none.
    """
    if run.spec.modality != "image":
        raise ConfigurationError(
            f"{what} are of images, and this run's data is of modality '{run.spec.modality}'."
        )
