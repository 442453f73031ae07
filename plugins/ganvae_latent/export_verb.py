"""``ganvae export``: parts of a model for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ganvae_core.cli.frame import PathName
from ganvae_core.cli.output import counted, note, said_if_slow
from ganvae_core.cli.request import CHECKPOINT, RUN, load, open_data, refuse_output
from ganvae_core.errors import ConfigurationError, TrainingError

if TYPE_CHECKING:
    from torch import Tensor

    from ganvae_core.latent.export import ExportedPart
    from ganvae_core.runs.loading import Run

ENDINGS = (".onnx", ".pt2", ".safetensors")
QUANTISED_ROWS = 256
"""By which the error of a quantised graph is measured."""
CHECKED_ROWS = 5
"""Another number of rows than the graph was traced with."""


@click.command()
@RUN
@click.option("--part", type=click.Choice(["generator", "encoder", "reconstruct", "sample", "critic"]),
              default="generator", metavar="P",
              help="generator, encoder, reconstruct, sample (noise to rows), or critic.")  # fmt: skip
@click.option("--quantise", type=click.Choice(["int8", "fp16"]), metavar="Q",
              help="Make an .onnx file smaller: int8 or fp16; the error is measured and printed.")  # fmt: skip
@CHECKPOINT
@click.option(
    "-o", "--output", type=PathName(), required=True, metavar="FILE", help=".onnx, .pt2 or .safetensors."
)
def export(path: Path, part: str, quantise: Any, checkpoint: str | None, output: Path) -> None:
    """Write a part of a model for other runtimes: ONNX, torch.export, or its weights.

    Rows go in and come out in the data's own units and type, such as bytes of images: their scaling is in the graph.
    The number of rows is free. The file is read again at once, and what it gives must be within 1e-5 of torch, as a
    share of the data's scale. ONNX takes  pip install 'ganvae[onnx]'. Of a table, rows are the numbers that a model
    sees: data.json of the run says which are a column's.

    A quantised graph is compared with torch on held-out rows, or on codes of the prior: its error is printed.

    \b
    ganvae export runs/vae-digits-1 --part generator -o decoder.onnx
    ganvae export runs/vae-digits-1 --part generator --quantise int8 -o small.onnx
    ganvae export runs/vae-digits-1 --part reconstruct -o both.pt2
    """
    import torch

    from ganvae_core.latent import export as parts
    from ganvae_core.store.files import whole_path
    from ganvae_core.views.files import ending_of

    run, _ = load(path, checkpoint, "cpu")
    refuse_output(run, output, "exports", ENDINGS)
    critic = parts.critic_of(run.objective()) if part == "critic" else None

    def made(rounds: bool) -> ExportedPart:
        chosen: Any = part
        return parts.ExportedPart(run.model, run.spec, chosen, critic, rounds=rounds).eval()

    module = made(True)
    ending = ending_of(output)
    if quantise is not None and ending != ".onnx":
        raise ConfigurationError(f"--quantise: {output} is not an .onnx file.")
    graph: Any = None
    with said_if_slow("exporting"), whole_path(output) as draft:
        if ending == ".safetensors":
            from safetensors.torch import save_file

            tensors = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
            save_file(
                tensors, draft, {"part": part, "plugin": run.configuration.plugin, "step": str(run.step)}
            )
            said = counted(len(tensors), "tensor")
        else:
            if ending == ".pt2":
                torch.export.save(parts.as_program(module), draft)
            else:
                _check_onnx()
                graph = parts.as_onnx(module)
                graph.save(str(draft))
            inputs = module.example(CHECKED_ROWS, torch.Generator().manual_seed(1))
            with torch.no_grad():
                exact = made(False)(*inputs)
            parts.refuse_nan(module, exact)
            given = _run_torch(draft, inputs) if ending == ".pt2" else parts.run_onnx(str(draft), inputs)
            units = module.units if module.gives_rows else parts.Units()
            apart = parts.difference(given, exact, units)
            if not apart <= parts.TOLERANCE:
                raise TrainingError(
                    f"the exported {part} differs from torch by {apart:.2g}, so it was not written."
                )
            said = f"within {apart:.1g} of torch"
            if quantise is not None:
                said = _quantise(run, module, made(False), graph.model_proto, quantise, draft)
        size = draft.stat().st_size
    note(f"{part} of {path} at step {run.step:,}: {size / 2**20:.2f} MiB, {said}")
    click.echo(str(output))


def _quantise(
    run: Run, module: ExportedPart, not_rounded: ExportedPart, graph: Any, how: Any, draft: Path
) -> str:
    """Put a smaller graph in the place of one that was written, and say how far what it gives is from torch."""
    import torch

    from ganvae_core.latent import export as parts
    from ganvae_core.latent.quantisation import described, quantised

    before = draft.stat().st_size
    small = quantised(graph, how)
    draft.write_bytes(small.SerializeToString())
    inputs = _usual_inputs(run, module)
    with torch.no_grad():
        exact = not_rounded(*inputs)
    given = parts.run_onnx(str(draft), inputs)
    units = module.units if module.gives_rows else parts.Units()
    apart = parts.in_scales(given.double() - exact.double(), units)
    unit = "as a share of the data's scale" if module.gives_rows else "in its own units"
    return (
        f"instead of {before / 2**20:.2f}; {described(small, how)}; off from torch by"
        f" {apart.square().mean().sqrt().item():.2g} (root mean square of {len(exact):,} rows, largest"
        f" {apart.abs().max().item():.2g}), {unit}"
    )


def _usual_inputs(run: Run, module: ExportedPart) -> tuple[Tensor, ...]:
    """What a part is given in use: held-out rows in own units, or what the prior draws."""
    import numpy as np
    import torch

    from ganvae_core.evaluation.sampling import evenly, sample_codes
    from ganvae_core.latent.export import FromModel

    if module.takes_rows:
        split = open_data(run)
        chosen = evenly(split.held_out if len(split.held_out) else split.training, QUANTISED_ROWS)
        batch = run.batch(split, np.asarray(chosen))
        first, condition = FromModel(module.units)(batch.x), batch.condition
    else:
        first, condition = sample_codes(run.model, QUANTISED_ROWS, 0, run.device)
        if module.part == "sample":
            first = torch.randn(first.shape, generator=torch.Generator().manual_seed(0))
    return (first,) if condition is None else (first, condition)


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
