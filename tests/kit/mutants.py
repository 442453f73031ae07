"""Plugins that break one promise each: the specimen with a change that ``mutants.txt`` describes."""

from __future__ import annotations

import ast
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROJECTS = {name: HERE / name for name in ("specimen", "gallery")}
PACKAGE = "ganvae_mutant"
"""What a mutant's package is called, so that it is not taken for what it is made of."""
SUBJECTS = {
    "objective.py": ("objective/contrast",),
    "networks.py": ("generator/plain", "encoder/plain", "critic/plain"),
    "densities.py": ("prior/logistic", "observation/laplace"),
    "rows.py": ("source/spiral",),
    "watchers.py": ("metric/spread", "callback/tally"),
    "recipes/specimen.yaml": ("recipe/specimen",),
}
"""What a change of a file can concern. A change of the description concerns the plugin, and what it names."""
CLASSES = {
    "Contrast": "objective/contrast",
    "Plain": "generator/plain",
    "PlainEncoder": "encoder/plain",
    "PlainCritic": "critic/plain",
    "Logistic": "prior/logistic",
    "LaplaceData": "observation/laplace",
    "Laplace": "observation/laplace",
    "Spiral": "source/spiral",
    "Spread": "metric/spread",
    "Tally": "callback/tally",
}


DESCRIBING = ("../../pyproject.toml", "plugin.py", "__init__.py", "recipes/specimen.yaml")
"""Files of which a failure may name the first line."""


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
        of: the only subject that is looked at; by default all that the file concerns.
        made_of: ``specimen`` or ``gallery``.
    """

    name: str
    file: str
    check: str
    says: str
    before: str
    after: str
    at: str
    at_file: str
    of: str
    made_of: str

    def write(self, folder: Path) -> Path:
        """Write the mutant as a project, and return its folder."""
        project = write_project(folder, self.made_of)
        target = self._path(project, self.file)
        text = "\n" + target.read_text("utf-8")
        before, after = (f"\n{part}\n".replace(self._package, PACKAGE) for part in (self.before, self.after))
        assert text.count(before) == 1, (
            f"{self.name}: the lines to be changed are there {text.count(before)} times"
        )
        target.write_text(text.replace(before, after)[1:], "utf-8")
        return project

    def places(self, project: Path) -> set[tuple[str, int]]:
        """The files and lines that the failure may name: that of the change or of ``at``, and what these are in."""
        target, changed_file = self._path(project, self.at_file), self._path(project, self.file)
        lines = target.read_text("utf-8").splitlines()
        wanted = self.at.strip().replace(self._package, PACKAGE)
        found = [number for number, line in enumerate(lines, 1) if wanted in line]
        change = self.after.splitlines()[-1].strip().replace(self._package, PACKAGE)
        changed = next((number for number, line in enumerate(lines, 1) if change in line), 0)
        places = {(str(target), n) for n in _around(target, min(found, key=lambda n: abs(n - changed)))}
        if changed and target == changed_file:
            places |= {(str(target), n) for n in _around(target, changed)}
        return places | ({(str(changed_file), 1)} if self.file in DESCRIBING else set())

    def concerns(self, label: str) -> bool:
        """Whether a subject is looked at."""
        if self.of or self._of_class():
            return label == (self.of or self._of_class())
        described = ("plugin", "callback/tally") if self.check == "target" else ("plugin",)
        return label in SUBJECTS.get(self.file, described)

    def _of_class(self) -> str:
        """The component whose class the change is in: the others of the file are as they were, and pass elsewhere."""
        file = PROJECTS[self.made_of] / "src" / self._package / self.file
        if self.made_of != "specimen" or not self.file.endswith(".py"):
            return ""
        before = file.read_text("utf-8").partition(self.before)[0]
        classes = re.findall(r"^class (\w+)|^(\w)", before, re.MULTILINE)
        inside = classes[-1][0] if classes else ""
        return CLASSES.get(inside, "")

    @property
    def _package(self) -> str:
        return f"ganvae_{self.made_of}"

    @staticmethod
    def _path(project: Path, file: str) -> Path:
        return (project / "src" / PACKAGE / file).resolve()


def _around(file: Path, line: int) -> list[int]:
    """A line, and where the functions and classes begin that it is in."""
    if file.suffix != ".py":
        return [line]
    try:
        tree = ast.parse(file.read_text("utf-8"))
    except SyntaxError:
        return [line]
    kinds = (ast.FunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [line, *(node.lineno for node in nodes if node.lineno <= line <= (node.end_lineno or line))]


def write_project(folder: Path, name: str = "specimen") -> Path:
    """A copy of the specimen or of the gallery as a project whose package is called as mutants' are."""
    project = folder / "project"
    shutil.copytree(PROJECTS[name], project, ignore=shutil.ignore_patterns("__pycache__"))
    package = f"ganvae_{name}"
    (project / "src" / package).rename(project / "src" / PACKAGE)
    for path in project.rglob("*"):
        if path.suffix in (".py", ".toml"):
            path.write_text(re.sub(rf"\b{package}\b", PACKAGE, path.read_text("utf-8")), "utf-8")
    return project


def read(text: str) -> list[Mutant]:
    """The mutants of a text: blocks between empty lines, of a name, fields and a diff."""
    blocks = [block.splitlines() for block in re.split(r"\n{2,}", text.strip()) if not block.startswith("#")]
    return [_mutant(block) for block in blocks]


def _mutant(lines: list[str]) -> Mutant:
    fields = dict(
        line.split(": ", 1) for line in lines[1:] if re.match(r"(in|file|of|check|says|at): ", line)
    )
    change = [line for line in lines[1:] if line[0] in " +-"]
    assert len(lines) == 1 + len(fields) + len(change), lines
    at = fields.get("at") or next(line[1:] for line in change if line[0] == "+")
    at_file, bar, text = at.partition(" | ") if "at" in fields else ("", "", "")
    return Mutant(
        lines[0],
        fields["file"],
        fields["check"],
        fields["says"],
        before="\n".join(line[1:] for line in change if line[0] in " -"),
        after="\n".join(line[1:] for line in change if line[0] in " +"),
        at=text if bar else at,
        at_file=at_file if bar else fields["file"],
        of=fields.get("of", ""),
        made_of=fields.get("in", "specimen"),
    )


MUTANTS = read((HERE / "mutants.txt").read_text("utf-8"))
