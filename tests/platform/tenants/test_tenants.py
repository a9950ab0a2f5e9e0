"""Tenants and keys: a key is shown once and kept as a hash; one administrator's key at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update
from sqlalchemy.engine import make_url

from tunesmith.platform.database import Database
from tunesmith.platform.database.models import ApiKey
from tunesmith.platform.domain.errors import InvalidRequest, NotAuthenticated, NotFound
from tunesmith.platform.domain.keys import key_hash
from tunesmith.platform.tenants import (
    authenticate,
    create_key,
    create_tenant,
    ensure_admin_key,
    get_tenant,
    list_keys,
    list_tenants,
    revoke_key,
)

if TYPE_CHECKING:
    from tests.platform.conftest import World


def admin_key(
    database: Database, key: str | None = None, overlap_seconds: float = 0.0
) -> str | None:
    with database.transaction() as session:
        return ensure_admin_key(session, key, overlap_seconds=overlap_seconds)


def is_admin(database: Database, key: str) -> bool:
    with database.reading() as session:
        return authenticate(session, key).is_admin


def test_slugs_are_unique_however_alike_the_names(database: Database) -> None:
    names = [
        "Ünïcorn & Co",
        "unicorn co",
        "UNICORN-CO",
        "  !!",
        "日本",
        "x" * 40,
        "x" * 41,
        "x" * 42,
    ]
    with database.transaction() as session:
        slugs = [create_tenant(session, name).slug for name in names]
    assert slugs[:5] == ["unicorn-co", "unicorn-co-2", "unicorn-co-3", "org", "org-2"]
    assert slugs[5:] == ["x" * 32, "x" * 30 + "-2", "x" * 30 + "-3"]


@pytest.mark.parametrize("name", ["", "   ", "x" * 129])
def test_a_name_that_is_none_is_refused(sqlite: Database, name: str) -> None:
    with pytest.raises(InvalidRequest), sqlite.transaction() as session:
        create_tenant(session, name)


def test_a_name_is_taken_once_even_at_once(database: Database) -> None:
    start = threading.Barrier(4)

    def work(_: int) -> str | None:
        start.wait()
        try:
            with database.transaction() as session:
                create_tenant(session, "Ada")
        except InvalidRequest as error:
            return error.code
        return None

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    assert sorted(map(str, results)) == ["None", "name_taken", "name_taken", "name_taken"]
    with database.reading() as session:
        assert [tenant.name for tenant in list_tenants(session).items] == ["Ada"]


def test_a_tenant_is_found_by_id_and_by_name(world: World) -> None:
    one = world.tenant("Ada")
    two = world.tenant(one)  # named like the other's id: the id is the stronger
    with world.database.reading() as session:
        assert get_tenant(session, "Ada").id == one
        assert get_tenant(session, one).id == one
        assert get_tenant(session, two).name == one
        with pytest.raises(NotFound):
            get_tenant(session, "Eve")


def test_a_key_opens_until_it_is_revoked(world: World) -> None:
    tenant, other = world.tenant(), world.tenant()
    with world.database.transaction() as session:
        row, key = create_key(session, tenant, "laptop")
        _, second = create_key(session, tenant, "server")
    with world.database.transaction() as session:
        caller = authenticate(session, key)
        assert (caller.tenant_id, caller.key_id, caller.is_admin) == (tenant, row.id, False)
        with pytest.raises(NotFound):
            revoke_key(session, other, row.id)
        revoked_at = revoke_key(session, tenant, row.id).revoked_at
        assert revoke_key(session, tenant, row.id).revoked_at == revoked_at
    with world.database.reading() as session:
        for wrong in (key, "", "sk-ts-", key_hash(second), second[:-1], second + " "):
            with pytest.raises(NotAuthenticated):
                authenticate(session, wrong)
        assert authenticate(session, second).tenant_id == tenant
        assert [k.name for k in list_keys(session, tenant).items] == ["laptop", "server"]
        assert list_keys(session, other).items == []


def test_a_refusal_does_not_repeat_the_key(sqlite: Database) -> None:
    wrong = "sk-ts-" + "s3cret" * 6
    with pytest.raises(NotAuthenticated) as caught, sqlite.reading() as session:
        authenticate(session, wrong)
    assert "s3crets3cret" not in caught.value.message


def test_keys_need_a_tenant_and_a_name(world: World) -> None:
    tenant = world.tenant()
    with pytest.raises(NotFound), world.database.transaction() as session:
        create_key(session, "org-none", "laptop")
    for name in ("", "x" * 129):
        with pytest.raises(InvalidRequest), world.database.transaction() as session:
            create_key(session, tenant, name)


def test_no_keys_text_is_in_the_database_file(sqlite_world: World) -> None:
    database = sqlite_world.database
    tenant = sqlite_world.tenant()
    with database.transaction() as session:
        row, key = create_key(session, tenant, "laptop")
    admin = admin_key(database)
    assert admin is not None
    folder = Path(make_url(database.url).database or "").parent
    kept = b"".join(path.read_bytes() for path in folder.glob("tunesmith.db*"))
    assert key_hash(key).encode() in kept  # so the row has been written where we look
    assert row.hint.encode() in kept
    assert key.encode() not in kept
    assert admin.encode() not in kept


def test_the_first_start_makes_an_admin_key_and_the_next_says_nothing(database: Database) -> None:
    key = admin_key(database)
    assert key is not None
    assert is_admin(database, key)
    assert admin_key(database) is None
    assert admin_key(database, key) is None
    assert is_admin(database, key)


def test_a_given_admin_key_replaces_the_one_before(database: Database) -> None:
    first = admin_key(database)
    assert first is not None
    assert admin_key(database, "my own key") == "my own key"
    assert admin_key(database, "my own key") is None
    assert admin_key(database) is None
    assert is_admin(database, "my own key")
    with pytest.raises(NotAuthenticated):
        is_admin(database, first)
    assert admin_key(database, first) == first  # and back again
    assert is_admin(database, first)
    with pytest.raises(NotAuthenticated):
        is_admin(database, "my own key")


def end_overlap(database: Database) -> None:
    """Let the time of every replaced administrator's key be over."""
    with database.transaction() as session:
        session.execute(
            update(ApiKey).where(ApiKey.expires_at.is_not(None)).values(expires_at=time.time())
        )


