"""Counts code lines by package: no blank lines, comments or docstrings.  make lines"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NO_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SMALL_CORE = ("(root)", "engine", "config", "data", "store")


def code_lines(source: str) -> int:
    """How many lines of a module hold code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            lines -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return len(lines)


def by_package(folder: Path) -> Counter[str]:
    """Code lines of each package directly below a folder."""
    counts: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts
        counts[parts[0] if len(parts) > 1 else "(root)"] += code_lines(path.read_text(encoding="utf-8"))
    return counts


def main() -> None:
    """Print a line for each package of the core and of the plugins."""
    for folder in ("ganvae_core", "plugins", "tests", "benchmarks"):
        counts = by_package(ROOT / folder)
        print(f"{folder:<24}{counts.total():>7,}")
        for name, count in sorted(counts.items()):
            print(f"  {name:<22}{count:>7,}")
        if folder == "ganvae_core":
            small = sum(counts[name] for name in SMALL_CORE)
            print(f"  root, engine, config, data and store together: {small:,}")


if __name__ == "__main__":
    main()
