"""Which users of a split get the candidate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.aliases.sticky import goes_to_candidate

SHARES = st.floats(0, 1)


@given(st.text(), st.text(st.characters()), SHARES, SHARES)
def test_a_user_stays_and_keeps_the_candidate_when_the_share_grows(
    alias: str, user: str, one: float, other: float
) -> None:
    few, many = sorted((one, other))
    alias = alias.encode(errors="ignore").decode()
    assert goes_to_candidate(alias, user, few) == goes_to_candidate(alias, user, few)
    assert goes_to_candidate(alias, user, few) <= goes_to_candidate(alias, user, many)
    assert not goes_to_candidate(alias, user, 0.0)
    assert goes_to_candidate(alias, user, 1.0)


def test_the_share_is_met_and_differs_between_aliases() -> None:
    users = [f"user-{number}" for number in range(10_000)]
    chosen = {
        alias: {user for user in users if goes_to_candidate(alias, user, 0.1)}
        for alias in ("alias_a", "alias_b")
    }
    # 10,000 draws at 0.1: the mean is 1,000 with a standard deviation of 30.
    assert all(abs(len(found) - 1000) < 150 for found in chosen.values())
    # Independent choices share 1 % of the users: 100, with a standard deviation of 10.
    assert abs(len(chosen["alias_a"] & chosen["alias_b"]) - 100) < 50


def test_half_of_a_character_is_a_user_too() -> None:
    assert goes_to_candidate("alias_a", "\ud83d", 1.0)


def test_without_a_user_chance_decides() -> None:
    draws = [goes_to_candidate("alias_a", None, 0.5) for _ in range(1000)]
    assert abs(sum(draws) - 500) < 160  # ten standard deviations
