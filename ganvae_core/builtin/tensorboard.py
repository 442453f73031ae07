"""A run's curves and pictures for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, final

import torch

from ganvae_core.builtin.option_checks import in_range
from ganvae_core.data.codec import in_own_units
from ganvae_core.errors import ConfigurationError
from ganvae_core.evaluation.sampling import can_sample, sample_rows
from ganvae_core.training import Callback, TrainingView
from ganvae_core.views.image import unit_range

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


NOT_CURVES = {"step", "samples_seen"}


@final
class TensorBoard(Callback):
    """Writes losses, held-out results and samples to ``tensorboard/`` in the run directory.

    ``tensorboard --logdir runs`` shows them. Steps repeated after an interruption replace those written before.
    It needs the extra: ``pip install 'ganvae[tensorboard]'``.

    Args:
        images: samples shown at each sampling interval, of image data; 0 writes none.

    Raises:
        ConfigurationError: TensorBoard is not installed.
    """

    def __init__(self, *, images: int = 16) -> None:
        in_range("tensorboard: ", images=images)
        if find_spec("tensorboard") is None:
            raise ConfigurationError(
                "the callback 'tensorboard' needs TensorBoard, which is not installed.",
                "pip install 'ganvae[tensorboard]'",
            )
        self.images = images
        self._writer: SummaryWriter | None = None

    def on_start(self, training: TrainingView) -> None:
        """Open the file; a run without a directory gets none."""
        if training.directory is not None:
            from torch.utils.tensorboard import SummaryWriter

            # What an interrupted run logged after its last checkpoint is about to be logged again.
            folder = str(training.directory / "tensorboard")
            self._writer = SummaryWriter(folder, purge_step=training.step + 1)

    def on_step(self, training: TrainingView, record: Mapping[str, Any]) -> None:
        """One point of each curve."""
        self._write(training, {name: value for name, value in record.items() if name not in NOT_CURVES})

    def on_results(self, training: TrainingView, results: Mapping[str, float]) -> None:
        """Held-out results."""
        self._write(training, {f"held_out/{name}": value for name, value in results.items()})

    @torch.no_grad()
    def on_samples(self, training: TrainingView) -> None:
        """Samples of the averaged model, from the same codes each time."""
        spec = training.data.spec
        if (
            self._writer is None
            or not self.images
            or spec.modality != "image"
            or not can_sample(training.model)
        ):
            return
        made = sample_rows(training.model, self.images, training.settings.seed, training.device).x
        images = unit_range(in_own_units(made.numpy(), spec), spec)
        self._writer.add_images("samples", images.clip(0, 1), training.step)

    def on_end(self, training: TrainingView) -> None:
        """Close the file."""
        self._close()

    def on_error(self, training: TrainingView, error: BaseException) -> None:
        """Close the file."""
        self._close()

    def _write(self, training: TrainingView, values: Mapping[str, Any]) -> None:
        if self._writer is None:
            return
        for name, value in values.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(name, value, training.step)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
