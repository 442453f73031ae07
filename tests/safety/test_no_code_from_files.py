"""The product's syntax tree: nothing in it turns the contents of a file into code, or into objects of any class."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "ganvae_core").rglob("*.py"), *(ROOT / "plugins").rglob("*.py"),
                *(ROOT / "benchmarks").rglob("*.py"), ROOT / "docs" / "generate.py"])  # fmt: skip
MODULES = {
    "pickle", "_pickle", "cPickle", "pickletools", "dill", "cloudpickle", "joblib", "marshal", "shelve", "copyreg",
    "code", "codeop", "runpy", "torch.package", "torch.serialization",
}  # fmt: skip
BUILTINS = {"eval", "exec", "compile", "__import__", "execfile"}
CALLS = {
    "torch.load", "torch.save", "torch.jit.load", "torch.jit.save", "torch.hub.load", "torch.export.load",
    "np.load", "numpy.load", "np.fromregex", "pandas.read_pickle", "pd.read_pickle", "os.system", "os.popen",
    "yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "yaml.unsafe_load_all", "yaml.full_load_all",
}  # fmt: skip
NUMPY = ("np.load", "numpy.load")
"""They unpickle, unless ``allow_pickle=False`` stands in the call."""
WRITTEN_HERE = {
    "plugins/ganvae_latent/export_verb.py": "torch.export.load",
    "benchmarks/metric_oracles.py": "torch.save",
}
"""What reads a file that the same command has written a moment before, or writes one for another library to read."""
SAFE_WITH = [(NUMPY, "allow_pickle", False), (("torch.load",), "weights_only", True)]
"""Calls that construct no more than arrays and tensors with this argument."""
YAML_LOADERS = {"_Loader", "yaml.BaseLoader", "loader"}
"""``_Loader`` is a BaseLoader, ``loader`` a SafeLoader, in their C form; neither makes more than lists and mappings."""
IMPORTERS = {
    "ganvae_core/__init__.py": "its own public names",
    "ganvae_core/cli/main.py": "its own verbs",
    "ganvae_core/plugins/discovery.py": "entry points of installed distributions",
    "ganvae_core/plugins/catalogue.py": "targets that an installed plugin declares",
    "docs/generate.py": "the modules of the public names, to write their signatures",
    "ganvae_core/latent/maps.py": "umap, an optional library",
    "benchmarks/crash_test.py": "the modules of a run's components, before it is forked",
    "plugins/ganvae_kit/__init__.py": "its own public names",
    "plugins/ganvae_kit/static.py": "entry points of the plugin that is to be checked",
}
"""Where something is imported by a name that is computed, and whose names these are: never a file's."""


def dotted(node: ast.expr) -> str:
    """``torch.load`` for such an expression; empty for another one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (above := dotted(node.value)):
        return f"{above}.{node.attr}"
    return ""


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def findings(source: str) -> list[str]:
    """What a source does that could run what a file holds."""
    tree = ast.parse(source)
    found = [
        f"{line}: imports {name}"
        for line, name in imported(tree)
        if name in MODULES or name.partition(".")[0] in MODULES or name in CALLS
    ]
    safe = [
        node.func
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and any(dotted(node.func) in names and keyword.arg == argument and isinstance(keyword.value, ast.Constant)
                and keyword.value.value is value
                for names, argument, value in SAFE_WITH for keyword in node.keywords)
    ]  # fmt: skip
    for node in ast.walk(tree):
        # A field of a class may have the name of a builtin function: ``compile: bool``.
        if isinstance(node, ast.Name | ast.Attribute) and node not in safe and isinstance(node.ctx, ast.Load):
            name = dotted(node)
            if name in BUILTINS or name in CALLS:
                found.append(f"{node.lineno}: {name}")
        if isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            if isinstance(pickled := given.get("allow_pickle"), ast.expr) and not is_false(pickled):
                found.append(f"{node.lineno}: allow_pickle")
            if isinstance(wanted := given.get("weights_only"), ast.expr) and not is_true(wanted):
                found.append(f"{node.lineno}: weights_only")
            if (
                dotted(node.func) == "yaml.load"
                and dotted(given.get("Loader", ast.Constant(0))) not in YAML_LOADERS
            ):
                found.append(f"{node.lineno}: yaml.load with another loader")
    return found


def is_true(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_runs_or_unpickles_what_a_file_holds(file: Path) -> None:
    known = WRITTEN_HERE.get(file.relative_to(ROOT).as_posix())
    assert [
        found for found in findings(file.read_text(encoding="utf-8")) if found.partition(": ")[2] != known
    ] == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import joblib as j", "from torch import load", "import dill",
        "torch.load(path)", "torch.load(path, weights_only=False)", "torch.load(path, weights_only=wanted)",
        "torch.save(x, path)", "keep = torch.save", "np.load(path)", "numpy.load(path)",
        "np.load(path, allow_pickle=True)", "np.load(path, allow_pickle=wanted)",
        "eval(text)", "exec(text)", "compile(text, '', 'exec')", "__import__(name)", "run = exec",
        "yaml.load(text)", "yaml.load(text, Loader=yaml.Loader)", "yaml.load(text, yaml.FullLoader)",
        "yaml.unsafe_load(text)", "np.save(file, x, allow_pickle=True)", "read(file, allow_pickle=wanted)",
        "import marshal", "import shelve", "os.system('ls')", "torch.jit.load(path)", "from runpy import run_path",
    ],
)  # fmt: skip
def test_the_search_finds_what_it_is_for(source: str) -> None:
    assert findings(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "model.eval()",
        "re.compile(x)",
        "np.save(f, x, allow_pickle=False)",
        "np.load(f, allow_pickle=False)",
        "torch.load(f, weights_only=True)",
        "json.load(f)",
    ],
)
def test_the_search_leaves_harmless_names_alone(source: str) -> None:
    assert findings(source) == []


def test_modules_are_imported_by_computed_names_only_where_plugins_and_own_names_are_looked_up() -> None:
    importing = {
        file.relative_to(ROOT).as_posix()
        for file in FILES
        if any(isinstance(node, ast.Attribute | ast.Name) and dotted(node).endswith("import_module")
               for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    }  # fmt: skip
    assert importing == set(IMPORTERS)


def test_yaml_is_read_by_loaders_that_construct_nothing() -> None:
    import yaml

    from ganvae_core.config.layers import _Loader

    assert issubclass(_Loader, yaml.constructor.BaseConstructor)
    assert not issubclass(_Loader, yaml.constructor.SafeConstructor | yaml.constructor.FullConstructor)
