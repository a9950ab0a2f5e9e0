"""Each check by itself: what it finds, how bad it says it is, and where it keeps quiet."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.data_report.balance import (
    check_balance,
    check_production,
    rebalanced_rows,
    total_variation,
)
from tunesmith.platform.data_report.contradictions import (
    check_contradictions,
    find_contradictions,
)
from tunesmith.platform.data_report.enough_examples import check_enough
from tunesmith.platform.data_report.exact_duplicates import check_exact_duplicates
from tunesmith.platform.data_report.finding import Finding, Severity
from tunesmith.platform.data_report.labels import is_categorical
from tunesmith.platform.data_report.leakage import check_leakage
from tunesmith.platform.data_report.near_duplicates import near_duplicate_groups
from tunesmith.platform.data_report.table import Table
from tunesmith.platform.examples import Example


def table_of(*pairs: tuple[str, str]) -> Table:
    return Table.of(
        Example(
            line,
            [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": asked},
                {"role": "assistant", "content": said},
            ],
        )
        for line, (asked, said) in enumerate(pairs, 1)
    )


def labelled(**counts: int) -> Table:
    return table_of(*((f"{n} of {k}", k) for k, count in counts.items() for n in range(count)))


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_a_copy_in_other_case_is_a_duplicate_and_the_first_row_the_original() -> None:
    table = table_of(("Where is it?", "A"), ("b", "B"), (" where IS it? ", "a"), ("b", "C"))
    finding = only(check_exact_duplicates(table))
    assert finding.rows == (3,)
    assert finding.count == 1


def contradicting(pairs: int) -> list[tuple[str, str]]:
    """Questions with labels, and twice as many rows as `pairs` that contradict each other."""
    return [(f"question {n}", ("yes", "no")[n % 2]) for n in range(32)] + [
        (f"same {n}", answer) for n in range(pairs) for answer in ("yes", "no")
    ]


def test_contradictions_block_only_above_a_fifth() -> None:
    at_a_fifth = table_of(*contradicting(4))
    assert find_contradictions(at_a_fifth).share == 0.2
    assert only(check_contradictions(at_a_fifth)).severity is Severity.WARNS
    finding = only(check_contradictions(table_of(*contradicting(5))))
    assert finding.severity is Severity.BLOCKS
    assert finding.rows == tuple(range(33, 43))


def test_texts_in_several_ways_for_one_prompt_do_not_block() -> None:
    slogans = [
        ("Write a slogan.", f"Number {n} is the one that you will never want to miss.")
        for n in range(40)
    ]
    found = find_contradictions(table_of(*slogans))
    assert (found.share, found.blocks) == (1.0, False)
    assert only(check_contradictions(table_of(*slogans))).severity is Severity.WARNS


def test_the_same_answer_twice_is_no_contradiction() -> None:
    assert not check_contradictions(table_of(("a", "Yes."), ("a", "yes"), ("b", "no")))


def test_preferences_contradict_when_one_prefers_what_another_rejects() -> None:
    def preference(line: int, good: str, bad: str) -> Example:
        return Example(
            line,
            [{"role": "user", "content": "which?"}],
            preferred=[{"role": "assistant", "content": good}],
            rejected=[{"role": "assistant", "content": bad}],
        )

    different = Table.of([preference(1, "a", "b"), preference(2, "c", "b")])
    assert not find_contradictions(different).groups
    turned = Table.of([preference(1, "a", "b"), preference(2, "b", "a")])
    assert find_contradictions(turned).share == 1


@pytest.mark.parametrize(
    "other",
    [
        "My blue parcel has still not arrived at the office, please help me",
        "my blue parcel has still not arived at the office please help",
        "My blue parcel -- has still NOT arrived at the office. Please help!",
    ],
)
def test_a_small_change_is_a_near_duplicate(other: str) -> None:
    table = table_of(
        ("My blue parcel has still not arrived at the office, please help", "orders"),
        ("I would like to close my account and have my data erased", "orders"),
        (other, "orders"),
    )
    assert near_duplicate_groups(table) == [[0, 2]]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 1512 divided by 12, as a whole number?", "What is 1512 divided by 14?"),
        (
            "Order 4711 has not arrived at my house yet",
            "Order 4712 has not arrived at my house yet",
        ),
        ("yes", "yes!"),
    ],
)
def test_other_numbers_ask_something_else(one: str, other: str) -> None:
    table = table_of((one, "a long enough answer"), (other, "something quite different"))
    assert not near_duplicate_groups(table)


def test_a_shared_instruction_does_not_make_rows_alike() -> None:
    instruction = "Sort the following message into one of the queues billing, orders, returns: "
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghij", k=5)) for _ in range(200)]
    table = table_of(*((instruction + " ".join(rng.choices(words, k=6)), "x") for _ in range(80)))
    assert not near_duplicate_groups(table)


def test_leakage_names_lines_of_the_validation_file() -> None:
    training = table_of(
        ("Where is the parcel I ordered last week?", "orders"),
        ("Please delete everything you know about me", "privacy"),
    )
    validation = table_of(
        ("An entirely new question about opening hours", "other"),
        ("where is the parcel I ordered last week?", "orders"),
        ("Please delete everything you now know about me!", "privacy"),
    )
    exact, near = check_leakage(training, validation)
    assert (exact.check, exact.rows) == ("leakage", (2,))
    assert (near.check, near.rows) == ("near_leakage", (3,))
    assert not check_leakage(training, table_of(("What else is there to see in Oslo?", "x")))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["yes", "no"] * 5, True),
        (["Yes.", "yes", "NO", "no"] * 5, True),
        (["yes"] * 10, False),
        ([f"a text {n}" for n in range(50)], False),
        (["yes", "no"] * 30 + ["I am sorry, but I can't help with that, as I am a model."], True),
        ([str(n) for n in range(40)] * 6, False),
        ([str(n % 5) for n in range(40)], True),
        ([], False),
    ],
)
def test_categories_are_few_short_answers_given_again(answers: list[str], expected: bool) -> None:
    assert is_categorical(answers) is expected


def test_the_distance_from_production_is_quantified() -> None:
    table, production = labelled(refund=900, order=100), labelled(refund=90, order=210)
    finding = only(check_production(table, production))
    assert finding.severity is Severity.WARNS
    assert "90% of these answers and 30% of production" in finding.message
    assert finding.details["total_variation"] == pytest.approx(0.6)
    assert finding.details["chi_square_p"] < 1e-6


def test_a_like_production_sample_is_only_a_note() -> None:
    finding = only(check_production(labelled(a=500, b=500), labelled(a=52, b=48)))
    assert finding.severity is Severity.NOTE


def test_labels_that_only_production_has_are_named() -> None:
    findings = check_production(labelled(a=50, b=50), labelled(a=30, b=30, c=30))
    assert {finding.check for finding in findings} == {"production_shift", "unseen_labels"}


@given(st.integers(20, 200), st.integers(20, 200), st.integers(5, 50), st.integers(5, 50))
def test_a_rebalanced_set_is_spread_as_production(a: int, b: int, pa: int, pb: int) -> None:
    table, production = labelled(a=a, b=b), labelled(a=pa, b=pb)
    rows = rebalanced_rows(table, production)
    kept = [table.answers[row] for row in rows]
    assert rows == sorted(set(rows))
    assert max(kept.count("a") / a, kept.count("b") / b) > 0.95  # nothing left out without need
    share = kept.count("a") / len(kept)
    assert abs(share - pa / (pa + pb)) <= 1 / len(kept) + 1e-9


def test_without_production_labels_become_even() -> None:
    table = labelled(a=900, b=100)
    kept = [table.answers[row] for row in rebalanced_rows(table)]
    assert kept.count("a") == kept.count("b") == 100
    with pytest.raises(ValueError, match="no categories"):
        rebalanced_rows(table_of(("a", "some text"), ("b", "another")))


def test_a_dominant_label_rare_labels_and_spellings_are_findings() -> None:
    table = labelled(a=180, b=25, c=3)
    table.answers[0] = "A "
    found = {finding.check: finding for finding in check_balance(table)}
    assert found["label_imbalance"].details == {"label": "a", "rows": 180}
    assert found["rare_labels"].details == {"labels": {"c": 3}}
    assert found["label_spelling"].rows == (1,)


def test_one_answer_for_everything_warns() -> None:
    finding = only(check_balance(labelled(a=20)))
    assert (finding.check, finding.severity) == ("label_imbalance", Severity.WARNS)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1))
def test_total_variation_is_zero_with_itself_and_one_with_the_disjoint(
    counts: dict[str, int],
) -> None:
    total = sum(counts.values())
    shares = {label: count / total for label, count in counts.items()}
    assert total_variation(shares, shares) == 0
    assert total_variation(shares, {"z": 1.0}) == pytest.approx(1)


@pytest.mark.parametrize(
    ("distinct", "severity"),
    [
        (9, Severity.BLOCKS),
        (10, Severity.WARNS),
        (49, Severity.WARNS),
        (50, Severity.NOTE),
        (999, Severity.NOTE),
        (1000, None),
    ],
)
def test_copies_do_not_count_as_examples(distinct: int, severity: Severity | None) -> None:
    findings = check_enough(5000, distinct)
    assert [finding.severity for finding in findings] == ([severity] if severity else [])
