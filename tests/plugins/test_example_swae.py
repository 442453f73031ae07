"""examples/ganvae-swae, as a stranger gets it: a wheel, installed by pip into a fresh environment, and used."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from real_environment import ROOT, RealEnvironment, built
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestNeighbors

PROJECT = ROOT / "examples" / "ganvae-swae"
FEWEST_SAMPLES_NEAR = 0.9


@pytest.fixture(scope="module")
def installed(real_environment: RealEnvironment, tmp_path_factory: pytest.TempPathFactory) -> RealEnvironment:
    real_environment.install(built(PROJECT, tmp_path_factory.mktemp("swae")))
    return real_environment


@pytest.fixture(scope="module")
def trained(installed: RealEnvironment) -> RealEnvironment:
    """With a run in it, ``run``: 0.99 of its samples are near digits, and processors differ by 0.006."""
    done = installed.ganvae("run", "--plugin", "swae", "--steps", 500, "--out", "run", "--quiet")
    assert done.code == 0, done.err
    return installed


def test_it_takes_under_eighty_lines_of_code() -> None:
    assert sum(lines_of_code(path) for path in (PROJECT / "src").rglob("*.py")) < 80


def lines_of_code(path: Path) -> int:
    """Lines with code on them: no blank ones, no comments, no docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    described: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            described |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    return sum(
        1
        for number, line in lines
        if line.strip() and not line.strip().startswith("#") and number not in described
    )


def test_its_own_tests_and_the_conformance_kit_pass(installed: RealEnvironment) -> None:
    done = installed.warm("pytest", "-q", "-p", "no:cacheprovider", PROJECT / "tests")
    assert done.code == 0, done.out + done.err


def test_its_samples_are_nearer_to_digits_than_chance(trained: RealEnvironment) -> None:
    done = trained.ganvae("sample", "run", "-n", 500, "--seed", 1, "-o", "made.npy")
    assert done.code == 0, done.err
    made = np.load(trained.folder / "made.npy").reshape(500, 64).astype(float)
    assert near_digits(made) > FEWEST_SAMPLES_NEAR
    # Chance: every pixel drawn from that pixel's own values in the data, each for itself.
    digits = load_digits().data
    rows = np.random.default_rng(0).integers(len(digits), size=(500, 64))
    assert near_digits(digits[rows, np.arange(64)]) < 0.05


def near_digits(x: np.ndarray) -> float:
    """The share of rows that lie nearer to a real digit than 95 in a hundred real digits do to their nearest other."""
    digits = load_digits().data
    own = NearestNeighbors(n_neighbors=2).fit(digits).kneighbors(digits)[0][:, 1]
    distance = NearestNeighbors(n_neighbors=1).fit(digits).kneighbors(x)[0][:, 0]
    return float((distance < np.quantile(own, 0.95)).mean())


def test_its_codes_lie_on_the_ring(trained: RealEnvironment) -> None:
    done = trained.ganvae("encode", "run", "-o", "codes.npz")
    assert done.code == 0, done.err
    codes = np.load(trained.folder / "codes.npz")["codes"]
    radius = np.linalg.norm(codes, axis=1)
    # Of standard normal codes 0.38 would.
    assert ((radius > 0.4) & (radius < 1.1)).mean() > 0.75
    assert np.abs(codes.mean(axis=0)).max() < 0.75 / math.sqrt(2)


def test_it_is_exported_and_explored_as_any_other(trained: RealEnvironment) -> None:
    done = trained.ganvae("export", "run", "-o", "decoder.pt2")
    assert done.code == 0, done.err
    code = """
import torch, ganvae_core as gv
from ganvae_explore.content import content_of
content = content_of(gv.load("run"), None, 30)
made = torch.export.load("decoder.pt2").module()(torch.zeros(3, 2))
print(content["size"], content["support"], len(content["axes"]), *made.shape, made.dtype)
"""
    done = trained.run(trained.python, "-c", code)
    assert done.code == 0, done.err
    assert done.out.strip().endswith("2 bounded 2 3 1 8 8 torch.uint8")
