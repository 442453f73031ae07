"""The structure of the core: arrows point down, and no module imports itself by way of others, types included."""

from __future__ import annotations

import grimp
import networkx
import pytest

LAYERS = (
    ("cli",), ("runs",), ("config",), ("engine", "builtin"), ("evaluation", "latent", "views"), ("data",), ("store",),
    ("training",), ("model",), ("distributions", "losses"), ("interfaces",), ("lower_precision",),
    ("types", "plugins"), ("errors",),
)  # fmt: skip
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


@pytest.fixture(scope="module")
def imports() -> networkx.DiGraph:
    """Direct imports of the core's modules, those for type checkers among them; the public names are left out."""
    graph = grimp.build_graph("ganvae_core", exclude_type_checking_imports=False)
    arrows = networkx.DiGraph()
    for module in graph.modules - {"ganvae_core"}:
        for imported in graph.find_modules_directly_imported_by(module) - {"ganvae_core"}:
            arrows.add_edge(module, imported)
    return arrows


def test_there_is_no_circle_of_imports(imports: networkx.DiGraph) -> None:
    assert [circle for circle in networkx.strongly_connected_components(imports) if len(circle) > 1] == []


def test_arrows_point_down(imports: networkx.DiGraph) -> None:
    def rank(module: str) -> int | None:
        return RANK.get(module.split(".")[1])

    upward = [
        (module, imported)
        for module, imported in imports.edges
        if (above := rank(module)) is not None and (below := rank(imported)) is not None and below < above
    ]
    assert upward == []
    assert {module.split(".")[1] for edge in imports.edges for module in edge} - {*RANK, "__main__"} == set()


def test_the_core_names_the_builtin_plugin_in_its_public_names_alone(imports: networkx.DiGraph) -> None:
    outside = [
        (module, imported)
        for module, imported in imports.edges
        if imported.startswith("ganvae_core.builtin") and not module.startswith("ganvae_core.builtin")
    ]
    assert outside == []
