"""Measures by name: each takes what was trained, or real data, and gives named values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import measures
import numpy as np
import torch
from classifiers import JudgeName, Judges
from datasets import Part, in_memory, mnist, resized, test_source
from figure import Row
from ganvae_metrics.distances import frechet_distance, kernel_distance, mode_coverage
from ganvae_metrics.nets import features, net_of
from ganvae_metrics.reconstructions import Fidelity
from ganvae_metrics.representations import factor_vae_score, mutual_information_gap
from torch import Tensor
from training import Trained

import ganvae_core as gv
from ganvae_core.builtin.metrics import Distance, neighbour_accuracy
from ganvae_core.builtin.quantised import QuantisedEncoder
from ganvae_core.config.build import Builder
from ganvae_core.config.options import component_options, convert
from ganvae_core.data.randomness import borrowed_randomness
from ganvae_core.errors import did_you_mean
from ganvae_core.evaluation.sampling import evenly
from ganvae_core.evaluation.subject import ModelSubject

CHUNK = 500
DRAWN = 0
"""The seed by which real rows are drawn; the first are what samples are compared with, the last stand for samples."""
Net = Literal["judge", "efficientnet-lite0"]
Codes = Literal["encoder", "critic", "pixels"]


class Subject(Protocol):
    """What can be measured."""

    def sample(self, count: int, condition: Tensor | None = None) -> np.ndarray:
        """(count, *X) in the data's own units."""
        ...


@dataclass(frozen=True)
class Samples:
    """A trained model, whose samples follow from the seed of its run."""

    trained: Trained

    def sample(self, count: int, condition: Tensor | None = None) -> np.ndarray:
        run = self.trained.run
        return run.sample(count, seed=run.configuration.engine.seed, condition=condition)


@dataclass(frozen=True)
class RealRows:
    """Real data in place of samples: what a perfect generator would reach."""

    source: gv.Source

    def sample(self, count: int, condition: Tensor | None = None) -> np.ndarray:
        order = np.random.default_rng(DRAWN).permutation(len(self.source))
        return self.source.rows(np.sort(order[-count:])).x


def modes(
    subject: Subject, judges: Judges, *, centres: Literal["ring", "grid"], samples: int = 2_500
) -> dict[str, float]:
    """Modes of PacGAN's ring or grid, and the share of samples near one."""
    modes = measures.MODES[centres]
    points, known = torch.from_numpy(subject.sample(samples)), torch.from_numpy(modes.centres)
    return mode_coverage(points, known, modes.deviation)


def combinations(
    subject: Subject, judges: Judges, *, judge: JudgeName, samples: int = 26_000
) -> dict[str, float]:
    """Modes of stacked digits: each channel's class, by a judge."""
    images = subject.sample(samples)  # (N, 3, H, W)
    predict = judges.get(judge).predict
    digits = np.stack([predict(images[:, [channel]]) for channel in range(images.shape[1])], axis=1)
    return measures.combination_coverage(digits)


def conditions(
    subject: Subject, judges: Judges, *, judge: JudgeName, samples: int = 2_000, classes: int = 10
) -> dict[str, float]:
    """Percent of samples, as many of each class, in which a judge finds the class that was asked for."""
    wanted = np.arange(samples) % classes
    images = subject.sample(samples, torch.eye(classes)[torch.from_numpy(wanted)])
    return {"agreement": measures.agreement(judges.get(judge).predict(images), wanted)}


def frechet(
    subject: Subject, judges: Judges, *, judge: JudgeName = "mnist-cnn", samples: int = 10_000
) -> dict[str, float]:
    """The Fréchet distance of samples to as many real training images, over a judge's features."""
    features = judges.get(judge).features
    if features is None:
        raise gv.ConfigurationError(f"measures.frechet: '{judge}' has no features.", "take judge: mnist-cnn")
    images, _ = mnist("train")
    order = np.random.default_rng(DRAWN).permutation(len(images))
    real, made = features(images[np.sort(order[:samples])]), features(subject.sample(samples))
    distance = frechet_distance(torch.from_numpy(real), torch.from_numpy(made))
    return {f"fd_{judge.replace('-', '_')}": distance}


