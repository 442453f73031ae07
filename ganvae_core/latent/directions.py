"""Directions of a latent space along which one thing changes."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ganvae_core.errors import ConfigurationError, did_you_mean
from ganvae_core.model import Model

ROWS_AT_ONCE = 256
FEWEST_ROWS = 4


@torch.no_grad()
def pca_directions(
    model: Model, codes: Tensor, count: int, *, layer: str | None = None, condition: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Directions of codes along which a layer of the generator varies most (Härkönen et al. 2020, GANSpace).

    The principal components of the layer's activations over ``codes`` are carried back to codes by least squares.
    Without a layer they are the principal components of the codes themselves.

    Args:
        model: whose generator it is.
        codes: (N, *Z), such as draws of the prior.
        count: of directions.
        layer: the dotted name of a module of the generator.
        condition: (N, *K).

    Returns:
        (count, *Z) directions of unit length in flattened codes, and (count,) the share of the variance of each.

    Raises:
        ConfigurationError: there is no such layer, or it has fewer components than are asked for.
    """
    flat = codes.flatten(1).double()
    activations = flat if layer is None else _activations(model, codes, layer, condition).flatten(1).double()
    centred = activations - activations.mean(0)
    most = min(flat.shape[1], activations.shape[1], len(codes) - 1)
    if not 1 <= count <= most:
        raise ConfigurationError(
            f"the number of principal components here must be from 1 to {most}, not {count}."
        )
    _, scales, components = torch.linalg.svd(centred, full_matrices=False)
    shares = scales.square() / scales.square().sum().clamp(min=1e-300)
    components = components[:count]
    if layer is not None:
        projected = centred @ components.T  # (N, count)
        around = flat - flat.mean(0)
        components = torch.linalg.lstsq(projected, around, driver="gelsd").solution
    return _unit(components, codes), shares[:count].to(codes.dtype)


@torch.no_grad()
def closed_form_directions(model: Model, latent_shape: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    """The directions that the generator's first weights stretch most (Shen and Zhou 2021, SeFa).

    They are the eigenvectors of AᵀA for the weights A that codes are multiplied with first.

    Args:
        model: whose generator it is.
        latent_shape: *Z.
        count: of directions.

    Returns:
        (count, *Z) directions of unit length in flattened codes, and (count,) how much each is stretched.

    Raises:
        ConfigurationError: the generator begins with no linear or convolutional layer on codes.
    """
    size = math.prod(latent_shape)
    if not 1 <= count <= size:
        raise ConfigurationError(
            f"the number of directions of codes of {size:,} numbers must be from 1 to {size:,}, not {count}."
        )
    weights = first_weights(model, size)
    values, vectors = torch.linalg.eigh(weights.T @ weights)
    directions = vectors.flip(1).T[:count]
    example = weights.new_zeros(1, *latent_shape)
    return _unit(directions, example).float(), values.flip(0)[:count].clamp(min=0).sqrt().float()


def first_weights(model: Model, size: int) -> Tensor:
    """(outputs, D) the weights that flattened codes are multiplied with first, in float64, without the condition's.

    Raises:
        ConfigurationError: the first layer with weights takes something else than codes.
    """
    for module in model.generator.modules():
        if isinstance(module, nn.Linear) and module.in_features >= size:
            return module.weight[:, :size].double()
        if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d) and module.in_channels >= size:
            return module.weight[:size].flatten(1).T.double()  # (D, outputs, …)
        if isinstance(module, nn.Conv1d | nn.Conv2d) and module.in_channels >= size:
            return module.weight[:, :size].flatten(2).movedim(1, 2).flatten(0, 1).double()
        if next(module.parameters(recurse=False), None) is not None:
            break
    raise ConfigurationError(
        "the generator does not begin with a linear or convolutional layer on codes, so this method does not apply.",
        "take the principal components of a layer",
    )


