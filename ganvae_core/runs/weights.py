"""The weights of a run: which checkpoint has them, and how another run begins with them."""

from __future__ import annotations

import shlex
from pathlib import Path

from ganvae_core.config.settings import InitialWeights
from ganvae_core.errors import ConfigurationError, RunError
from ganvae_core.interfaces import FittedPrior
from ganvae_core.model import Model
from ganvae_core.store.checkpoints import Checkpoint, load_tensors, newest_whole, tensors_of
from ganvae_core.store.directory import RunDirectory
from ganvae_core.store.manifests import MODEL_FILE, best_step, checkpoint_folders, read_manifest


def find_checkpoint(directory: RunDirectory, wanted: int | str | None) -> tuple[Checkpoint, tuple[str, ...]]:
    """The newest whole checkpoint, that of a step, or the best; and a sentence for each that was passed over.

    Raises:
        RunError: there is none, or the one that was asked for is not whole.
    """
    folders = checkpoint_folders(directory.checkpoints)
    if not folders:
        run = shlex.quote(str(directory.path))
        raise RunError(
            f"'{directory.path}' has no checkpoint: it was stopped before its first one, or they were deleted.",
            f"begin anew, unless it is training still:  ganvae run --resume {run}",
        )
    if wanted is None:
        newest, damage = newest_whole(directory.checkpoints, [MODEL_FILE])
        if newest is None:
            raise RunError(f"'{directory.path}' has no checkpoint that is whole.", *damage)
        return newest, damage
    best = best_step(directory.manifests())
    if wanted == "best":
        if best is None:
            raise RunError(f"'{directory.path}' was not measured by any metric, so there is no best checkpoint.",
                           "leave --checkpoint out to take the newest")  # fmt: skip
        wanted = best
    if not str(wanted).isdecimal() or int(wanted) not in folders:
        has = [*map(str, folders), *(["best"] if best is not None else [])]
        raise RunError(f"'{directory.path}' has no checkpoint '{wanted}'.", f"it has: {', '.join(has)}")
    folder = folders[int(wanted)]
    return Checkpoint(folder, read_manifest(folder)), ()


def load_initial(model: Model, initial: InitialWeights) -> tuple[str, ...]:
    """Load the weights of another run into a model, part by part.

    A part with parameters of other names (another network, another prior) keeps its own weights, and so does a prior
    that is fitted in closed form.

    Args:
        model: to load into.
        initial: the other run, and which of its checkpoints.

    Returns:
        A sentence for each part that keeps its own weights.

    Raises:
        RunError: there is no such run or checkpoint.
        ConfigurationError: a tensor has another shape; the message names it.
    """
    directory = RunDirectory.open(Path(initial.path))
    directory.data_record()  # refuses a run of another format
    checkpoint, _ = find_checkpoint(directory, initial.step)
    tensors, kept = checkpoint.model(), list[str]()
    for name, part in model.named_children():
        given = {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
        own = tensors_of(part)
        if isinstance(part, FittedPrior) or not own:
            continue
        if own.keys() != given.keys():
            kept.append(
                f"{name}: its parameters differ from those of '{initial.path}', so it is initialised anew"
            )
            continue
        unfit = [key for key in own if own[key].shape != given[key].shape]
        if unfit:
            key = unfit[0]
            raise ConfigurationError(
                f"--from {initial.path}: its {name} has other sizes than this run's: {name}.{key} has the shape"
                f" {tuple(given[key].shape)} there and {tuple(own[key].shape)} here.",
                f"take that run's settings, and change others:  ganvae run --from {shlex.quote(initial.path)}",
                "or begin without its weights: leave --from out",
            )
        load_tensors(part, given, f"the {name} of '{initial.path}'")
    return tuple(kept)
