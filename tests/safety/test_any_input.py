"""Whatever is typed, and whatever lies in a file: an answer in a line or two, and an exit code of the contract.

hypothesis makes up the input, the same one each time; HYPOTHESIS_EXAMPLES=1000 tries more.
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from command_line import Say
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import ganvae_core as gv
from ganvae_core.cli.main import VERBS
from ganvae_core.config.configuration import KEYS, configure, stored
from ganvae_core.config.layers import nest, parse_yaml
from ganvae_core.config.options import Text
from ganvae_core.plugins import installed_plugins

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "60"))
bounded = settings(
    max_examples=EXAMPLES, derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip

# No path separator: `--data /` would read all pictures of this machine.
WORDS = st.text(st.characters(blacklist_characters="/~\\", blacklist_categories=["Cs"]), max_size=12).filter(
    lambda word: set(word) != {"."}
)
NAMES = st.sampled_from([
    "vae", "gan", "dcgan", "ae", "digits", "ring", "mlp", "normal", "elbo", "builtin/mlp", "auto", "cpu", "cuda:7",
    "best", "null", "~", "no", "[]", "{}", "[1,", "[[1]]", "{name: mlp}", "{name: mlp, hidden: 3}", "${x}", "=", "==",
    "-", "--", "0", "-1", "3", "1e-3", "1e999", "nan", "007", "99999999999999999999999", "true", "[16]", "[0]", "[1e9]",
    "\x00", "é",
])  # fmt: skip
VALUES = st.one_of(NAMES, WORDS, st.integers(-5, 300).map(str), st.floats().map(str))
SETTINGS = st.sampled_from([
    *KEYS, "engine.batch_size", "engine.seed", "engine.log_every", "engine.micro_batch_size", "engine.evaluate_every",
    "objective.beta", "generator.hidden", "encoder.hidden", "latent.shape", "data.held_out", "data.condition",
    "data.name", "data.path", "optimizers.default.lr", "optimizers.default.betas", "optimizers.x.lr", "prior.parts",
    "a.b.c.d", ".", "",
])  # fmt: skip
PAIRS = st.tuples(SETTINGS, VALUES).map("=".join)
OPTIONS = st.sampled_from([
    "--plugin", "--recipe", "--config", "--data", "--steps", "--seed", "--device", "--precision", "--epochs", "--out",
    "--resume", "--quiet", "--help", "--version", "--json", "-n", "--count", "--checkpoint", "--condition", "--noise",
    "--mean", "-o", "--disable-plugin", "--traceback=", "--nonsense", "-x",
])  # fmt: skip
LINES = st.lists(st.one_of(OPTIONS, PAIRS, VALUES), max_size=6)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@bounded
@given(verb=st.sampled_from([*VERBS, "", "vae", "--help"]), rest=LINES)
def test_any_command_line(verb: str, rest: list[str], say: Say, empty: Path) -> None:
    say(verb, *rest, *(["--dry-run"] if verb == "run" else []))


@bounded
@given(plugin=st.sampled_from(["vae", "gan", "ae", "infogan"]), pairs=st.lists(PAIRS, max_size=4))
def test_any_settings_of_a_plugin(plugin: str, pairs: list[str], say: Say, empty: Path) -> None:
    say("config", "--plugin", plugin, *pairs)


def answered(work: Callable[[], Any]) -> None:
    """It works, or what is raised is ganvae's own error, with a message."""
    try:
        work()
    except gv.GanvaeError as error:
        message = error.message
    else:
        message = "it worked"
    assert message.strip()


PLAIN: Any = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), VALUES, VALUES.map(Text)),
    lambda below: st.one_of(st.lists(below, max_size=3), st.dictionaries(VALUES, below, max_size=3)),
    max_leaves=8,
)
LAYERS = st.dictionaries(st.one_of(st.sampled_from(KEYS), WORDS), PLAIN, max_size=3)


@bounded
@given(layer=LAYERS)
def test_any_layer_of_a_configuration(layer: dict[str, Any]) -> None:
    answered(lambda: configure(installed_plugins(), "vae", None, [layer]))
    answered(lambda: stored(installed_plugins(), layer))


@bounded
@given(text=st.one_of(st.text(max_size=60), st.text("[]{}:,-&*!|> \n\"'#%@`a1?~", max_size=60)))
def test_any_text_as_yaml(text: str) -> None:
    answered(lambda: configure(installed_plugins(), "vae", None, [parse_yaml(text, "FILE")]))


