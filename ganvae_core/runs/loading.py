"""A run that was trained, loaded again: its model, and the data that fits it."""

from __future__ import annotations

import dataclasses
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
import torch
from torch import Tensor

from ganvae_core.builtin.sources.arrays import as_source
from ganvae_core.config.build import Builder, open_data
from ganvae_core.config.configuration import FRAME, IN_MEMORY, Configuration, stored, with_sampling_options
from ganvae_core.config.layers import nest, parse_yaml
from ganvae_core.config.options import Text
from ganvae_core.data.codec import in_own_units
from ganvae_core.data.randomness import seeded
from ganvae_core.data.specifications import stored_specs
from ganvae_core.data.split import Split, split
from ganvae_core.engine.devices import precision_here, select_device
from ganvae_core.engine.precision import computing
from ganvae_core.engine.state import load_objective
from ganvae_core.errors import (
    ConfigurationError,
    DataError,
    NotFittedError,
    RunError,
)
from ganvae_core.evaluation.sampling import RowLimit, Samples, can_sample, in_parts, sample_rows
from ganvae_core.latent.scores import Scoring, anomaly_scores
from ganvae_core.model import Model
from ganvae_core.plugins import Catalogue, installed_plugins
from ganvae_core.plugins.lock import refuse_missing
from ganvae_core.runs.conditions import condition_of, condition_of_columns, unconditional, warn_if_beyond
from ganvae_core.runs.fitting import batch_for
from ganvae_core.runs.resuming import resume
from ganvae_core.runs.stages import prior_waits
from ganvae_core.runs.starting import fingerprint
from ganvae_core.runs.weights import find_checkpoint
from ganvae_core.store.checkpoints import load_tensors
from ganvae_core.store.directory import CONFIG, LOCK, RunDirectory
from ganvae_core.training import Callback, Objective
from ganvae_core.types import Batch, DataSpec, Field, View
from ganvae_core.views.finding import view_of

T = TypeVar("T")


