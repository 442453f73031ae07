"""What import-linter does not see of the core's structure: imports by way of the public names."""

from __future__ import annotations

import grimp


def test_the_core_imports_from_its_modules_and_not_from_its_public_names() -> None:
    graph = grimp.build_graph("ganvae_core")
    lines = [
        found["line_contents"]
        for module in graph.find_modules_that_directly_import("ganvae_core")
        for found in graph.get_import_details(importer=module, imported="ganvae_core")
    ]
    assert set(lines) == {"from ganvae_core import __version__"}
