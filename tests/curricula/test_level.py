"""What a training at a randomisation level sees."""

import dataclasses

import pytest
import torch

import curricula
import tasks
from tasks.spec import RANDOMIZATION_LEVELS


def drawn(spec, level, k=2000):
    return curricula.make(curricula.config.load("none"), spec, level, k, "cpu", 0).sample(torch.arange(k))


@pytest.mark.parametrize("name", tasks.known())
@pytest.mark.parametrize("level", RANDOMIZATION_LEVELS)
def test_a_level_draws_from_its_ranges_and_held_out_factors_never_move(name, level):
    spec = tasks.get(name)
    sample = drawn(spec, level)
    if level == "r0" or not spec.factors:
        assert isinstance(sample, torch.Tensor), "no randomisation"
        return
    difficulty, values = sample
    assert (difficulty == 0.5).all()
    assert values.shape == (2000, len(spec.factors))
    for factor, column in zip(spec.factors, values.T, strict=True):
        if factor.held_out or level not in factor.ranges:
            assert (column == factor.nominal).all()
            continue
        low, high = factor.ranges[level]
        margin = 0.02 * (high - low)
        assert low <= column.min() < low + margin
        assert high - margin < column.max() <= high
        assert column.mean().item() == pytest.approx((low + high) / 2, abs=2 * margin)


def test_a_level_that_moves_nothing_hands_no_factors_over():
    spec = dataclasses.replace(tasks.get("toy-reach"), factors=())
    assert isinstance(drawn(spec, "r3"), torch.Tensor)