def clustering(subject: Subject, judges: Judges) -> dict[str, float]:
    """Percent of MNIST's test images whose most probable categorical code is their label's."""
    trained = _trained(subject, "clustering")
    images, labels = mnist("test")
    probabilities = _through(trained, images, lambda x: code_probabilities(trained, x))
    return {"clustering": measures.clustering_accuracy(probabilities.argmax(1), labels)}


def neighbours(
    subject: Subject,
    judges: Judges,
    *,
    codes: Codes = "encoder",
    distance: Distance = "euclidean",
) -> dict[str, float]:
    """Percent of MNIST's test images whose nearest training image, by their codes, has their label."""
    (known, known_labels), (asked, labels) = _coded(subject, codes, "train"), _coded(subject, codes, "test")
    flat, wanted = known.reshape(len(known), -1), asked.reshape(len(asked), -1)
    return {"neighbours": neighbour_accuracy(flat, known_labels, wanted, labels, distance)}


def codes_in_use(subject: Subject, judges: Judges) -> dict[str, float]:
    """Percent of a codebook's entries that MNIST's training images use."""
    trained = _trained(subject, "codes_in_use")
    encoder = trained.run.model.encoder
    if not isinstance(encoder, QuantisedEncoder):
        raise gv.ConfigurationError("measures.codes_in_use: the encoder of this row has no codebook.")
    images, _ = mnist("train")
    indices = _through(trained, images, lambda x: encoder(x).indices)
    return {"usage": 100 * len(np.unique(indices)) / len(encoder.codebook)}


