"""What is held out is chosen by content and seed, and no prompt is on both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from string import ascii_lowercase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.platform.examples import Example
from tunesmith.platform.storage import Storage
from tunesmith.workers.training.held_out import (
    HeldOut,
    Split,
    automatic_split,
    key_of,
    read_lines,
    store,
)


def chat(line: int, *texts: str) -> Example:
    """A conversation of `texts`, the user's first, all answers learned."""
    roles = ("user", "assistant")
    messages = [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]
    return Example(line, messages)


def split(prompts: Sequence[str], answers: Sequence[str] | None = None) -> Split:
    """Of one example for each prompt; without `answers` each has its own."""
    given_ = answers or [f"answer {n} of its own" for n in range(len(prompts))]
    return Split.of(chat(n + 1, *pair) for n, pair in enumerate(zip(prompts, given_, strict=True)))


def own(number: int) -> str:
    """A prompt of seven words of its own."""
    letters = Random(number)
    return " ".join("".join(letters.choices(ascii_lowercase, k=7)) for _ in range(7))


@settings(deadline=None, max_examples=40)
@given(
    prompts=st.lists(st.integers(0, 30), min_size=1, max_size=80),
    labels=st.lists(st.sampled_from("abc"), min_size=80, max_size=80),
    share=st.floats(0.01, 0.5),
    seed=st.integers(0, 2**31),
)
def test_a_prompt_is_on_one_side(
    prompts: list[int], labels: list[str], share: float, seed: int
) -> None:
    examples = split([own(prompt) for prompt in prompts], labels[: len(prompts)])
    chosen = examples.held_out(share, seed).rows
    assert chosen == examples.held_out(share, seed).rows
    apart = {prompts[row] for row in chosen}
    kept = {prompt for row, prompt in enumerate(prompts) if row not in chosen}
    assert not apart & kept
    assert len(chosen) <= max(1, round(share * len(prompts)))
    assert len(chosen) < len(prompts)


@settings(deadline=None, max_examples=40)
@given(
    conversations=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=3), max_size=25),
    seed=st.integers(0, 2**31),
)
def test_no_held_out_prompt_was_answered_within_a_longer_conversation(
    conversations: list[list[int]], seed: int
) -> None:
    def texts(asked: list[int]) -> list[str]:
        return [text for number in asked for text in (own(number), f"answer {number}")]

    chosen = (
        Split.of(chat(n + 1, *texts(asked)) for n, asked in enumerate(conversations))
        .held_out(0.3, seed)
        .rows
    )
    trained = {
        tuple(asked[:turns])
        for row, asked in enumerate(conversations)
        if row not in chosen
        for turns in range(1, len(asked) + 1)
    }
    assert not {tuple(conversations[row]) for row in chosen} & trained


def test_with_prompts_of_their_own_the_share_is_met() -> None:
    examples = split([own(number) for number in range(200)])
    assert len(examples.held_out(0.1, 1).rows) == 20
    assert examples.held_out(0.1, 1) != examples.held_out(0.1, 2)
    assert examples.held_out(0.0, 1) == HeldOut(frozenset())


def test_a_near_duplicate_of_a_trained_prompt_is_not_held_out() -> None:
    # Forty prompts, each in four spellings.
    prompts = [
        text
        for number in range(40)
        for text in (
            own(number),
            own(number).replace(" ", ", ").upper() + "!",
            own(number)[:9] + own(number)[10:],
            f"{own(number)} now",
        )
    ]
    examples = split(prompts)
    for seed in range(5):
        chosen = examples.held_out(0.2, seed)
        assert chosen.near_apart
        assert len(chosen.rows) == 32
        assert all(count == 4 for count in Counter(row // 4 for row in chosen.rows).values())


def test_where_all_prompts_are_nearly_the_same_equal_ones_are_kept_apart_and_it_is_said() -> None:
    # Chains: each prompt is the one before less its first word, with one more at its end.
    words = [own(n).split()[0] for n in range(400)]
    prompts = [" ".join(words[n // 2 : n // 2 + 20]) for n in range(200)]
    chosen = split(prompts).held_out(0.1, 3)
    assert not chosen.near_apart
    assert len(chosen.rows) == 20
    assert all(row ^ 1 in chosen.rows for row in chosen.rows)


def test_a_template_that_all_share_does_not_make_them_alike() -> None:
    template = "You sort tickets for a shop that sells lamps. Answer with one word. The ticket: "
    chosen = split([template + own(number) for number in range(100)]).held_out(0.1, 3)
    assert len(chosen.rows) == 10
    assert chosen.near_apart


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.integers(5, 80), min_size=2, max_size=6),
    share=st.floats(0.05, 0.5),
    seed=st.integers(0, 99),
)
def test_each_answer_has_its_share(sizes: list[int], share: float, seed: int) -> None:
    labels = [f"label {n}" for n, size in enumerate(sizes) for _ in range(size)]
    chosen = split([own(row) for row in range(len(labels))], labels).held_out(share, seed)
    assert chosen.stratified
    wanted = max(1, round(share * len(labels)))
    assert len(chosen.rows) == wanted
    have = Counter(labels[row] for row in chosen.rows)
    for n, size in enumerate(sizes):
        exact = wanted * size / len(labels)
        # A label that would have had none takes one of the others'.
        assert exact - len(sizes) < have[f"label {n}"] < max(2, exact + 1)
        if wanted >= len(sizes):
            assert have[f"label {n}"] >= 1


@settings(deadline=None, max_examples=40)
@given(
    groups=st.lists(
        st.tuples(st.integers(1, 6), st.sampled_from("abcd")), min_size=20, max_size=60
    ),
    seed=st.integers(0, 99),
)
def test_a_label_is_shown_and_still_trained_on(groups: list[tuple[int, str]], seed: int) -> None:
    prompts = [own(n) for n, (size, _) in enumerate(groups) for _ in range(size)]
    labels = [label for size, label in groups for _ in range(size)]
    chosen = split(prompts, labels).held_out(0.3, seed)
    trained = {label for row, label in enumerate(labels) if row not in chosen.rows}
    if chosen.stratified:
        assert trained == set(labels)
        shown = {labels[row] for row in chosen.rows}
        frequent = {k for k, count in Counter(label for _, label in groups).items() if count >= 5}
        assert frequent <= shown


def test_many_examples_are_grouped_as_few_are() -> None:
    prompts = [own(row) if row % 2 == 0 else f"{own(row - 1)} again" for row in range(2400)]
    chosen = split(prompts).held_out(0.1, 5)
    assert chosen.near_apart
    assert len(chosen.rows) == 240
    alone = [row for row in chosen.rows if row ^ 1 not in chosen.rows]
    assert len(alone) <= 1


@pytest.mark.parametrize(
    ("examples", "share"),
    [(10, 0), (49, 0), (50, 0.2), (100, 0.2), (160, 0.125), (2000, 0.1), (20_000, 0.01)],
)
def test_a_tenth_is_held_out_but_not_of_few_at_least_20_and_at_most_200(
    examples: int, share: float
) -> None:
    assert automatic_split(examples) == share


def test_what_is_held_out_is_stored_as_it_was_and_names_its_lines(storage: Storage) -> None:
    examples = [chat(3 * n + 2, own(n), "yes") for n in range(10)]
    storage.put("examples/a", b"".join(example.to_json() for example in examples))
    key = key_of("ftjob-a")
    assert key == "jobs/ftjob-a/held-out.jsonl"
    store(storage, "examples/a", [8, 20], key)
    assert storage.get(key) == examples[2].to_json() + examples[6].to_json()
    assert read_lines(storage, key) == [8, 20]
