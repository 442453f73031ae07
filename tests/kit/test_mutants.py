"""Each broken plugin is noticed by the check that is meant for it, by that alone, and at the right place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ganvae_kit import CHECKS, Outcome, checks_of, held, open_plugins
from mutants import MUTANTS, Mutant, write_project


@pytest.mark.usefixtures("projects_removed")
@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_broken_promise_is_noticed_by_its_check_and_no_other(mutant: Mutant, tmp_path: Path) -> None:
    project = mutant.write(tmp_path)
    failed = [outcome for outcome in outcomes(project, mutant) if outcome.state == "failed"]
    assert [outcome.check for outcome in failed] == [mutant.check], failed
    assert (failed[0].place.file, failed[0].place.line) in mutant.places(project), failed[0].message
    assert re.search(mutant.says, failed[0].message), failed[0].message


def outcomes(project: Path, mutant: Mutant) -> list[Outcome]:
    (plugin,) = open_plugins(project)
    subjects = [subject for subject in plugin.subjects if mutant.concerns(subject.label)]
    return [held(check, subject) for subject in subjects for check in checks_of(subject)]


@pytest.mark.usefixtures("projects_removed")
def test_what_all_mutants_are_made_of_passes_every_check(tmp_path: Path) -> None:
    (plugin,) = open_plugins(write_project(tmp_path))
    for subject in plugin.subjects:
        for check in checks_of(subject):
            assert held(check, subject).state != "failed", held(check, subject)


def test_there_is_a_mutant_for_every_check() -> None:
    assert set(CHECKS) == {mutant.check for mutant in MUTANTS}
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 105