def bound(
    subject: Subject, judges: Judges, *, draws: int = 200, rows: int = 10_000, one: bool = False
) -> dict[str, float]:
    """-log p(x) in nats of MNIST's first test images, estimated by the importance-weighted bound.

    With ``one``, the negative evidence lower bound too.
    """
    trained = _trained(subject, "bound")
    run, source = trained.run, test_source(trained.data)
    data = run.open_data(source)
    chunks = np.array_split(np.arange(min(rows, len(source))), -(-min(rows, len(source)) // CHUNK))
    found = {"nll": draws, **({"elbo": 1} if one else {})}
    sums = dict.fromkeys(found, 0.0)
    with torch.no_grad(), borrowed_randomness(run.device) as generator:
        generator.manual_seed(DRAWN)
        for indices in chunks:
            batch = run.batch(data, indices)
            for name, count in found.items():
                nats = run.model.log_likelihood_bound(
                    batch.x, batch.condition, samples=count, rows_at_once=8 * CHUNK
                )
                sums[name] -= float(nats.double().sum())
    return {name: value / sum(map(len, chunks)) for name, value in sums.items()}


def disentanglement(
    subject: Subject, judges: Judges, *, rows: int = 10_000, votes: int = 800
) -> dict[str, float]:
    """The mutual information gap (Chen et al. 2018), and the score of Kim and Mnih (2018) in percent."""
    trained = _trained(subject, "disentanglement")
    run = trained.run
    data = run.open_data()
    chosen = evenly(np.arange(len(data.source)), rows)
    with torch.no_grad():
        parts = [
            run.model.encode(run.batch(data, part).x).mean.double().cpu()
            for part in np.array_split(chosen, 20)
        ]
    codes = torch.cat(parts).flatten(1).numpy()
    sizes = tuple(data.source.spec.details["factors"].values())
    factors = np.stack(np.unravel_index(chosen, sizes), axis=1)
    generator = np.random.default_rng(DRAWN)
    return {
        "mig": mutual_information_gap(codes, factors),
        "factor_vae": 100 * factor_vae_score(codes, factors, votes, generator),
    }


def kernel(
    subject: Subject, judges: Judges, *, net: Net = "judge", reconstructions: bool = True
) -> dict[str, float]:
    """Of held-out rows: the kernel distances of samples and of reconstructions, and the PSNR of these.

    Distances are in the features of the library's classifier of the data's labels or another net, times 1,000.
    """
    trained = _trained(subject, "kernel")
    run, source = trained.run, in_memory(trained.data)
    data = run.open_data() if source is None else Builder(run.configuration, run.catalogue).split(source)
    measured = ModelSubject(run.model, data, seed=DRAWN)
    with torch.no_grad():
        real = features(measured, measured.held_out(), net)
        made = features(measured, measured.samples(len(real)), net)
        found = {f"kd_{net.replace('-', '_')}": 1000 * kernel_distance(real, made).value}
        if not reconstructions:
            return found
        embed = net_of(measured, net).features
        copies = torch.cat([embed(measured.reconstructions(batch)).cpu() for batch in measured.held_out()])
        psnr = Fidelity().measure(measured)["psnr"]
    return {
        **found,
        # Of other rows: a row lies nearer to its own reconstruction than to any of the same distribution.
        "kd_reconstructions": 1000 * kernel_distance(real[::2], copies[1::2]).value,
        "psnr": psnr,
    }


MEASURES: Mapping[str, Callable[..., dict[str, float]]] = {
    "modes": modes,
    "combinations": combinations,
    "conditions": conditions,
    "frechet": frechet,
    "clustering": clustering,
    "neighbours": neighbours,
    "codes_in_use": codes_in_use,
    "bound": bound,
    "disentanglement": disentanglement,
    "kernel": kernel,
}


def chosen(row: Row) -> list[tuple[str, dict[str, Any]]]:
    """A row's measures with their options, of the types that they take.

    Raises:
        ConfigurationError: there is no such measure or option.
    """
    found: list[tuple[str, dict[str, Any]]] = []
    for name, given in row.measures.items():
        if name not in MEASURES:
            raise gv.ConfigurationError(f"measures: there is no '{name}'.{did_you_mean(name, MEASURES)}",
                                        f"there are: {', '.join(MEASURES)}")  # fmt: skip
        options = component_options(MEASURES[name])
        for key in given:
            if key not in options:
                raise gv.ConfigurationError(f"measures.{name}: it has no '{key}'.{did_you_mean(key, options)}",
                                            f"it has: {', '.join(options)}")  # fmt: skip
        found.append(
            (name, {key: convert(options[key], value, f"{name}.{key}") for key, value in given.items()})
        )
    return found


def judges_of(row: Row) -> list[JudgeName]:
    """The judges that a row's measures ask, by name."""
    asked: dict[JudgeName, None] = {}
    for name, given in chosen(row):
        option = component_options(MEASURES[name]).get("judge")
        if option is not None:
            asked[given.get("judge", option.default)] = None
    return list(asked)


def evaluate(subject: Subject, row: Row, judges: Judges) -> dict[str, float]:
    """All that the row wants measured."""
    values: dict[str, float] = {}
    for name, options in chosen(row):
        values |= MEASURES[name](subject, judges, **options)
    return values


def code_probabilities(trained: Trained, x: Tensor) -> Tensor:
    """(B, K) what an InfoGAN thinks of the first categorical code of images x (B, *X).

    The objective's interface is used here only.
    """
    tasks = getattr(trained.objective, "tasks", {})
    codes = tasks["information"].codes if "information" in tasks else []
    discrete = [position for position, _, is_discrete in codes if is_discrete]
    if not discrete:
        raise gv.ConfigurationError(
            f"measures.clustering: this {type(trained.objective).__name__} infers no categorical code.",
            "measure a run of the infogan plugin",
        )
    return tasks["information"].guesses(x)[discrete[0]]


def _coded(subject: Subject, codes: Codes, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Codes (N, D) of MNIST's images and their labels (N,)."""
    images, labels = mnist(part)
    if codes == "pixels":
        return images, labels
    trained = _trained(subject, "neighbours")
    if codes == "encoder":
        return _through(trained, images, lambda x: trained.run.model.encode(x).mean), labels
    critic: gv.Critic = trained.objective.critic  # pyright: ignore[reportAssignmentType]
    return _through(trained, images, critic.features), labels


def _through(trained: Trained, images: np.ndarray, function: Callable[[Tensor], Tensor]) -> np.ndarray:
    """What a function makes of images (N, 1, 28, 28), given to it in chunks as the model sees them."""
    run = trained.run
    data = run.open_data(resized(images, run.spec.shape[-1]))
    parts: list[np.ndarray] = []
    with torch.no_grad():
        for indices in np.array_split(np.arange(len(images)), -(-len(images) // CHUNK)):
            parts.append(function(run.batch(data, indices).x).flatten(1).float().cpu().numpy())
    return np.concatenate(parts)


def _trained(subject: Subject, measure: str) -> Trained:
    if not isinstance(subject, Samples):
        raise gv.ConfigurationError(
            f"measures.{measure}: it needs a trained model, and this row is of real data."
        )
    return subject.trained
