"""Random draws that are written down for a batch, and given again to its halves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from ganvae_kit.checks import CheckFailure, NotChecked
from ganvae_kit.random_draws import cut as cut_batch
from ganvae_kit.random_draws import drawn
from torch import Tensor
from torch.nn import functional as F

ROWS = 14


def nobody(file: str) -> bool:
    return False


def cut(call: Callable[[int], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """What a function of the number of rows gives for a batch and its halves, with draws that agree."""
    whole, first, second = cut_batch(nobody, (ROWS, ROWS // 2, ROWS // 2), ROWS, call)
    return whole(), first(), second()


BY_ROWS = {
    "normal": lambda rows: torch.randn(rows, 3),
    "like": lambda rows: torch.rand_like(torch.zeros(rows, 2, 2)),
    "in place": lambda rows: torch.empty(rows, 2).uniform_(),
    "whole numbers": lambda rows: torch.randint(4, (rows,)).float(),
    "bernoulli": lambda rows: torch.bernoulli(torch.full((rows, 2), 0.5)),
    "dropout": lambda rows: F.dropout(torch.ones(rows, 3), 0.5),
    "gamma": lambda rows: torch._standard_gamma(torch.ones(rows, 2)),  # pyright: ignore
    "classes": lambda rows: torch.multinomial(torch.ones(5), rows, replacement=True).float(),
    "several draws, then rows": lambda rows: torch.randn(4, rows, 3).transpose(0, 1),
}


@pytest.mark.parametrize("name", list(BY_ROWS))
def test_a_row_gets_the_same_numbers_in_its_half_as_in_the_batch(name: str) -> None:
    whole, first, second = cut(BY_ROWS[name])
    assert torch.equal(whole, torch.cat([first, second]))
    assert len(whole.unique()) > 1


def test_draws_that_have_nothing_to_do_with_rows_are_shared() -> None:
    whole, first, second = cut(lambda rows: torch.randn(5, 3))
    assert torch.equal(whole, first)
    assert torch.equal(whole, second)


def test_draws_of_which_rows_cannot_be_told_are_all_alike() -> None:
    whole, first, second = cut(lambda rows: torch.randn(3 * rows, 2))
    assert (whole == whole[0]).all()
    assert torch.equal(whole[: len(first)], first)
    assert torch.equal(first, second)


def test_a_permutation_of_rows_is_one_of_each_half() -> None:
    whole, first, second = cut(lambda rows: torch.randperm(rows).float())
    assert sorted(whole.tolist()) == list(range(ROWS))
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(7))
    assert not torch.equal(whole, torch.cat([first, second + 7])), "it is no permutation within the halves"


def test_numbers_of_rows_tie_rows_together() -> None:
    with pytest.raises(CheckFailure, match="draws row numbers"):
        cut(lambda rows: torch.randint(rows, (rows,)).float())


def test_draws_that_cannot_be_matched_are_said() -> None:
    with pytest.raises(NotChecked, match="14 random draws and one of 7"):
        cut(lambda rows: torch.stack([torch.randn(2) for _ in range(rows)]))
    with pytest.raises(NotChecked, match="cannot be compared"):
        cut(lambda rows: torch.randn(rows + 1))


def test_a_generator_that_was_handed_over_is_noticed() -> None:
    with drawn(nobody) as draws:
        torch.randn(2)
        torch.randn(2, generator=torch.Generator())
        torch.empty(2).normal_(generator=torch.Generator())
    assert [draw.own_generator for draw in draws] == [False, True, True]
