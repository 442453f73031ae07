"""Random numbers are a function of (seed, step, phase, row), and the user's own stay where they were."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import pytest
import torch
from toys import FromPhases, engine, model, rows, same, state

import ganvae_core as gv
from ganvae_core.data.randomness import (
    borrowed_randomness,
    default_generator,
    mixed_seed,
    permuted,
    purpose,
)
from ganvae_core.evaluation.sampling import sample_rows

CPU = torch.device("cpu")


def noisy(notes: list[torch.Tensor] | None = None) -> FromPhases:
    """Two phases that draw as many numbers as they like."""

    def phases(objective: Any) -> list[gv.Phase]:
        def loss(batch: gv.Batch) -> gv.Loss:
            noise = torch.randn(len(batch.x), 3)
            if notes is not None:
                notes.append(noise)
            made = objective.model.sample(len(batch.x))
            return gv.Loss((made - batch.x - noise).square().mean())

        return [
            gv.Phase("one", loss, trains=[objective.model.generator]),
            gv.Phase("two", loss, trains=[objective.model.generator]),
        ]

    return FromPhases(model(encoder=False), phases)


def test_one_seed_gives_the_same_weights_bit_for_bit_and_another_seed_others() -> None:
    first, again, other = (engine(noisy(), seed=seed).fit() for seed in (3, 3, 4))
    assert same(state(first.objective), state(again.objective))
    assert same(state(first.model), state(again.model))
    assert not same(state(first.objective), state(other.objective))


def test_what_was_drawn_before_does_not_matter() -> None:
    first = engine(noisy()).fit()
    torch.manual_seed(123)
    torch.rand(5)
    assert same(state(first.objective), state(engine(noisy()).fit().objective))


def test_steps_phases_and_seeds_draw_different_numbers() -> None:
    drawn: list[torch.Tensor] = []
    engine(noisy(drawn), steps=3).fit()
    engine(noisy(drawn), steps=1, seed=1).fit()
    assert len(drawn) == 8
    assert len({tuple(noise.flatten().tolist()) for noise in drawn}) == 8


def test_the_users_random_states_are_unchanged_by_building_fitting_and_measuring() -> None:
    training = engine(noisy(), metrics=[])
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    training.fit()
    sample_rows(training.model, 10, 0, CPU)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.random.get_state()[1].tolist() == before[2]


def test_the_users_random_state_comes_back_after_an_error_too() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()

    def fail() -> None:
        with borrowed_randomness(CPU) as generator:
            generator.manual_seed(1)
            torch.rand(3)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_seeding_the_default_generator_is_what_manual_seed_does() -> None:
    with borrowed_randomness(CPU):
        default_generator(CPU).manual_seed(17)
        seeded = torch.rand(4)
        torch.manual_seed(17)
        assert torch.equal(torch.rand(4), seeded)


def test_mixed_seeds_are_64_bits_differ_and_stay_what_they_are() -> None:
    parts = [
        (seed, step, phase, row)
        for seed in range(4)
        for step in range(20)
        for phase in (0, 1)
        for row in (0, 64)
    ]
    seeds = [mixed_seed(*each) for each in parts]
    assert len(set(seeds)) == len(parts)
    assert len({seed & 0xFFFFFFFF for seed in seeds}) == len(parts)  # a CPU generator takes 32 bits of them
    assert all(0 <= seed < 1 << 64 for seed in seeds)
    assert mixed_seed(1, 2) != mixed_seed(2, 1)
    assert mixed_seed(0) != mixed_seed(0, 0)
    # Checkpoints of older versions go on with these numbers: they must never change.
    assert mixed_seed(0) == 0xE220A8397B1DCDAF
    assert purpose("order of the data") == int.from_bytes(
        hashlib.sha256(b"order of the data").digest()[:8], "little"
    )


def test_the_first_samples_of_many_are_the_samples_of_few() -> None:
    own = model()
    few, many = sample_rows(own, 10, 7, CPU).x, sample_rows(own, 300, 7, CPU).x
    assert torch.equal(few, many[:10])
    assert many.shape == (300, 3)
    assert not torch.equal(sample_rows(own, 10, 8, CPU).x, few)
    assert not torch.equal(many[256:], many[:44])  # the second chunk is not the first again


def test_the_order_of_the_rows_follows_from_the_seed() -> None:
    orders = []
    for seed in (0, 0, 1):
        training = engine(noisy(), data=rows(), seed=seed)
        orders.append(training._stream.batch_at(0).index.tolist())  # pyright: ignore[reportPrivateUsage]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("count", [1, 2, 3, 5, 31, 32, 33, 1000, 4097])
def test_a_computed_order_has_every_row_once_and_any_part_of_it_by_itself(count: int) -> None:
    whole = permuted(np.arange(count), count, seed=1)
    assert sorted(whole.tolist()) == list(range(count))
    part = np.arange(count)[count // 3 :: 2]
    assert permuted(part, count, seed=1).tolist() == whole[part].tolist()
    assert count < 4 or permuted(np.arange(count), count, seed=2).tolist() != whole.tolist()


def test_the_order_of_a_billion_rows_takes_no_memory_and_leaves_no_pattern() -> None:
    count = 10**9
    images = permuted(np.arange(100_000), count, seed=3) / count
    assert abs(images.mean() - 0.5) < 4 / np.sqrt(12 * len(images))
    assert abs(np.corrcoef(images[1:], images[:-1])[0, 1]) < 4 / np.sqrt(len(images))
    in_tenths = np.histogram(images, 10, (0, 1))[0]
    assert (
        (in_tenths - 10_000) ** 2 / 10_000
    ).sum() < 28  # chi-squared with 9 degrees of freedom, once in 1,000


def test_computed_orders_put_every_row_at_every_place_equally_often() -> None:
    count, orders = 12, 2_400
    drawn = np.array([permuted(np.arange(count), count, seed) for seed in range(orders)])
    expected = orders / count
    seen = np.array([np.bincount(place, minlength=count) for place in drawn.T])
    assert ((seen - expected) ** 2 / expected).sum() < 174  # 121 degrees of freedom, once in 1,000
    steps = np.bincount(((drawn[:, 1:] - drawn[:, :-1]) % count).ravel(), minlength=count)[1:]
    assert ((steps - steps.mean()) ** 2 / steps.mean()).sum() < 30  # 10 degrees of freedom, once in 1,000
