"""``ganvae explore``: the latent space in a browser."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import click

from ganvae_core.cli.frame import PathName, WholeNumber
from ganvae_core.cli.output import note, said_if_slow, warnings_as_notes
from ganvae_core.cli.request import CHECKPOINT, DATA, DEVICE, load
from ganvae_core.errors import ConfigurationError

MOST_RUNS = 2
EXTRA = "pip install 'ganvae[explore]'"


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="RUN [RUN]", type=PathName())
@DATA
@click.option("-n", "--count", type=WholeNumber(min=3), default=1200, metavar="N", help="Rows on the map.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N",
              help="Of the server; by default a free one.")  # fmt: skip
@CHECKPOINT
@DEVICE
@click.option("-o", "--output", type=PathName(), metavar="FILE.html", help="Write one file; start no server.")
def explore(
    paths: tuple[Path, ...],
    data: str | None,
    count: int,
    port: int | None,
    checkpoint: str | None,
    device: str,
    output: Path | None,
) -> None:
    """Show the latent space of one run, or of two side by side, in a browser.

    With -o it is one file that works without a network: it can be opened and mailed. Without it a server on this
    machine shows the same page until Ctrl-C, also for models that cannot be exported, and finds codes of pictures for
    models without an encoder. It takes  pip install 'ganvae[explore]'.

    \b
    ganvae explore runs/vae-digits-1 -o digits.html
    ganvae explore runs/vae-digits-1 runs/plane
    """
    if len(paths) > MOST_RUNS:
        raise ConfigurationError(f"a page shows one run or two, and {len(paths)} are given.")
    if output is not None and port is not None:
        raise ConfigurationError(
            "--port is of the server, and -o writes a file without one.", "leave one out"
        )
    needed = ("onnx", "onnxscript") if output is not None else ("starlette", "uvicorn")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"explore needs {', '.join(missing)}, which is not installed.", EXTRA)
    from ganvae_core.views.files import check_output
    from ganvae_explore.content import content_of
    from ganvae_explore.page import page_file, page_of_server

    if output is not None:
        check_output(output, "pages", (".html",))
    runs = [load(each, checkpoint, "cpu" if output else device)[0] for each in paths]
    with said_if_slow("encoding and ranking"), warnings_as_notes():
        contents = [content_of(run, data, count) for run in runs]
    if len(runs) > 1:
        first, other = contents
        if first["size"] != other["size"]:
            raise ConfigurationError(
                "two runs are shown with the same code, and theirs have"
                f" {first['size']} and {other['size']} values.",
                "explore them one by one",
            )
        if other["condition"] and any(first[key] != other[key] for key in ("condition", "conditionClasses")):
            raise ConfigurationError(
                f"two runs are shown with the same condition, and that of {paths[1]} is another.",
                "explore them one by one",
            )
    if output is None:
        from ganvae_explore.server import serve

        serve(runs, page_of_server(contents), port or 0, lambda address: click.echo(address))
        return
    from ganvae_core.store.files import whole_file

    with said_if_slow("exporting"):
        page = page_file(runs, contents)
    with whole_file(output) as file:
        file.write(page.encode("ascii"))
    note(f"{len(page) / 1e6:.1f} MB, one file, works without a network: open it, or mail it")
    click.echo(str(output))
