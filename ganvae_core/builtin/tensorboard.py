"""A run's curves and pictures for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, final

import torch

from ganvae_core.errors import ConfigurationError
from ganvae_core.evaluation.measuring import sample_rows
from ganvae_core.interfaces import Callback
from ganvae_core.runs.observers import can_sample, visible

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from ganvae_core.engine.loop import Engine

NOT_CURVES = {"step", "samples_seen", "returned_to"}


@final
class TensorBoard(Callback):
    """Writes losses, held-out results and samples to ``tensorboard/`` in the run directory.

    ``tensorboard --logdir runs`` shows them. What is done again, resumed or gone back, replaces what was written.
    It needs the extra: ``pip install 'ganvae[tensorboard]'``.

    Args:
        images: samples shown at each sampling interval, of image data; 0 writes none.

    Raises:
        ConfigurationError: TensorBoard is not installed.
    """

    def __init__(self, *, images: int = 16) -> None:
        if images < 0:
            raise ConfigurationError(
                f"tensorboard: images={images} is not possible: it must not be negative."
            )
        if find_spec("tensorboard") is None:
            raise ConfigurationError(
                "the callback 'tensorboard' needs TensorBoard, which is not installed.",
                "pip install 'ganvae[tensorboard]'",
            )
        self.images = images
        self._writer: SummaryWriter | None = None
        self._rollbacks = 0

    def on_start(self, engine: Engine) -> None:
        """Open the file; a run without a directory gets none."""
        # What an interrupted run logged after its last checkpoint is about to be logged again.
        self._open(engine, engine.step_index)

    def on_step(self, engine: Engine, record: Mapping[str, Any]) -> None:
        """One point of each curve, after those were dropped that training has undone."""
        self._go_back(engine, record)
        self._write(engine, {name: value for name, value in record.items() if name not in NOT_CURVES})

    def on_results(self, engine: Engine, results: Mapping[str, float]) -> None:
        """Held-out results."""
        self._write(engine, {f"held_out/{name}": value for name, value in results.items()})

    @torch.no_grad()
    def on_samples(self, engine: Engine) -> None:
        """Samples of the averaged model, from the same codes each time."""
        self._go_back(engine, engine.pending)  # the record of this stretch may be still to come
        spec = engine.data.spec
        if (
            self._writer is None
            or not self.images
            or spec.modality != "image"
            or not can_sample(engine.model)
        ):
            return
        made = sample_rows(engine.model, self.images, engine.settings.seed, engine.device)
        self._writer.add_images("samples", visible(made, spec).clip(0, 1), engine.step_index)

    def on_end(self, engine: Engine) -> None:
        """Close the file."""
        self._close()

    def on_error(self, engine: Engine, error: BaseException) -> None:
        """Close the file."""
        self._close()

    def _open(self, engine: Engine, until: int) -> None:
        """Begin a file, for whose readers nothing was written after a step; a run without a directory gets none."""
        self._close()
        self._rollbacks = engine.recovery.rollbacks
        if engine.directory is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(engine.directory / "tensorboard"), purge_step=until + 1)

    def _go_back(self, engine: Engine, told: Mapping[str, Any]) -> None:
        """Follow training that has gone back, once each time."""
        if "returned_to" in told and self._rollbacks != engine.recovery.rollbacks:
            self._open(engine, told["returned_to"])

    def _write(self, engine: Engine, values: Mapping[str, Any]) -> None:
        if self._writer is None:
            return
        for name, value in values.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, engine.step_index)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
