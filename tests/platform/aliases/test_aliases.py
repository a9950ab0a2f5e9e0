"""Aliases: the gate, splits, rollbacks, history, and whose they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update
from tests.platform.aliases.calls import Aliases
from tests.platform.aliases.measured import measure, result

from tunesmith.platform import claims, policy
from tunesmith.platform.aliases import reading
from tunesmith.platform.aliases.revisions import By
from tunesmith.platform.database.models import Evaluation
from tunesmith.platform.domain.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from tests.platform.conftest import World

BASE = "pocket"


@pytest.fixture
def aliases(world: World) -> Aliases:
    return Aliases(world)


def test_an_alias_on_a_base_is_made_without_a_gate(aliases: Aliases) -> None:
    made = aliases.create()
    assert made.alias.id.startswith("alias_")
    assert (made.revision.number, made.revision.action, made.revision.model) == (1, "create", BASE)
    assert (made.revision.key_id, made.revision.reason) == ("key_me", "why not")
    assert (made.revision.forced, made.revision.evaluation_id) == (False, None)
    assert aliases.points_at() == (BASE, None, 0.0)


@pytest.mark.parametrize(
    "name", ["", "-a", ".a", "a b", "ft:x", "a/b", "a" * 65, "ä", "a\n", "bot\0", BASE]
)
def test_a_name_that_cannot_be_is_refused(aliases: Aliases, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        aliases.create(name=name)
    assert refused.value.param == "name"


@pytest.mark.parametrize("name", ["a", "0", "A.b_c-d", "a" * 64, "ft"])
def test_other_names_are_taken_once(aliases: Aliases, name: str) -> None:
    aliases.create(name=name)
    with pytest.raises(InvalidRequest, match="already"):
        aliases.create(name=name)
    Aliases(aliases.world).create(name=name)  # by another tenant


def test_a_model_that_was_measured_and_is_better_passes_the_gate(aliases: Aliases) -> None:
    aliases.create()
    model = aliases.good_model()
    moved = aliases.promote(model, By("key_ci"))
    assert (moved.revision.number, moved.revision.model) == (2, model)
    assert (moved.revision.forced, moved.revision.reason) == (False, None)
    assert str(moved.revision.evaluation_id).startswith("evalrun_")
    second = Aliases(aliases.world, aliases.tenant)
    assert second.create(model, name="direct").revision.evaluation_id is not None


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (result("worse", -0.1), ["'worse'", "-10 %", "20 %"]),
        (result("no clear difference", 0.3), ["'no clear difference'"]),
        (result("too few examples", None), ["'too few examples'", "no relative improvement"]),
        (result(None, None), ["no verdict"]),
        (result("better", 0.199), ["19.9 %", "asks for 20 %"]),
        (result("better", 0.5, 0.21), ["21 %", "allows 20 %"]),
        (result("better", 0.5, None), ["forgetting was not measured"]),
        (result("worse", -0.5, 0.75), ["'worse'", "-50 %", "75 %"]),
        ({}, ["no verdict", "no relative improvement", "forgetting was not measured"]),
    ],
)
def test_the_gate_says_every_condition_that_failed_and_how_to_force(
    aliases: Aliases, found: dict[str, Any], says: list[str]
) -> None:
    aliases.create()
    model = aliases.world.model(aliases.tenant)
    evaluation = measure(aliases.world.database, aliases.tenant, model, found)
    with pytest.raises(InvalidRequest) as refused:
        aliases.promote(model)
    assert refused.value.code == "promotion_gate"
    for part in [*says, evaluation, "force", "reason", model]:
        assert part in refused.value.message
    assert aliases.points_at() == (BASE, None, 0.0)
    forced = aliases.promote(model, By("key_boss", " I looked at it "), force=True)
    assert (forced.revision.forced, forced.revision.reason) == (True, "I looked at it")
    assert (forced.revision.evaluation_id, forced.revision.key_id) == (evaluation, "key_boss")


@pytest.mark.parametrize(
    "found",
    [
        result("better", 0.2, 0.2),
        result("better", None, 0.0),  # its base gets nothing right
        result("better", 3.0, -0.1),
        # The tenant's policy counts, not the bar that the evaluation was asked with.
        result("better", 0.3, bar={"minimum_relative_improvement": 0.9, "met": False}),
    ],
)
def test_the_gate_holds_at_its_bounds(aliases: Aliases, found: dict[str, Any]) -> None:
    aliases.create()
    model = aliases.world.model(aliases.tenant)
    measure(aliases.world.database, aliases.tenant, model, found)
    assert aliases.promote(model).revision.model == model


def test_the_tenants_own_policy_is_the_bar(aliases: Aliases) -> None:
    aliases.create()
    model = aliases.world.model(aliases.tenant)
    measure(aliases.world.database, aliases.tenant, model, result("better", 0.3, 0.1))
    for own, holds in (((0.4, 0.2), False), ((0.2, 0.05), False), ((0.3, 0.1), True)):
        with aliases.world.database.transaction() as session:
            policy.keep_policy(session, aliases.tenant, policy.Policy(*own))
        if holds:
            assert aliases.promote(model).revision.model == model
        else:
            with pytest.raises(InvalidRequest, match="your policy"):
                aliases.promote(model)


def test_force_needs_a_reason_even_where_the_gate_holds(aliases: Aliases) -> None:
    aliases.create()
    model = aliases.good_model()
    for reason in (None, "", " \n"):
        with pytest.raises(InvalidRequest) as refused:
            aliases.promote(model, By("key_me", reason), force=True)
        assert refused.value.param == "reason"
    # Nothing had to be overridden.
    assert aliases.promote(model, By("key_me", "hurry"), force=True).revision.forced is False


def test_what_was_never_measured_does_not_pass(aliases: Aliases) -> None:
    aliases.create()
    model = aliases.world.model(aliases.tenant)  # its job's evaluation waits
    with pytest.raises(InvalidRequest, match="queued, so wait for its end") as refused:
        aliases.promote(model)
    assert refused.value.code == "promotion_gate"
    with pytest.raises(InvalidRequest, match="promotion gate"):
        aliases.create(model, name="other")
    with aliases.world.database.transaction() as session:
        session.execute(update(Evaluation).values(status=claims.FAILED))
    with pytest.raises(InvalidRequest, match="is failed"):
        aliases.promote(model)
    with aliases.world.database.transaction() as session:
        session.query(Evaluation).delete()
    with pytest.raises(InvalidRequest, match="no evaluation of it exists"):
        aliases.promote(model)


def test_the_latest_completed_evaluation_counts_or_the_one_that_is_named(
    aliases: Aliases,
) -> None:
    aliases.create()
    world, tenant = aliases.world, aliases.tenant
    model = aliases.world.model(tenant)
    good = measure(world.database, tenant, model)
    assert aliases.promote(model).revision.evaluation_id == good
    bad = measure(world.database, tenant, model, result("worse", -0.5))
    half = measure(world.database, tenant, model, status=claims.INCOMPLETE)
    with pytest.raises(InvalidRequest, match=bad):
        aliases.promote(model)
    with pytest.raises(InvalidRequest, match="is incomplete, not completed"):
        aliases.promote(model, evaluation=half)
    assert aliases.promote(model, evaluation=good).revision.evaluation_id == good

    other = aliases.good_model()
    with pytest.raises(InvalidRequest, match="is of") as refused:
        aliases.promote(other, evaluation=good)
    assert refused.value.param == "evaluation"
    stranger = Aliases(world)
    theirs = measure(world.database, stranger.tenant, stranger.good_model())
    for id_ in (theirs, "evalrun_none"):
        with pytest.raises(NotFound) as missing:
            aliases.promote(other, evaluation=id_)
        assert missing.value.param == "evaluation"


def test_an_evaluation_of_other_weights_of_the_name_does_not_count(aliases: Aliases) -> None:
    aliases.create()
    model = aliases.good_model()
    with aliases.world.database.transaction() as session:
        session.execute(update(Evaluation).values(candidate_digest="f" * 64))
    with pytest.raises(InvalidRequest) as refused:
        aliases.promote(model)
    assert refused.value.code == "promotion_gate"
    with aliases.world.database.reading() as session:
        id_ = reading_ids(session)[-1]
    with pytest.raises(InvalidRequest, match="other weights"):
        aliases.promote(model, evaluation=id_)


def reading_ids(session: Any) -> list[str]:
    return [row.id for row in session.query(Evaluation).order_by(Evaluation.seq)]


def test_a_split_needs_no_gate_and_ends_in_three_ways(aliases: Aliases) -> None:
    aliases.create()
    candidate = aliases.world.model(aliases.tenant)
    assert aliases.split(candidate, 0.25).revision.action == "split"
    assert aliases.points_at() == (BASE, candidate, 0.25)
    assert aliases.split(candidate, 0.5).revision.candidate_share == 0.5
    aliases.end_split()
    assert aliases.points_at() == (BASE, None, 0.0)
    with pytest.raises(InvalidRequest, match="no split"):
        aliases.end_split()
    aliases.split(candidate)
    measure(aliases.world.database, aliases.tenant, candidate)
    aliases.promote(candidate)
    assert aliases.points_at() == (candidate, None, 0.0)
    aliases.split(BASE)
    aliases.roll_back()
    assert aliases.points_at() == (candidate, None, 0.0)
    assert [r.number for r in aliases.history()] == list(range(8, 0, -1))


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(aliases: Aliases, share: float) -> None:
    aliases.create()
    candidate = aliases.world.model(aliases.tenant)
    with pytest.raises(InvalidRequest) as refused:
        aliases.split(candidate, share)
    assert refused.value.param == "share"


def test_a_split_with_the_model_itself_is_refused(aliases: Aliases) -> None:
    aliases.create()
    with pytest.raises(InvalidRequest, match="nothing to try"):
        aliases.split(BASE)


def test_repeated_rollbacks_go_further_back_until_there_is_nothing(aliases: Aliases) -> None:
    aliases.create()
    first, second, third = (aliases.good_model() for _ in range(3))
    for model in (first, second, second, third):  # the same again is no change of target
        aliases.promote(model)
    seen = [aliases.roll_back().revision.model for _ in range(3)]
    assert seen == [second, first, BASE]
    with pytest.raises(InvalidRequest) as refused:
        aliases.roll_back()
    assert refused.value.code == "nothing_to_roll_back"
    assert "nothing before" in refused.value.message
    aliases.promote(third)
    assert aliases.roll_back().revision.model == BASE


def test_a_rollback_is_never_gated(aliases: Aliases) -> None:
    model = aliases.good_model()
    aliases.create(model)
    aliases.promote(BASE)
    measure(aliases.world.database, aliases.tenant, model, result("worse", -0.9))
    assert aliases.roll_back().revision.model == model


def test_a_rollback_passes_over_models_that_cannot_answer(aliases: Aliases) -> None:
    aliases.create()
    first, second, third = (aliases.good_model() for _ in range(3))
    for model in (first, second, third):
        aliases.promote(model)
    aliases.delete_model(second)
    assert aliases.roll_back().revision.model == first
    aliases.promote(third)
    aliases.delete_model(first)
    aliases.delete_model(third)
    aliases.promote(third_again := aliases.good_model())
    assert aliases.points_at()[0] == third_again
    assert aliases.roll_back().revision.model == BASE


def test_a_rollback_to_nothing_that_answers_says_so(aliases: Aliases) -> None:
    first = aliases.good_model()
    aliases.create(first)
    aliases.promote(aliases.good_model())
    aliases.delete_model(first)
    with pytest.raises(InvalidRequest, match="deleted") as refused:
        aliases.roll_back()
    assert refused.value.code == "nothing_to_roll_back"


def test_the_history_comes_in_pages(aliases: Aliases) -> None:
    made = aliases.create()
    model = aliases.good_model()
    for _ in range(4):
        aliases.promote(model)
    assert [r.number for r in aliases.history(limit=2)] == [5, 4]
    after = f"{made.alias.id}-4"
    assert [r.number for r in aliases.history(limit=2, after=after)] == [3, 2]
    for bad in (f"{made.alias.id}-6", "alias_x-1", "4", f"{made.alias.id}-4 "):
        with pytest.raises(NotFound) as missing:
            aliases.history(after=bad)
        assert missing.value.param == "after"


def test_lists_are_a_tenants_own_and_come_in_pages(aliases: Aliases) -> None:
    made = [aliases.create(name=f"bot-{n}").alias for n in range(3)]
    Aliases(aliases.world).create()

    def listed(**page: Any) -> tuple[list[str], bool]:
        with aliases.world.database.reading() as session:
            found = reading.list_aliases(session, aliases.tenant, **page)
            return [p.alias.name for p in found.items], found.has_more

    assert listed() == (["bot-2", "bot-1", "bot-0"], False)
    assert listed(limit=2) == (["bot-2", "bot-1"], True)
    assert listed(after=made[1].id) == (["bot-0"], False)
    with pytest.raises(NotFound):
        listed(after="alias_none")


def test_a_deleted_alias_is_gone_and_its_name_free(aliases: Aliases) -> None:
    aliases.create()
    aliases.promote(aliases.good_model())
    aliases.delete()
    for call in (aliases.delete, aliases.roll_back, aliases.history, aliases.points_at):
        with pytest.raises(NotFound) as missing:
            call()
        assert missing.value.code == "alias_not_found"
    assert aliases.create().revision.number == 1


def test_foreign_and_missing_models_and_aliases_are_alike(aliases: Aliases) -> None:
    stranger = Aliases(aliases.world)
    theirs = stranger.good_model()
    stranger.create()
    messages = set()
    for model in (theirs, "ft:pocket:nobody::none"):
        with pytest.raises(NotFound) as missing:
            aliases.create(model, force=True)
        assert (missing.value.param, missing.value.code) == ("model", "model_not_found")
        messages.add(missing.value.message.replace(model, "MODEL"))
    for call in (aliases.delete, aliases.roll_back, lambda: aliases.promote(BASE)):
        with pytest.raises(NotFound, match="No alias 'support-bot' exists"):
            call()
    aliases.create()
    for model in (theirs, "ft:pocket:nobody::none"):
        with pytest.raises(NotFound) as missing:
            aliases.split(model)
        assert missing.value.param == "candidate"
        messages.add(missing.value.message.replace(model, "MODEL"))
    assert len(messages) == 1


def test_promotes_at_once_are_revisions_in_order(aliases: Aliases) -> None:
    aliases.create()
    good = [aliases.good_model() for _ in range(2)]
    with ThreadPoolExecutor(8) as threads:
        moved = list(threads.map(aliases.promote, good * 8))
    assert sorted(p.revision.number for p in moved) == list(range(2, 18))
    newest = max(moved, key=lambda p: p.revision.number)
    assert aliases.points_at()[0] == newest.revision.model


def test_one_of_two_creations_at_once_wins(aliases: Aliases) -> None:
    def create(_: int) -> bool:
        try:
            aliases.create()
        except InvalidRequest:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(create, range(4))) == 1
