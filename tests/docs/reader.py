"""A reader who does all that a page says, from top to bottom, in one folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, Block

from ganvae_core.cli import main
from ganvae_core.plugins import installed_plugins

NUMBER = re.compile(r"[-+−]?\d[\d,.]*(e[-+]?\d+)?")


@dataclass
class Reader:
    """Executes blocks.

    Args:
        folder: where the reader works.
        capture: pytest's, for what commands print.
        patch: pytest's, for what commands install.
        namespace: of the page's Python blocks.
    """

    folder: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "page"})

    def follow(self, block: Block, where: str) -> None:
        """Do what a block says; a failure names the page and the line."""
        if block.title:
            file = self.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile("\n" * block.line + block.text, where, "exec"), self.namespace)
        elif block.language == "console":
            for command, shown in commands(block.text):
                self.type_in(command, shown, where)

    def type_in(self, command: str, shown: list[str], where: str) -> None:
        """Execute a command, and hold what the page shows of its output against what it printed."""
        words = shlex.split(command, comments=True)
        target = words[words.index(">") + 1] if ">" in words else None
        words = words[: words.index(">")] if target else words
        if words[0] != "ganvae":
            self._set_up(words, f"{where}: {command}")
            return
        if words[1:3] in (["plugins", "install"], ["plugins", "uninstall"]):
            words = [*words[:3], "--help"]  # what would change this very environment is not done
        if words[1] == "explore":
            words = [
                *words[:2],
                "--help",
            ]  # its runtime is a download, and its server does not end; tests/explore does it
        code, output, errors = self._ganvae(words[1:])
        if target:
            (self.folder / target).write_text(output, encoding="utf-8")
        expected = 2 if shown and shown[0].startswith("error:") else 0
        assert code == expected, f"{where}: `{command}` ended with {code}:\n{output}{errors}"
        printed = [plain(line) for line in (output + errors).splitlines()]
        for line in shown:
            if line.strip() not in ("", "…") and "━" not in line:
                assert plain(line) in printed, (
                    f"{where}: `{command}` did not print\n{line}\nbut\n{output}{errors}"
                )

    def _ganvae(self, arguments: list[str]) -> tuple[int, str, str]:
        self.capture.readouterr()
        code = main(arguments)
        output, errors = self.capture.readouterr()
        return code, output, errors

    def _set_up(self, words: list[str], what: str) -> None:
        """Commands of other programs: those that would set up this very environment are checked, not done."""
        if words[0] == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(words[1:]) <= set(targets), what
        elif words[:2] == ["pip", "install"] and (self.folder / words[-1] / "pyproject.toml").is_file():
            self._install(self.folder / words[-1])
        elif words[:2] == ["pip", "install"]:
            files = [words[index + 1] for index, word in enumerate(words) if word == "-c"]
            assert all((ROOT / file).is_file() for file in files), what
        else:
            raise AssertionError(f"{what}: this reader knows no {words[0]}")

    def _install(self, project: Path) -> None:
        """Install a distribution that the page writes, where this process finds it."""
        site = self.folder / "site-packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
        pip += ["--no-deps", "--no-build-isolation", "--target", str(site), str(project)]
        subprocess.run(pip, check=True)
        self.patch.syspath_prepend(str(site))
        installed_plugins.cache_clear()


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that are shown under it."""
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


def plain(line: str) -> str:
    """A line without what differs between machines and lengths of training: numbers, and the width of gaps."""
    return " ".join(NUMBER.sub("#", line).split())