def supervised_direction(
    codes: Tensor, target: np.ndarray, *, orthogonal_to: Tensor | None = None
) -> tuple[Tensor, float]:
    """The direction along which an attribute of codes changes (Shen et al. 2020, InterFaceGAN).

    For two classes the normal of a linear support vector machine's boundary, for numbers the weights of a ridge
    regression, both by scikit-learn on standardised codes.

    Args:
        codes: (N, *Z).
        target: (N,) bool for an attribute that is there or not, numbers otherwise.
        orthogonal_to: (M, *Z) directions that are to stay as they are: their part is taken out.

    Returns:
        (*Z) the direction, of unit length in flattened codes, towards true or larger values; and how well it predicts:
        the balanced accuracy, or R², on a fifth of the codes that was not learned from.

    Raises:
        ConfigurationError: there are too few codes of a class, the numbers are all equal, or nothing is left of the
            direction.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import balanced_accuracy_score, r2_score
    from sklearn.svm import LinearSVC

    flat = codes.detach().flatten(1).double().cpu().numpy()
    two = target.dtype.kind == "b"
    fewest = min(int(target.sum()), int((~target).sum())) if two else len(np.unique(target))
    if fewest < (FEWEST_ROWS if two else 2):
        raise ConfigurationError(
            f"a direction needs at least {FEWEST_ROWS} codes with the attribute and as many without it."
            if two
            else "a direction of a number needs codes in which it differs."
        )
    centre, scale = flat.mean(0), flat.std(0)
    scale[scale < 1e-12] = 1.0
    standardised = (flat - centre) / scale
    test = np.arange(len(flat)) % 5 == 4
    if two and (len(set(target[test])) < 2 or len(set(target[~test])) < 2):
        test = np.zeros(len(flat), bool)  # too few to hold any out
    fit_on = ~test
    model = (
        LinearSVC(C=0.1, class_weight="balanced", random_state=0)
        if two
        else RidgeCV(alphas=np.logspace(-3, 3, 7))
    )
    model.fit(standardised[fit_on], target[fit_on])
    judged = test if test.any() else fit_on
    predicted = model.predict(standardised[judged])
    score = balanced_accuracy_score if two else r2_score
    # The way to the boundary where codes have unit variance: coordinates that hardly vary, as collapsed ones of a VAE,
    # hardly take part in it.
    normal = np.asarray(model.coef_).reshape(-1) * scale
    direction = torch.as_tensor(normal, device=codes.device)
    if orthogonal_to is not None:
        direction = _without(direction, orthogonal_to.flatten(1).double())
    length = cast(float, direction.norm().item())
    if length < 1e-9:
        raise ConfigurationError(
            "nothing is left of the direction: it lies in the span of those that it must not change."
        )
    found = (direction / length).reshape(codes.shape[1:]).to(codes.dtype)
    return found, float(score(target[judged], predicted))


def mean_difference(codes: Tensor, chosen: np.ndarray) -> Tensor:
    """(*Z) the mean of chosen codes (N, *Z) minus the mean of the others: a direction that keeps its length.

    Raises:
        ConfigurationError: all of them are chosen, or none.
    """
    if chosen.all() or not chosen.any():
        raise ConfigurationError("a difference of means needs codes of both kinds.")
    mask = torch.as_tensor(chosen, device=codes.device)
    return codes[mask].mean(0) - codes[~mask].mean(0)


def moved(codes: Tensor, direction: Tensor, by: Tensor | float) -> Tensor:
    """Codes (B, *Z) moved along a direction (*Z): z + by · direction, with ``by`` a number or (B,) numbers."""
    amounts = torch.as_tensor(by, dtype=codes.dtype, device=codes.device)
    return codes + amounts.reshape(-1, *[1] * (codes.dim() - 1)) * direction


def first_layer(model: Model) -> str:
    """The dotted name of the first module of the generator that has weights of its own; empty where none has."""
    named = model.generator.named_modules()
    return next(
        (name for name, module in named if name and next(module.parameters(recurse=False), None) is not None),
        "",
    )


def _activations(model: Model, codes: Tensor, layer: str, condition: Tensor | None) -> Tensor:
    modules = dict(model.generator.named_modules())
    if layer not in modules or not layer:
        names = [name for name in modules if name]
        raise ConfigurationError(
            f"the generator has no layer '{layer}'.{did_you_mean(layer, names)}",
            f"layers: {', '.join(names)}",
        )
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            raise ConfigurationError(f"the layer '{layer}' returns no tensor.")
        found.append(output.flatten(1))

    hook = modules[layer].register_forward_hook(keep)
    try:
        for start in range(0, len(codes), ROWS_AT_ONCE):
            given = None if condition is None else condition[start : start + ROWS_AT_ONCE]
            model.generator(codes[start : start + ROWS_AT_ONCE], given)
    finally:
        hook.remove()
    if not found:
        raise ConfigurationError(f"the layer '{layer}' is not used to generate data.")
    return torch.cat(found)


def _unit(directions: Tensor, codes: Tensor) -> Tensor:
    """(count, D) -> (count, *Z) of unit length, whose largest entry is positive."""
    largest = directions.abs().argmax(1, keepdim=True)
    signs = directions.gather(1, largest).sign()
    unit = directions * signs / directions.norm(dim=1, keepdim=True).clamp(min=1e-300)
    return unit.to(codes.dtype).reshape(-1, *codes.shape[1:])


def _without(direction: Tensor, others: Tensor) -> Tensor:
    """A direction (D,) without its part in the span of others (M, D)."""
    basis, scales, _ = torch.linalg.svd(others.T, full_matrices=False)
    basis = basis[:, scales > 1e-9 * scales.max()]
    return direction - basis @ (basis.T @ direction)