@final
@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """A run on disk, with the model that it trained.

    Args:
        directory: where it lies.
        configuration: what it was made from.
        catalogue: the plugins that it was loaded with.
        spec: of its data, as the model was given it.
        source_spec: of its data, with labels that the model was not given.
        model: the averaged model, in evaluation mode.
        step: steps that the model has been trained for.
        damage: a sentence for each newer checkpoint that was passed over because it is not whole.
    """

    directory: RunDirectory
    configuration: Configuration
    catalogue: Catalogue
    spec: DataSpec
    source_spec: DataSpec
    model: Model
    step: int
    damage: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    @property
    def results(self) -> dict[str, float]:
        """Held-out results at the newest checkpoint that was measured."""
        return self.directory.newest_results()

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """What was logged, a dictionary for each logging interval."""
        return self.directory.metrics()

    @property
    def view(self) -> View:
        """What draws the run's data and writes it to files.

        Raises:
            ConfigurationError: no plugin brings a view of such data.
            DataError: the data does not have the shape that its modality says.
        """
        return view_of(self.spec, self.catalogue)

    def sample(
        self, count: int, *, seed: int = 0, condition: Tensor | None = None, noise: bool | None = None
    ) -> np.ndarray:
        """(count, *X) samples in the data's own units and type: a table's numbers, an image's 0 to 255.

        They are those that ``ganvae sample`` writes.

        Args:
            count: the first ten of a hundred are the ten of ten.
            seed: of the random numbers.
            condition: (count, *K); by default as frequent as in the training data.
            noise: draw from the observation instead of taking its mean; by default as the observation and the view of
                the data say: draws of tables and points, means of everything else.

        Raises:
            NotFittedError: the prior is fitted at the end or trained in a further stage, which has not come yet.
        """
        made = self.samples(count, seed=seed, condition=condition, noise=noise)
        return in_own_units(made.x.numpy(), self.spec)

    def samples(
        self, count: int, *, seed: int = 0, condition: Tensor | None = None, noise: bool | None = None
    ) -> Samples:
        """The same samples as x (count, *X) within the model's range, and their conditions (count, *K) if any."""
        if not can_sample(self.model):
            raise NotFittedError(
                f"'{self.path}' cannot be sampled yet: its prior is fitted or trained after step {self.step:,}.",
                f"go on with it, or leave --checkpoint out:  ganvae run --resume {shlex.quote(str(self.path))}",
            )
        noise = self.model.shown == "draw" if noise is None else noise
        with self.computing():
            return sample_rows(self.model, count, seed, self.device, condition, noise=noise)

    def computing(self) -> AbstractContextManager[None]:
        """A context in which the run's networks compute in the run's precision, where this device has it."""
        settings = self.configuration.engine
        precision = precision_here(settings, self.device)
        return computing(self.device, precision, deterministic=settings.deterministic)

    def reconstruct(
        self, data: Split, indices: np.ndarray, *, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Chosen rows as the model takes them, and what it makes of them: two x (B, *X).

        Args:
            data: where they are.
            indices: (B,) their numbers.
            condition: (B, *K) in place of what the data has.

        Raises:
            ConfigurationError: the model has no encoder.
            DataError: as ``batch`` raises it.
        """

        def pair(batch: Batch) -> tuple[Tensor, Tensor]:
            return batch.x.cpu(), self.model.reconstruct(batch.x, batch.condition).cpu()

        originals, made = zip(*self._of_batches(pair, data, indices, condition), strict=True)
        return torch.cat(originals), torch.cat(made)

    def encode(self, data: Split, indices: np.ndarray, *, condition: Tensor | None = None) -> np.ndarray:
        """(B, *Z) codes of chosen rows: the means of the posterior.

        Args:
            data: where they are.
            indices: (B,) their numbers.
            condition: (B, *K) in place of what the data has.

        Raises:
            ConfigurationError: the model has no encoder.
            DataError: as ``batch`` raises it.
        """

        def codes(batch: Batch) -> np.ndarray:
            return self.model.encode(batch.x, batch.condition).mean.cpu().numpy()

        return np.concatenate(self._of_batches(codes, data, indices, condition))

    def scores(
        self,
        data: Split,
        indices: np.ndarray,
        *,
        method: Scoring | None = None,
        draws: int = 50,
        seed: int = 0,
        condition: Tensor | None = None,
    ) -> np.ndarray:
        """(B,) how unusual chosen rows are to the model, as ``gv.latent.anomaly_scores`` describes it.

        ``condition`` (B, *K) takes the place of what the data has.

        Raises:
            ConfigurationError: the model has no such scores.
            DataError: as ``batch`` raises it.
        """

        def scores(batch: Batch) -> np.ndarray:
            found = anomaly_scores(
                self.model, batch.x, batch.condition, mask=batch.mask, method=method, draws=draws
            )
            return found.cpu().numpy()

        with seeded(self.device, seed):
            return np.concatenate(self._of_batches(scores, data, indices, condition))

    def _of_batches(
        self, compute: Callable[[Batch], T], data: Split, indices: np.ndarray, condition: Tensor | None
    ) -> list[T]:
        """The results for chosen rows, batch by batch."""

        def part(rows: slice) -> T:
            batch = self.batch(data, indices[rows])
            return compute(
                batch if condition is None else dataclasses.replace(batch, condition=condition[rows])
            )

        with torch.no_grad(), self.computing():
            return list(in_parts(part, len(indices), RowLimit()))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def objective(self) -> Objective:
        """What was trained around the model: the critic of a GAN, the heads of its tasks, whatever the objective holds.

        It is in evaluation mode, with the weights that training left, which ``gv.Engine`` can train further. Those of
        its own ``model`` are not the average that ``self.model`` has.

        Raises:
            RunError: the checkpoint is not there any more, or not whole.
        """
        conditions, weights = self.model.conditions, self.model.condition_weights
        known = None if conditions is None or weights is None else (conditions.cpu(), weights.cpu())
        made = Builder(self.configuration, self.catalogue).objective(self.spec, known)
        checkpoint, _ = find_checkpoint(self.directory, self.step)
        load_objective(made, checkpoint.state(), str(checkpoint.folder))
        return made.eval().to(self.device)

    def open_data(self, data: Any = None, options: Mapping[str, Any] | None = None) -> Split:
        """The run's data again, or other data that its model can take.

        Other data is read with the run's options, except those that name things within one file. The run's own data is
        divided as in training. If it has changed since then, a ``UserWarning`` is given, and all of its rows are
        returned as training rows.

        Args:
            data: a source's name, a path, an array, a tensor or a dataset; None for what the run was trained on.
            options: of the source, and settings of data, in place of the run's: ``{"key": "x_test"}``.

        Raises:
            DataError: it cannot be read, or does not have the shape and columns that the model was trained on.
            RunError: the run was trained on data given from Python, and none is given now.
        """
        if data is None and self._data_from_python:
            raise RunError(
                f"'{self.path}' was trained on data given from Python, which is not stored with it.",
                "name data:  --data PATH",
            )
        if data is None and not options:
            return self._own_data()
        found = self._other_data(data, options or {})
        spec = found.source.spec
        if spec.shape != self.spec.shape or spec.columns != self.spec.columns:
            raise DataError(
                f"this data does not fit the run: it has shape {spec.shape}, and the model takes {self.spec.shape}."
                if spec.shape != self.spec.shape
                else "this table does not fit the run: its columns differ.",
                f"columns of the run: {', '.join(self.spec.columns)}" if self.spec.columns else "",
                self._fitting(spec),
            )
        return found

    @property
    def _data_from_python(self) -> bool:
        choice = self.configuration.components["data"]
        return choice.id in (IN_MEMORY, FRAME) and choice.options.get("path") is None

    def _fitting(self, spec: DataSpec) -> str:
        """A hint on images that do not fit."""
        if len(self.spec.shape) != 3 or len(spec.shape) != 3:
            return ""
        (channels, height, width), found = self.spec.shape, spec.shape
        if channels != found[0]:
            return f"the images have {found[0]} channels, and the model takes {channels}:  data.grayscale=true or false"
        size = f"{width}" if width == height else f"[{width},{height}]"
        return f"scale the images to {height} × {width} before; those of a folder:  data.resize={size}"

    def _own_data(self) -> Split:
        found = Builder(self.configuration, self.catalogue).split(trained=self.source_spec)
        if self.directory.data_record().get("fingerprint") == fingerprint(found):
            return found
        warnings.warn(
            f"the run's data has changed since training, from {self.source_spec.count:,} to {len(found.source):,} rows:"
            " which of them it learned from is not known, so none is held out",
            stacklevel=3,
        )
        return split(found.source, held_out=0.0, conditional=found.conditional)

    def _other_data(self, data: Any, options: Mapping[str, Any]) -> Split:
        """Data other than the run's, all of it, read with the run's options where the same source reads it."""
        if data is not None and not isinstance(data, str | Path):
            if self.spec.fields:
                builder = Builder(self.configuration, self.catalogue)
                found = builder.split(frame=data, trained=self.source_spec)
                return split(found.source, held_out=0.0, conditional=found.conditional)
            return split(as_source(data), held_out=0.0, conditional=bool(self.configuration.data.condition))
        choice = self.configuration.components["data"]
        before: dict[str, Any] = dict(self.configuration.as_dict()["data"])
        named = {}
        if data is not None:
            source = self.catalogue.load(self.catalogue.component("source", choice.id)[1])
            before = {
                name: value
                for name, value in before.items()
                if name not in getattr(source, "of_one_file", ())
            }
            named = {"name": Text(data)}
        layers = ({"data": before}, {"data": {**named, "held_out": 0.0}}, {"data": dict(options)})
        _, found = open_data(self.catalogue, *layers, like=self.spec, trained=self.source_spec)
        return found

    def batch(self, data: Split, indices: np.ndarray) -> Batch:
        """Chosen rows as the model takes them, with the condition if it takes one and the mask if values are missing.

        Data whose scaling was learned from its values is scaled as in training, so that a number means the same
        whichever file it is in.

        Raises:
            DataError: a value is beyond the range that the model was trained on, or a class is unknown to it.
        """
        return batch_for(data.source, indices, self.spec, self.source_spec.classes, self.device)

    def condition(self, text: str | Sequence[str], count: int, *, seed: int = 0) -> Tensor:
        """(count, *K) one condition for all samples, from a class's name or number, or from numbers.

        Where columns of a table are the condition, ``text`` is one or several of COLUMN=VALUE. The other columns are
        drawn from the training rows that have these values.

        Args:
            text: of the condition.
            count: of samples.
            seed: of what is drawn.

        Raises:
            ConfigurationError: the model takes none, or not this one.
        """
        texts = [text] if isinstance(text, str) else list(text)
        if self.spec.condition is None:
            config = None if self._data_from_python else self.directory.path / CONFIG
            raise unconditional(texts, self.source_spec, config)
        if self.spec.condition_fields:
            made = condition_of_columns(texts, count, self.spec, self.model, seed)
        elif len(texts) > 1:
            raise ConfigurationError("--condition: this model takes one condition, and several are given.")
        else:
            one = condition_of(texts[0], self.spec)
            if not self.spec.classes and self.model.conditions is not None:
                for value, known in zip(one.flatten(), self.model.conditions.cpu().flatten(1).T, strict=True):
                    warn_if_beyond(texts[0], value.item(), known.numpy(), Field("condition"))
            made = one.expand(count, *self.spec.condition)
        return made.to(self.device)

    def resume(
        self,
        *,
        steps: int | None = None,
        data: Any = None,
        overrides: Mapping[str, Any] | None = None,
        callbacks: Sequence[Callback] = (),
    ) -> Run:
        """Go on from the newest checkpoint until ``steps`` steps in all (default: the configuration's).

        Args:
            steps: in all, those done before included.
            data: needed where the run was trained on data given from Python.
            overrides: settings to change; only how far and how often: ``engine.steps``, ``engine.log_every``, …
            callbacks: further callbacks.
        """
        given = dict(overrides or {})
        if steps is not None:
            given["engine.steps"] = steps
        return load(resume(self.path, data=data, overrides=given, callbacks=callbacks))


def load(
    path: str | Path,
    *,
    checkpoint: int | str | None = None,
    device: str = "cpu",
    catalogue: Catalogue | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Run:
    """A run from its directory, with the model of its newest checkpoint that is whole.

    A newer checkpoint that is passed over because it is damaged gives a ``UserWarning``.

    Args:
        path: the run directory.
        checkpoint: a step, or ``"best"``; by default the newest.
        device: where the model is wanted.
        catalogue: the plugins to work with; by default those of the environment.
        overrides: options that may change after training, by dotted key: ``{"generator.steps": 50}``.

    Raises:
        RunError: it is no run, or has no such checkpoint that is whole.
        ConfigurationError: a plugin that it was made with is not installed.
        PluginError: a plugin that it was made with is not ready.
    """
    layer = nest(list((overrides or {}).items()))
    run = read_run(path, checkpoint=checkpoint, device=device, catalogue=catalogue, layer=layer)
    for passed_over in run.damage:
        warnings.warn(passed_over, stacklevel=2)
    return run


def read_run(
    path: str | Path,
    *,
    checkpoint: int | str | None = None,
    device: str = "cpu",
    catalogue: Catalogue | None = None,
    layer: Mapping[str, Any] | None = None,
) -> Run:
    """As ``load``, without a warning of what is in ``Run.damage``; ``layer`` holds the overrides, nested."""
    directory = RunDirectory.open(Path(path))
    spec, source_spec = stored_specs(directory)
    catalogue = catalogue or installed_plugins()
    refuse_missing(directory.path / LOCK, catalogue)
    configuration = stored(catalogue, parse_yaml(directory.read(CONFIG), str(directory.path / CONFIG)))
    if layer:
        configuration = with_sampling_options(catalogue, configuration, layer)
    chosen, damage = find_checkpoint(directory, checkpoint)
    tensors = chosen.model()
    conditions = None
    if "conditions" in tensors and "condition_weights" in tensors:
        conditions = (tensors["conditions"], tensors["condition_weights"])
    model = Builder(configuration, catalogue).model(spec, conditions)
    load_tensors(model, tensors, str(chosen.folder))
    model.prior_waits = prior_waits(configuration, chosen.stage)
    model.eval().requires_grad_(False).to(select_device(device))
    return Run(directory, configuration, catalogue, spec, source_spec, model, chosen.step, damage)
