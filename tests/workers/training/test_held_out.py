"""What is held out is chosen by content and seed, and no prompt is on both sides."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.workers.trainer.render import Row
from tunesmith.workers.training.held_out import automatic_split, held_out


def rows(prompts: Sequence[int]) -> list[Row]:
    """One row for each prompt number; answers differ."""
    return [
        Row.of([10, 20 + prompt, 30, 1000 + example], b"\0\0\0\1", example)
        for example, prompt in enumerate(prompts)
    ]


@given(
    prompts=st.lists(st.integers(0, 30), min_size=1, max_size=80),
    share=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**31),
)
def test_a_prompt_is_on_one_side(prompts: list[int], share: float, seed: int) -> None:
    items = rows(prompts)
    chosen = held_out(items, share, seed)
    assert chosen == held_out(items, share, seed)
    apart = {prompts[example] for example in chosen}
    kept = {prompt for example, prompt in enumerate(prompts) if example not in chosen}
    assert not apart & kept
    assert len(chosen) <= max(1, round(share * len(prompts)))
    assert len(chosen) < len(prompts)


@given(
    examples=st.lists(st.sets(st.integers(0, 12), min_size=1, max_size=4), min_size=1, max_size=25),
    share=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**31),
)
def test_no_prompt_of_an_example_of_several_rows_is_on_both_sides(
    examples: list[set[int]], share: float, seed: int
) -> None:
    items = [
        Row.of([20 + prompt, 30, 1000 + example], b"\0\0\1", example)
        for example, prompts in enumerate(examples)
        for prompt in sorted(prompts)
    ]
    chosen = held_out(items, share, seed)
    assert chosen == held_out(items[::-1], share, seed)
    apart = set().union(*(examples[example] for example in chosen))
    kept = set().union(*(each for n, each in enumerate(examples) if n not in chosen))
    assert not apart & kept
    assert len(chosen) <= max(1, round(share * len(examples)))
    if all(len(each) == 1 for each in examples) and len(set.union(*examples)) == len(examples) > 2:
        assert chosen


def test_with_prompts_of_their_own_the_share_is_met() -> None:
    items = rows(range(200))
    assert len(held_out(items, 0.1, 1)) == 20
    assert held_out(items, 0.1, 1) != held_out(items, 0.1, 2)
    assert held_out(items, 0.0, 1) == set()


@pytest.mark.parametrize(
    ("examples", "share"), [(10, 0), (49, 0), (50, 0.1), (2000, 0.1), (20_000, 0.01)]
)
def test_a_tenth_is_held_out_but_not_of_few_and_at_most_200(examples: int, share: float) -> None:
    assert automatic_split(examples) == share
