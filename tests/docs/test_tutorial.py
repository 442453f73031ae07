"""The tutorial, word for word: each file written, each command typed, in a fresh virtual environment."""

from __future__ import annotations

import shlex

import pytest
from pages import Block, blocks
from reader import commands, plain
from real_environment import RealEnvironment, ganvae_wheel
from test_examples import TUTORIAL
from warm import Done


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> RealEnvironment:
    folder = tmp_path_factory.mktemp("tutorial")
    return RealEnvironment(folder / "reader", ganvae_wheel(folder))


def typed(command: str, environment: RealEnvironment) -> Done:
    """A command's result: those that import torch begin with it."""
    words = shlex.split(command)
    if words[0] == "ganvae":
        return environment.ganvae(*words[1:])
    assert words[:2] == ["python", "-m"], command
    return environment.warm(words[2], *words[3:])


def follow(block: Block, environment: RealEnvironment) -> None:
    """Do what a block says, and hold what it shows against what was printed."""
    if block.title:
        path = environment.folder / block.title
        assert path.is_file(), f"{block.title}: the tutorial changes files that are there"
        path.write_text(block.text, encoding="utf-8")
    elif block.language == "console":
        for command, shown in commands(block.text):
            done = typed(command, environment)
            expected = 2 if shown and shown[0].startswith("error:") else 0
            assert done.code == expected, f"{command}\n{done.out}{done.err}"
            printed = [plain(line) for line in (done.out + done.err).splitlines()]
            for line in filter(str.strip, shown):
                assert plain(line) in printed, f"{command} did not print\n{line}\nbut\n{done.out}{done.err}"


def test_the_tutorial_can_be_followed_word_for_word(environment: RealEnvironment) -> None:
    for block in blocks(TUTORIAL):
        follow(block, environment)
    for tool in (("ruff", "check", "--no-cache"), ("ruff", "format", "--no-cache", "--check")):
        done = environment.run(environment.python, "-m", *tool, "ganvae-free-nats")
        assert done.code == 0, done.out


def test_a_command_that_fails_in_the_tutorial_is_noticed(environment: RealEnvironment) -> None:
    with pytest.raises(AssertionError, match="there is no plugin 'free-gnats'"):
        follow(Block("console", "", "$ ganvae run --plugin free-gnats\n", 1), environment)
    with pytest.raises(AssertionError, match="did not print"):
        follow(Block("console", "", "$ ganvae --version\nganvae of another name\n", 1), environment)
