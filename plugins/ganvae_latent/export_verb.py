"""``ganvae export``: parts of a model for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import PathName
from ganvae_core.cli.model_verbs import CHECKPOINT, RUN
from ganvae_core.cli.output import note, said_if_slow
from ganvae_core.errors import ConfigurationError, TrainingError
from ganvae_latent.giving import load_run, refuse_output

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.latent.export import ExportedPart

ENDINGS = (".onnx", ".pt2", ".safetensors")
CHECKED_ROWS = 5
"""Another number of rows than the graph was traced with."""


@click.command()
@RUN
@click.option("--part", type=click.Choice(["generator", "encoder", "reconstruct", "sample", "critic"]),
              default="generator", metavar="P",
              help="generator, encoder, reconstruct, sample (noise to rows), or critic.")  # fmt: skip
@CHECKPOINT
@click.option(
    "-o", "--output", type=PathName(), required=True, metavar="FILE", help=".onnx, .pt2 or .safetensors."
)
def export(path: Path, part: str, checkpoint: str | None, output: Path) -> None:
    """Write a part of a model for other runtimes: ONNX, torch.export, or its weights.

    Rows go in and come out in the data's own units and type, such as bytes of images: their scaling is in the graph.
    The number of rows is free. The file is read again at once, and what it gives must be within 1e-5 of torch, as a
    share of the data's scale. ONNX takes  pip install 'ganvae[onnx]'. Of a table, rows are the numbers that a model
    sees: data.json of the run says which are a column's.

    \b
    ganvae export runs/vae-digits-1 --part generator -o decoder.onnx
    ganvae export runs/vae-digits-1 --part reconstruct -o both.pt2
    """
    import torch

    from ganvae_core.latent import export as parts
    from ganvae_core.store.files import whole_path
    from ganvae_core.views.files import ending_of

    run = load_run(path, checkpoint, "cpu")
    refuse_output(run, output, "exports", None, ENDINGS)
    critic = parts.critic_of(run.objective()) if part == "critic" else None

    def made(rounds: bool) -> ExportedPart:
        chosen: Any = part
        return parts.ExportedPart(run.model, run.spec, chosen, critic, rounds=rounds).eval()

    module = made(True)
    ending = ending_of(output)
    with said_if_slow("exporting"), whole_path(output) as draft:
        if ending == ".safetensors":
            from safetensors.torch import save_file

            tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
            save_file(
                tensors, draft, {"part": part, "plugin": run.configuration.plugin, "step": str(run.step)}
            )
            said = f"{len(tensors)} tensors"
        else:
            if ending == ".pt2":
                torch.export.save(parts.as_program(module), draft)
            else:
                _check_onnx()
                parts.as_onnx(module).save(str(draft))
            inputs = module.example(CHECKED_ROWS, torch.Generator().manual_seed(1))
            with torch.no_grad():
                exact = made(False)(*inputs)
            given = _run_torch(draft, inputs) if ending == ".pt2" else parts.run_onnx(str(draft), inputs)
            units = module.units if module.gives_rows else parts.Units()
            apart = parts.difference(given, exact, units)
            if not apart <= parts.TOLERANCE:
                raise TrainingError(
                    f"the exported {part} differs from torch by {apart:.2g}, so it was not written."
                )
            said = f"within {apart:.1g} of torch"
        size = draft.stat().st_size
    note(f"{part} of {path} at step {run.step:,}: {size / 2**20:.2f} MiB, {said}")
    click.echo(str(output))


def _check_onnx() -> None:
    """Refuse ONNX where its packages are missing.

    Raises:
        ConfigurationError: one of them is.
    """
    import importlib.util

    missing = [
        name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ConfigurationError(
            f"ONNX files need {', '.join(missing)}, which is not installed.", "pip install 'ganvae[onnx]'"
        )


def _run_torch(file: Path, inputs: tuple[Tensor, ...]) -> Tensor:
    import torch

    with torch.no_grad():
        return torch.export.load(file).module()(*inputs)
