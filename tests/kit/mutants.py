"""Plugins that break one promise each: the specimen with a change that ``mutants.txt`` describes."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SPECIMEN = HERE / "specimen"
PACKAGE = "ganvae_specimen"
SUBJECTS = {
    "objective.py": ("objective/contrast",),
    "networks.py": ("generator/plain", "encoder/plain", "critic/plain"),
    "densities.py": ("prior/logistic", "observation/laplace"),
    "rows.py": ("source/spiral",),
    "watchers.py": ("metric/spread", "callback/tally"),
    "recipes/specimen.yaml": ("recipe/specimen",),
}
"""What a change of a file can concern. A change of the description concerns the plugin, and what it names."""


@dataclass(frozen=True)
class Mutant:
    """The specimen with one change.

    Args:
        name: what is wrong with it.
        file: below the package.
        check: the name of the check that must fail, the only one.
        says: a pattern that its message must match.
        before: lines of the file.
        after: what they are replaced by.
        at: text of the line that the failure must name.
        at_file: where that line is.
    """

    name: str
    file: str
    check: str
    says: str
    before: str
    after: str
    at: str
    at_file: str

    def write(self, folder: Path, package: str = PACKAGE) -> Path:
        """Write the mutant as a project under another package name, and return its folder."""
        project = write_specimen(folder, package)
        target = self._path(project, package, self.file)
        text = "\n" + target.read_text("utf-8")
        before, after = (f"\n{part}\n".replace(PACKAGE, package) for part in (self.before, self.after))
        assert text.count(before) == 1, (
            f"{self.name}: the lines to be changed are there {text.count(before)} times"
        )
        target.write_text(text.replace(before, after)[1:], "utf-8")
        return project

    def place(self, project: Path, package: str = PACKAGE) -> tuple[str, int]:
        """The file and the line that the failure must name."""
        target = self._path(project, package, self.at_file)
        wanted = self.at.strip().replace(PACKAGE, package)
        lines = target.read_text("utf-8").splitlines()
        return str(target), next(number for number, line in enumerate(lines, 1) if wanted in line)

    def concerns(self, label: str) -> bool:
        """Whether a subject is looked at."""
        described = ("plugin", "callback/tally") if self.check == "target" else ("plugin",)
        return label in SUBJECTS.get(self.file, described)

    @staticmethod
    def _path(project: Path, package: str, file: str) -> Path:
        return (project / "src" / package / file).resolve()


def write_specimen(folder: Path, package: str = PACKAGE) -> Path:
    """The specimen as a project, under another package name."""
    project = folder / "project"
    shutil.copytree(SPECIMEN, project, ignore=shutil.ignore_patterns("__pycache__"))
    if package != PACKAGE:
        (project / "src" / PACKAGE).rename(project / "src" / package)
        for path in project.rglob("*"):
            if path.suffix in (".py", ".toml"):
                path.write_text(re.sub(rf"\b{PACKAGE}\b", package, path.read_text("utf-8")), "utf-8")
    return project


def read(text: str) -> list[Mutant]:
    """The mutants of a text: blocks between empty lines, of a name, fields and a diff."""
    blocks = [block.splitlines() for block in re.split(r"\n{2,}", text.strip()) if not block.startswith("#")]
    return [_mutant(block) for block in blocks]


def _mutant(lines: list[str]) -> Mutant:
    fields = dict(line.split(": ", 1) for line in lines[1:] if re.match(r"(file|check|says|at): ", line))
    change = [line for line in lines[1:] if line[0] in " +-"]
    assert len(lines) == 1 + len(fields) + len(change), lines
    at = fields.get("at") or next(line[1:] for line in change if line[0] == "+")
    at_file, bar, text = at.partition(" | ")
    return Mutant(
        lines[0],
        fields["file"],
        fields["check"],
        fields["says"],
        before="\n".join(line[1:] for line in change if line[0] in " -"),
        after="\n".join(line[1:] for line in change if line[0] in " +"),
        at=text if bar else at,
        at_file=at_file if bar else fields["file"],
    )


MUTANTS = read((HERE / "mutants.txt").read_text("utf-8"))