def test_gateways_get_a_new_admin_key_one_by_one(database: Database) -> None:
    assert admin_key(database, "the old key", 3600)
    assert admin_key(database, "the new key", 3600)  # the first gateway of the roll
    assert is_admin(database, "the new key")
    assert is_admin(database, "the old key")
    # one that the roll has not reached crashes, and starts again with the old one
    assert admin_key(database, "the old key", 3600) is None
    assert admin_key(database, "the new key", 3600) is None
    assert is_admin(database, "the new key")
    end_overlap(database)
    assert is_admin(database, "the new key")
    with pytest.raises(NotAuthenticated):
        is_admin(database, "the old key")


def test_an_admin_key_whose_overlap_is_over_can_come_back(database: Database) -> None:
    admin_key(database, "first")
    admin_key(database, "second", 3600)
    end_overlap(database)
    assert admin_key(database, "first") == "first"
    assert is_admin(database, "first")
    with pytest.raises(NotAuthenticated):
        is_admin(database, "second")


def test_an_admin_key_replaced_twice_ends_when_it_was_to_end(database: Database) -> None:
    admin_key(database, "first")
    admin_key(database, "second", 60)
    admin_key(database, "third", 3600)
    with database.reading() as session:
        ends = session.scalars(select(ApiKey.expires_at).order_by(ApiKey.seq)).all()
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0] < time.time() + 61 < ends[1]
    assert ends[2] is None
    admin_key(database, "fourth")  # a key that leaked: without overlap all others end now
    for key in ("first", "second", "third"):
        with pytest.raises(NotAuthenticated):
            is_admin(database, key)


def test_an_admin_key_that_is_empty_or_a_tenants_is_refused(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction() as session:
        _, key = create_key(session, tenant, "laptop")
    admin = admin_key(world.database)
    assert admin is not None
    for wrong in ("", " \n", key):
        with pytest.raises(InvalidRequest):
            admin_key(world.database, wrong)
    assert not is_admin(world.database, key)
    assert is_admin(world.database, admin)


def test_gateways_that_start_at_once_make_one_admin_key(database: Database) -> None:
    start = threading.Barrier(4)

    def work(_: int) -> str | None:
        start.wait()
        return admin_key(database)

    with ThreadPoolExecutor(4) as pool:
        keys = [key for key in pool.map(work, range(4)) if key is not None]
    assert len(keys) == 1
    assert is_admin(database, keys[0])
