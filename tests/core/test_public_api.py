"""The public names: resolved from the stub, by an import that brings no torch."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from typing import Literal, get_origin

import pytest
from warm import warm

import ganvae_core as gv

STUB = ast.parse(Path(gv.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
VERSION = {"__version__"}


def test_the_stub_names_each_public_name_once() -> None:
    names = [alias.name for node in STUB.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert sorted([*names, *VERSION]) == sorted([*gv.__all__, "latent", "losses"])


@pytest.mark.parametrize("name", sorted(set(gv.__all__)))
def test_every_public_name_is_there_and_documented(name: str) -> None:
    value = getattr(gv, name)
    undocumented = (
        type(value).__module__.startswith("pluggy") or get_origin(value) is Literal
    )  # they have no docstring
    assert name in VERSION or value.__doc__ or undocumented
    assert name in dir(gv)


def test_no_public_name_is_also_a_submodules() -> None:
    package = Path(gv.__file__).parent
    modules = {
        path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert not modules & set(gv.__all__)


def test_the_losses_are_an_attribute_without_an_import_of_their_own() -> None:
    program = "import ganvae_core as gv; print(gv.losses.hinge_generator.__name__)"
    assert run_python(program) == "hinge_generator"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Modell'"):
        gv.Modell  # noqa: B018 # pyright: ignore
    assert not hasattr(gv, "Modell")


def run_python(program: str) -> str:
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    return outcome.stdout.strip()


HEAVY = "print(sorted({'torch', 'numpy', 'sklearn', 'matplotlib', 'pyarrow'} & set(sys.modules)))"


def test_importing_the_package_brings_neither_torch_nor_a_plugin() -> None:
    program = (
        "import sys, ganvae_core as gv; gv.ConfigurationError, gv.ComponentSpec, gv.hookimpl, gv.DataSpec, gv.Batch;"
        f"{HEAVY}; print([name for name in sys.modules if name.startswith('ganvae_') and name[:11] != 'ganvae_core'])"
    )
    assert run_python(program) == "[]\n[]"


def test_finding_the_plugins_and_reading_their_recipes_brings_no_torch() -> None:
    program = (
        "import sys; from ganvae_core.plugins import installed_plugins; found = installed_plugins();"
        "assert [found.recipe(name) for name in found.with_recipes()];"
        f"found.components(); {HEAVY}"
    )
    assert run_python(program) == "[]"


def test_every_module_can_be_imported_by_itself(tmp_path: Path) -> None:
    """No import works only because another one came first."""
    package = Path(gv.__file__).parent
    names = [
        ".".join(("ganvae_core", *path.relative_to(package).with_suffix("").parts)).removesuffix(".__init__")
        for path in package.rglob("*.py")
        if path.name != "__main__.py"
    ]
    assert len(names) > 40
    # One process, each module after all of ours have been forgotten: as a first import would see it.
    program = (
        "import sys, importlib\n"
        "import torch, sklearn, matplotlib.pyplot\n"
        f"sys.dont_write_bytecode, sys.pycache_prefix = False, {str(tmp_path)!r}\n"
        f"for name in {names!r}:\n"
        "    for known in [key for key in sys.modules if key.startswith('ganvae_')]: del sys.modules[known]\n"
        "    importlib.import_module(name)\n"
    )
    done = warm("", code=program)
    assert (done.code, done.out) == (0, ""), done.err
    assert importlib.import_module("ganvae_core.losses")