@bounded
@given(pairs=st.lists(st.tuples(st.one_of(SETTINGS, WORDS), PLAIN), max_size=4))
def test_any_overrides_from_python(pairs: list[tuple[str, Any]]) -> None:
    answered(lambda: configure(installed_plugins(), "vae", None, [nest(pairs)]))


# Files

DAMAGE: Any = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10**9), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 10**9), st.just(0)),
    st.tuples(st.just("bytes"), st.binary(max_size=64), st.just(0)),
    st.tuples(st.just("insert"), st.integers(0, 10**9), st.binary(min_size=1, max_size=8)),
)


def damaged(content: bytes, how: tuple[str, Any, Any]) -> bytes:
    kind, first, second = how
    if kind == "bytes" or not content:
        return first if isinstance(first, bytes) else b"x"
    at = first % len(content)
    if kind == "flip":
        return content[:at] + bytes([content[at] ^ second]) + content[at + 1 :]
    return content[:at] if kind == "cut" else content[:at] + second + content[at:]


RUN_FILES = [
    "config.yaml", "data.json", "plugins.lock.toml", "metrics.jsonl",
    *(f"checkpoints/step-00000{step}/{name}" for step in (2, 4)
      for name in ("manifest.json", "model.safetensors", "state.safetensors")),
]  # fmt: skip


@bounded
@given(name=st.sampled_from(RUN_FILES), how=DAMAGE)
def test_any_damage_to_a_run_is_answered_and_that_to_the_newest_tensors_is_named(
    name: str, how: tuple[str, Any, Any], trained: Path, say: Say, empty: Path
) -> None:
    copy = empty / "run"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(trained, copy)
    before = (copy / name).read_bytes()
    after = damaged(before, how)
    (copy / name).write_bytes(after)
    say("show", copy)
    sampled = say("sample", copy, "-n", "2", "-o", "made.npz")
    resumed = say("run", "--resume", copy, "--steps", "6", "--dry-run")
    if name.startswith("checkpoints/step-000004") and name.endswith(".safetensors") and after != before:
        reading = (sampled, resumed) if name.endswith("model.safetensors") else (resumed,)
        for outcome in reading:
            assert outcome.code == 0
            assert f"passed over: {copy / name}" in outcome.err
            assert "step 2" in outcome.err


@bounded
@given(first=st.sampled_from(RUN_FILES), second=st.sampled_from(RUN_FILES))
def test_files_of_a_run_that_were_swapped_are_noticed(
    first: str, second: str, trained: Path, say: Say, empty: Path
) -> None:
    copy = empty / "run"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(trained, copy)
    one, other = (copy / first).read_bytes(), (copy / second).read_bytes()
    (copy / first).write_bytes(other)
    (copy / second).write_bytes(one)
    say("show", copy)
    outcome = say("run", "--resume", copy, "--steps", "6", "--dry-run")
    if one != other and "step-000004" in first + second and outcome.code == 0:
        assert "passed over" in outcome.err


def make_idx(path: Path) -> None:
    path.write_bytes(gzip.compress(struct.pack(">BBBBIII", 0, 0, 8, 3, 20, 8, 8) + bytes(range(256)) * 5))


def make_png(path: Path) -> None:
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(path)


TABLE = {"a": np.arange(20.0), "b": np.arange(20) % 3}
DATA: dict[str, Callable[[Path], Any]] = {
    "x.npy": lambda path: np.save(path, np.arange(20 * 64, dtype=np.uint8).reshape(20, 8, 8)),
    "f.npy": lambda path: np.save(path, np.linspace(0, 1, 60).reshape(20, 3)),
    "x.npz": lambda path: np.savez_compressed(path, x=np.zeros((20, 8, 8)), labels=np.arange(20) % 2),
    "x.csv": lambda path: path.write_text("a,b\n" + "".join(f"{n},{n * n / 7}\n" for n in range(20))),
    "x.tsv": lambda path: path.write_text("a\tb\n1\t2\n3\t4\n"),
    "x.parquet": lambda path: pyarrow.parquet.write_table(pa.table(TABLE), path),
    "x-images-idx3-ubyte.gz": make_idx,
    "photos/a.png": make_png,
}


@bounded
@given(name=st.sampled_from(list(DATA)), how=DAMAGE)
def test_any_damage_to_data_is_answered(name: str, how: tuple[str, Any, Any], say: Say, empty: Path) -> None:
    path = empty / name
    path.parent.mkdir(exist_ok=True)
    DATA[name](path)
    path.write_bytes(damaged(path.read_bytes(), how))
    say("data", path.parent if path.parent != empty else path)
    say("run", "--plugin", "vae", "--data", path.parent if path.parent != empty else path, "--dry-run")
