"""A job is refused at creation when engines could not serve it, or trainers not hold it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tunesmith.platform import bases
from tunesmith.platform.database.models import BaseModel
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.domain.training import Prepared
from tunesmith.platform.examples import ExamplesKind
from tunesmith.platform.jobs import progress, queue
from tunesmith.platform.jobs.creation import create_job
from tunesmith.platform.jobs.servability import check_servable

if TYPE_CHECKING:
    from tests.platform.conftest import World

LINEARS = {"q_proj": 1000, "v_proj": 500, "up_proj": 3000}
WHERE = "method.supervised.hyperparameters"
RECIPE = {"rank": 16, "alpha": 32.0, "target_modules": ["q_proj", "v_proj"]}


def base_with(**config: Any) -> BaseModel:
    return BaseModel(name="pocket", max_rank=64, config=config)


def check(base: BaseModel, **values: Any) -> None:
    open_ones = dict.fromkeys(("lora_rank", "lora_alpha", "target_modules"), "auto")
    check_servable(base, None, open_ones | values, WHERE)


def refused(base: BaseModel, **values: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        check(base, **values)
    return caught.value


def test_a_rank_that_no_engine_serves() -> None:
    check(base_with(), lora_rank=64)
    error = refused(base_with(), lora_rank=65)
    assert (error.code, error.param) == ("rank_too_high", f"{WHERE}.lora_rank")
    assert "is 65;" in error.message
    assert "at most rank 64" in error.message


def test_layers_that_the_base_does_not_have() -> None:
    base = base_with(linears=LINEARS)
    check(base, target_modules=["q_proj", "up_proj"])
    check(base_with(), target_modules=["nobody_knows"])
    error = refused(base, target_modules=["q_proj", "gate"])
    assert error.param == f"{WHERE}.target_modules"
    assert "no linear layer gate; it has q_proj, up_proj, v_proj." in error.message


def test_state_that_does_not_fit_names_both_figures_and_the_rank_that_does() -> None:
    base = base_with(linears=LINEARS, trainer={"slot_bytes": 16 * 10 * 4500})
    check(base, lora_rank=10)
    error = refused(base, lora_rank=20)
    assert (error.code, error.param) == ("does_not_fit", f"{WHERE}.lora_rank")
    assert "needs 1.4 MB" in error.message
    assert "has 0.7 MB" in error.message
    assert "The largest rank that fits is 10." in error.message
    check(base, lora_rank=30, target_modules=["q_proj", "v_proj"])


def test_a_base_without_room_for_the_least_adapter() -> None:
    base = base_with(linears=LINEARS, trainer={"slot_bytes": 16 * 4499})
    assert "No rank fits" in refused(base).message
    check(base, target_modules=["v_proj"])


@pytest.mark.parametrize("config", [{"linears": LINEARS}, {"trainer": {"slot_bytes": 1}}, {}])
def test_nothing_is_refused_by_figures_that_nobody_knows(config: dict[str, Any]) -> None:
    check(base_with(**config), lora_rank=64)


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 10**7))
def test_the_largest_rank_of_the_message_fits_and_the_next_does_not(rank: int, room: int) -> None:
    base = base_with(linears=LINEARS, trainer={"slot_bytes": room})
    try:
        check(base, lora_rank=rank)
    except InvalidRequest as error:
        if "No rank fits" in error.message:
            refused(base, lora_rank=1)
            return
        largest = int(error.message.removesuffix(".").rpartition(" ")[2])
        check(base, lora_rank=largest)
        assert refused(base, lora_rank=largest + 1).code == "does_not_fit"
        assert largest < rank
    else:
        assert rank * 16 * 4500 <= room


def tuned(world: World, tenant: str) -> str:
    """A model that was tuned with `RECIPE`."""
    lease = world.lease(world.job(tenant))
    with world.database.transaction() as session:
        hyperparameters = {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0}
        progress.prepared(session, lease, Prepared(hyperparameters, RECIPE, total_steps=30))
    lease = world.lease(lease.job_id)
    with world.database.transaction() as session:
        queue.begin(session, lease, "Fine-tuning job started")
    with world.database.transaction() as session:
        return world.complete(session, lease)


def create(world: World, tenant: str, **changes: Any) -> None:
    with world.database.transaction() as session:
        create_job(session, tenant, replace(world.request(tenant), **changes))


@pytest.mark.parametrize(
    ("name", "same", "other", "shown"),
    [
        ("lora_rank", 16, 8, "16"),
        ("lora_alpha", 32, 16, "32.0"),
        ("target_modules", ["v_proj", "q_proj"], ["q_proj"], "q_proj, v_proj"),
    ],
)
def test_what_is_continued_keeps_its_parents_shape(
    world: World, name: str, same: Any, other: Any, shown: str
) -> None:
    tenant = world.tenant()
    model = tuned(world, tenant)
    create(world, tenant, model=model, hyperparameters={name: same})
    create(world, tenant, model=model, hyperparameters={name: "auto", "n_epochs": 2})
    with pytest.raises(InvalidRequest) as caught:
        create(world, tenant, model=model, hyperparameters={name: other})
    assert (caught.value.code, caught.value.param) == (
        "differs_from_parent",
        f"hyperparameters.{name}",
    )
    assert f"continues: {shown}." in caught.value.message


def test_a_parent_too_large_for_the_trainer_is_not_continued(world: World) -> None:
    tenant = world.tenant()
    model = tuned(world, tenant)
    world.register_base(config={"linears": LINEARS, "trainer": {"slot_bytes": 16 * 16 * 1500}})
    create(world, tenant, model=model)
    world.register_base(config={"linears": LINEARS, "trainer": {"slot_bytes": 16 * 16 * 1499}})
    with pytest.raises(InvalidRequest) as caught:
        create(world, tenant, model=model)
    assert (caught.value.code, caught.value.param) == ("does_not_fit", "model")


def test_each_method_has_its_kind_of_file(world: World) -> None:
    tenant = world.tenant()
    chats, more_chats = world.file(tenant), world.file(tenant)
    preferences = world.file(tenant, kind=ExamplesKind.PREFERENCES)
    others = world.file(tenant, kind=ExamplesKind.PREFERENCES)
    create(world, tenant, method_type="dpo", training_file=preferences, validation_file=others)
    create(world, tenant, training_file=chats, validation_file=more_chats)
    for method, training, validation, param in (
        ("dpo", chats, None, "training_file"),
        ("dpo", preferences, chats, "validation_file"),
        ("supervised", preferences, None, "training_file"),
        ("supervised", chats, preferences, "validation_file"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            create(
                world,
                tenant,
                method_type=method,
                training_file=training,
                validation_file=validation,
            )
        assert (caught.value.code, caught.value.param) == ("invalid_file_kind", param)


def test_validation_is_a_file_or_a_split(world: World) -> None:
    tenant = world.tenant()
    file = world.file(tenant)
    create(world, tenant, validation_file=file, hyperparameters={"validation_split": 0})
    create(world, tenant, hyperparameters={"validation_split": 0.2, "early_stopping_patience": 2})
    for validation, values, name in (
        (file, {"validation_split": 0.1}, "validation_split"),
        (None, {"validation_split": 0, "early_stopping_patience": 2}, "early_stopping_patience"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            create(world, tenant, validation_file=validation, hyperparameters=values)
        assert caught.value.param == f"hyperparameters.{name}"


def test_what_the_trainer_measured_stays_until_the_base_changes(world: World) -> None:
    def config() -> dict[str, Any]:
        with world.database.reading() as session:
            base = bases.find_base(session, "pocket")
            assert base is not None
            return base.config

    def record(digest: str, **figures: Any) -> None:
        with world.database.transaction() as session:
            bases.record_trainer(session, "pocket", digest, figures)

    digest = "b" * 64
    record("c" * 64, slot_bytes=1)
    assert "trainer" not in config()
    record(digest, slot_bytes=5, device="cpu")
    world.register_base(digest, max_rank=8, config={"linears": LINEARS})
    assert config() == {"linears": LINEARS, "trainer": {"slot_bytes": 5, "device": "cpu"}}
    record(digest, slot_bytes=7)
    assert config()["trainer"] == {"slot_bytes": 7}
    world.register_base("c" * 64, config={"linears": {}})
    assert config() == {"linears": {}}
    record(digest, slot_bytes=5)
    with world.database.transaction() as session:
        bases.record_trainer(session, "no-such-base", digest, {"slot_bytes": 1})
    assert config() == {"linears": {}}
