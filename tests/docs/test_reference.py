"""What the documentation says of the code is what the code says."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import itertools
import re
from collections.abc import Iterator
from types import ModuleType

import pytest
from ganvae_kit import CHECKS
from pages import DOCS, ROOT, blocks

import ganvae_core
from ganvae_core import distributions, errors, interfaces, model, training, types
from ganvae_core.plugins import KINDS, hookspecs, installed_plugins, specs
from ganvae_core.plugins.catalogue import State

WRITTEN = ("reference.md", "command-line.md")
"""Pages that docs/generate.py writes."""
STUBS = [
    (page, block)
    for page in sorted(DOCS.rglob("*.md"))
    if page.name not in WRITTEN
    for block in blocks(page, "pyi")
]
SOURCES = (interfaces, types, hookspecs, specs, model, distributions, training)


def signatures(text: str) -> Iterator[tuple[str, str]]:
    """Each function of a module's text as (``Class.method`` or name, parameters and return type), or as a property."""
    for node in ast.parse(text).body:
        functions = node.body if isinstance(node, ast.ClassDef) else [node]
        owner = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for function in functions:
            if isinstance(function, ast.FunctionDef):
                result = ast.unparse(function.returns) if function.returns else ""
                is_property = any(ast.unparse(each) == "property" for each in function.decorator_list)
                kind = "property " if is_property else ""
                yield f"{owner}{function.name}", f"{kind}({ast.unparse(function.args)}) -> {result}"


def in_code() -> dict[str, str]:
    return dict(itertools.chain.from_iterable(signatures(inspect.getsource(module)) for module in SOURCES))


def in_docs(page: str) -> dict[str, str]:
    return dict(itertools.chain.from_iterable(signatures(block.text) for block in blocks(DOCS / page, "pyi")))


def abstract_methods(interface: object) -> frozenset[str]:
    """Those of a class of the module; none of what it imports."""
    own = getattr(interface, "__module__", "") in (interfaces.__name__, training.__name__)
    return getattr(interface, "__abstractmethods__", frozenset()) if own else frozenset()


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", sorted({page.name for page, _ in STUBS}))
def test_signatures_on_a_page_are_those_of_the_code(page: str) -> None:
    code = in_code()
    for name, signature in in_docs(page).items():
        assert code.get(name) == signature, f"{page}: {name}"


def test_every_abstract_method_is_documented() -> None:
    documented = in_docs("interfaces.md")
    for interface in [*vars(interfaces).values(), *vars(training).values()]:
        for method in abstract_methods(interface):
            owner = next(base.__name__ for base in interface.__mro__ if method in vars(base))
            assert f"{owner}.{method}" in documented


def test_every_method_of_a_callback_is_documented() -> None:
    methods = [name for name, value in vars(training.Callback).items() if inspect.isfunction(value)]
    assert {f"Callback.{name}" for name in methods} <= set(in_docs("interfaces.md"))


def test_what_a_callback_sees_of_training_is_documented() -> None:
    text = (DOCS / "interfaces.md").read_text("utf-8").partition("#### What a callback sees")[2]
    rows = [line.split("|")[1] for line in text.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)[^`]*`", row)}
    assert documented == {field.name for field in dataclasses.fields(training.TrainingView)}


def test_every_hook_is_documented_with_its_signature() -> None:
    documented = in_docs("plugins.md")
    hooks = [name for name, value in vars(hookspecs).items() if hasattr(value, "ganvae_spec")]
    assert hooks
    assert {name: in_code()[name] for name in hooks} == {name: documented.get(name) for name in hooks}


def test_every_fact_field_and_word_is_on_its_page() -> None:
    text = (DOCS / "interfaces.md").read_text()
    for owner in (types.Phase, types.Loss, types.Batch, types.DataSpec):
        for field in owner.__dataclass_fields__:
            assert f"`{field}`" in text, f"{owner.__name__}.{field}"
    for word in (*KINDS, "raw_shape", "latent_shape", "condition_shape", "critic"):
        assert f"`{word}`" in text, word


def test_every_state_of_a_plugin_is_explained() -> None:
    text = (DOCS / "plugins.md").read_text()
    assert all(f"`{state}`" in text for state in State.__args__)


def test_every_recipe_is_on_the_page_of_recipes() -> None:
    text = (DOCS / "recipes.md").read_text()
    for plugin in installed_plugins().ready:
        assert not plugin.recipes or f"--plugin {plugin.name}" in text, plugin.name
        if plugin.distribution == "ganvae":
            for component in plugin.components:
                assert f"`{component.name}`" in text, f"{component.kind} {plugin.name}/{component.name}"


def test_every_check_of_the_kit_is_on_its_page_with_what_it_proves() -> None:
    rows = [
        line
        for line in (DOCS / "testing-plugins.md").read_text("utf-8").splitlines()
        if line.startswith("| `")
    ]
    documented = {row.split("`")[1]: row.rpartition(" | ")[2].removesuffix(" |") for row in rows}
    checks = {name: check.proves.replace("``", "`") for name, check in CHECKS.items()}
    assert {name: text for name, text in documented.items() if name in checks} == checks


def test_every_exit_code_is_explained() -> None:
    text = (DOCS / "command-line.md").read_text()
    codes = {error.exit_code for error in vars(errors).values() if hasattr(error, "exit_code")}
    assert all(f"| {code} |" in text for code in codes)


def test_every_public_name_is_on_the_python_page() -> None:
    text = (DOCS / "library.md").read_text()
    names = [name for name in ganvae_core.__all__ if not name.startswith("__")]
    assert [name for name in names if f"`{name}`" not in text] == []


@pytest.mark.parametrize(("page", "function"), [("command-line.md", "page"), ("reference.md", "reference")])
def test_a_generated_page_is_what_the_generator_writes(page: str, function: str) -> None:
    assert (DOCS / page).read_text("utf-8") == getattr(generator(), function)(), "python docs/generate.py"


def test_options_that_a_class_has_from_a_private_base_are_on_the_page() -> None:
    for name in ("Linear", "Cosine"):
        stub = generator().stub(generator().definition(getattr(ganvae_core.schedule, name)), None)
        assert (
            "def __init__(self, *, from_: float = 1.0, to: float = 0.0, samples: int | None = None)" in stub
        )


def test_the_readme_names_every_verb() -> None:
    from ganvae_core.cli.main import VERBS

    text = (ROOT / "README.md").read_text("utf-8")
    assert [verb for verb in VERBS if f"`{verb}" not in text] == []
