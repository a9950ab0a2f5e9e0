"""Names of models: nothing that a tenant chooses can make one name read as another."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunesmith.platform.domain import ids
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.names import (
    MAX_SLUG,
    MAX_SUFFIX,
    check_base_name,
    check_suffix,
    checkpoint_model_name,
    slug,
    tuned_model_name,
)

BASE = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._/-]{0,127}\Z")
SUFFIX = st.none() | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")


@given(st.text())
def test_a_slug_is_short_plain_and_never_empty(name: str) -> None:
    found = slug(name)
    assert 1 <= len(found) <= MAX_SLUG
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", found)
    assert slug(found) == found


@given(base=BASE, org=st.text(), suffix=SUFFIX, step=st.integers(1, 2**31))
def test_a_name_has_its_parts_between_colons(
    base: str, org: str, suffix: str | None, step: int
) -> None:
    job = ids.job_id()
    name = tuned_model_name(check_base_name(base), slug(org), check_suffix(suffix), job)
    kind, *parts, short = name.split(":")
    assert (kind, parts) == ("ft", [base, slug(org), suffix or ""])
    assert job.startswith(f"ftjob-{short}")
    assert len(short) == 8
    checkpoint = checkpoint_model_name(name, step)
    assert checkpoint.removeprefix(name) == f":ckpt-step-{step}"
    assert len(checkpoint) <= 512  # what the database keeps
    for refused in (name, checkpoint):  # no base and no suffix can be such a name
        with pytest.raises(InvalidRequest):
            check_base_name(refused)
        with pytest.raises(InvalidRequest):
            check_suffix(refused)


@pytest.mark.parametrize("suffix", [None, ""])
def test_no_suffix_is_none(suffix: str | None) -> None:
    assert check_suffix(suffix) is None
    assert (
        tuned_model_name("b", "o", check_suffix(suffix), "ftjob-abcdefghij") == "ft:b:o::abcdefgh"
    )


@pytest.mark.parametrize(
    "suffix", ["a:b", "a b", "-a", ".a", "a/b", "é", "a\n", "a" * (MAX_SUFFIX + 1), ":"]
)
def test_a_suffix_that_cannot_be_part_of_a_name_is_refused(suffix: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_suffix(suffix)
    assert caught.value.param == "suffix"


@pytest.mark.parametrize("base", ["", "ft:x", "a:b", "/a", "-a", "a b", "a\n", "é", "a" * 129])
def test_a_base_that_could_be_mistaken_is_refused(base: str) -> None:
    with pytest.raises(InvalidRequest):
        check_base_name(base)


@pytest.mark.parametrize("base", ["pocket", "Qwen/Qwen2.5-0.5B-Instruct", "a" * 128])
def test_a_bases_usual_names_are_taken(base: str) -> None:
    assert check_base_name(base) == base
