"""``ganvae edit``: move codes along directions, and add and subtract codes."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ganvae_core.cli.frame import PathName, WholeNumber
from ganvae_core.cli.output import counted, note
from ganvae_core.cli.request import need_encoder, open_data
from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_latent.giving import RESIZE, ROWS, Given, Request, requested

if TYPE_CHECKING:
    from torch import Tensor

MEAN_ROWS = 5_000
IMAGES = click.option("--image", "--file", "files", multiple=True, type=PathName(), metavar="FILE",
                      help="Edit these: pictures, texts, sounds, or any data.")  # fmt: skip


@click.command()
@click.option("--direction", "moves", multiple=True, metavar="NAME=AMOUNT",
              help="A stored direction, and how far: in standard deviations of codes.")  # fmt: skip
@click.option("--arithmetic", metavar="'A - B + C'", help="Files, or labels for the mean code of their rows.")
@click.option("--code", "code_text", metavar="Z,…|FILE",
              help="A code: its numbers, or a .json or .safetensors of ganvae explore.")  # fmt: skip
@click.option("-n", "--count", type=WholeNumber(min=1), default=8, metavar="N", help="Samples to edit.")
@requested(IMAGES, ROWS, RESIZE)
def edit(
    request: Request,
    moves: tuple[str, ...],
    arithmetic: str | None,
    code_text: str | None,
    count: int,
) -> None:
    """Edit samples, rows or pictures along directions that were stored, or by arithmetic on codes.

    A picture has the originals in its first line, what the model makes of them unedited in the second where they are
    rows or files, and the edited ones in the last. With --arithmetic it has the terms, and then the result. With --code
    and no direction it has the decoded code.

    \b
    ganvae edit runs/vae-digits-1 --direction three=2.5
    ganvae edit runs/vae-digits-1 --rows 4,9 --direction three=2 --direction pca-1=-1
    ganvae edit runs/vae-digits-1 --arithmetic '8 - 3 + 1'
    """
    import numpy as np
    import torch

    from ganvae_core import latent
    from ganvae_core.runs.directions import load_direction
    from ganvae_latent.showing import output_for, write

    run = request.run
    output = output_for(request, "edits")
    if code_text is not None and (request.names_rows or arithmetic is not None):
        raise ConfigurationError("--code is a code of its own: leave out --image, --rows and --arithmetic.")
    if code_text is not None and not moves:
        given = request.code(code_text)
        with torch.no_grad(), run.computing():
            write(run, run.model(given.z, given.condition), output, condition=given.condition)
        request.written(output, "a code decoded")
        return
    if bool(moves) == (arithmetic is not None):
        raise ConfigurationError("give either --direction NAME=AMOUNT or --arithmetic 'A - B + C'.")
    if arithmetic is not None:
        terms, codes, given_condition = _terms(request, arithmetic)
        signs = torch.tensor([sign for sign, _ in terms], device=codes.device, dtype=codes.dtype)
        result = torch.einsum("n,n...->...", signs, codes)[None]
        with torch.no_grad():
            made = run.model(torch.cat([codes, result]), given_condition)
        headings = [f"{'+' if sign > 0 else '-'} {name}" for sign, name in terms]
        headings[0] = headings[0].removeprefix("+ ")
        headings += ["="]
        what = np.array(headings)
        write(run, made, output, headings=headings, condition=given_condition, further={"term": what})
        request.written(output, arithmetic)
        return
    chosen = [(load_direction(run, name), amount) for name, amount in map(_move, moves)]
    if code_text is not None:
        given = request.code(code_text)
    else:
        given = request.codes(request.chosen()) if request.names_rows else request.samples(count)
    z = given.z
    for direction, amount in chosen:
        if direction.step != run.step:
            note(
                f"note: '{direction.name}' was found at step {direction.step:,}, and this is step {run.step:,}"
            )
        z = latent.moved(z, direction.vector, amount * direction.spread)
    with torch.no_grad():
        before, after = run.model(given.z, given.condition), run.model(z, given.condition)
    parts = [before, after] if given.x is None else [given.x, before, after]
    what = ["row", "unedited", "edited"] if len(parts) == 3 else ["sample", "edited"]
    of_parts = None if given.condition is None else torch.cat([given.condition] * len(parts))
    write(run, torch.cat(parts), output, columns=len(z), condition=of_parts,
          further={"version": np.repeat(what, len(z))})  # fmt: skip
    said = ", ".join(f"{direction.name} {amount:+g}" for direction, amount in chosen)
    request.written(output, f"{counted(len(z), 'edit')} ({said})")


def _move(text: str) -> tuple[str, float]:
    """``smile=2.5`` as a name and a number."""
    name, sign, amount = text.partition("=")
    try:
        number = float(amount)
    except ValueError:
        number = float("nan")
    if not sign or not abs(number) < float("inf"):
        raise ConfigurationError(f"--direction: '{text}' is not NAME=AMOUNT.", "like  --direction smile=2.5")
    return name, number


def _terms(request: Request, text: str) -> tuple[list[tuple[float, str]], Tensor, Tensor | None]:
    """The signed names of a sum, the code of each (N, *Z), and conditions for all of them and the result."""
    import numpy as np
    import torch

    from ganvae_core.evaluation.sampling import evenly

    words = re.split(r"(?:^|\s+)([+-])\s+", f"+ {text.strip()}")[1:]
    terms = [
        (1.0 if sign == "+" else -1.0, name.strip())
        for sign, name in zip(words[::2], words[1::2], strict=True)
    ]
    if len(terms) < 2 or not all(name for _, name in terms):
        raise ConfigurationError(f"--arithmetic: '{text}' is not a sum.", "like  --arithmetic '8 - 3 + 1'")
    run = request.run
    classes = run.source_spec.classes or ()
    split = labels = None
    codes: list[Given] = []
    for _, name in terms:
        if name in classes:
            need_encoder(run)
            if split is None:
                split = open_data(run, request.data)
                labels = np.asarray(split.source.labels())
            rows = evenly(np.flatnonzero(labels == (split.source.spec.classes or ()).index(name)), MEAN_ROWS)
            mean = torch.as_tensor(run.encode(split, rows), device=run.device).mean(0, keepdim=True)
            of_mean = request.asked or (() if run.spec.condition is None else (name,))
            codes.append(Given(mean, dataclasses.replace(request, asked=of_mean).condition(1)))
        elif Path(name).exists():
            of_file = dataclasses.replace(request, files=(Path(name),), data=None, rows=None)
            codes.append(of_file.codes(of_file.chosen()).some(slice(1)))
        else:
            raise ConfigurationError(
                f"--arithmetic: '{name}' is neither a label nor a file.{did_you_mean(name, classes)}",
                f"labels: {', '.join(classes[:20])}" if classes else "",
            )
    z = torch.cat([one.z for one in codes])
    if codes[0].condition is None:
        return terms, z, None
    conditions = [one.condition for one in codes if one.condition is not None]
    return terms, z, torch.cat([*conditions, conditions[0]])
