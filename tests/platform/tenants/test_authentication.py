"""Every answer about a key costs the same: one query, whatever the key is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from tunesmith.platform.database import Database
from tunesmith.platform.domain.errors import NotAuthenticated, NotPermitted, TunesmithError
from tunesmith.platform.tenants import (
    SCOPES,
    KeyTerms,
    authenticate,
    create_key,
    get_key,
    get_tenant,
    limit_tenant,
    revoke_key,
    suspend_tenant,
)

if TYPE_CHECKING:
    from tests.platform.conftest import World


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What is sent to the database meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(database.engine, "before_cursor_execute", note)


def test_unknown_revoked_expired_and_suspended_take_the_same_way(world: World) -> None:
    tenant, suspended = world.tenant(), world.tenant()
    with world.database.transaction() as session:
        good = create_key(session, tenant, "good")[1]
        row, revoked = create_key(session, tenant, "revoked")
        revoke_key(session, tenant, row.id)
        row, expired = create_key(session, tenant, "expired")
        row.expires_at = time.time() - 1
        of_suspended = create_key(session, suspended, "of a suspended tenant")[1]
        suspend_tenant(session, get_tenant(session, suspended))
    with world.database.reading() as session:
        authenticate(session, good)  # the connection and the statement are made now

    ways: dict[str, list[str]] = {}
    said: dict[str, type[TunesmithError]] = {}
    for key in (good, "sk-ts-unknown", revoked, expired, of_suspended):
        with statements(world.database) as sent, world.database.reading() as session:
            try:
                authenticate(session, key)
            except TunesmithError as error:
                said[key] = type(error)
        ways[key] = [statement for statement in sent if "api_keys" in statement]
    assert all(way == ways[good] for way in ways.values())
    assert len(ways[good]) == 1
    assert said == {
        "sk-ts-unknown": NotAuthenticated,
        revoked: NotAuthenticated,
        expired: NotAuthenticated,
        of_suspended: NotPermitted,
    }


def test_a_caller_carries_what_its_key_and_its_tenant_may(world: World) -> None:
    tenant = world.tenant("Ada Ltd")
    later = time.time() + 100
    with world.database.transaction() as session:
        limit_tenant(session, get_tenant(session, tenant), {"adapters": 3})
        terms = KeyTerms(["training", "training"], {"requests_per_minute": 5}, later)
        key = create_key(session, tenant, "key", terms)[1]
        everything = create_key(session, tenant, "all")[1]
    with world.database.reading() as session:
        caller = authenticate(session, key)
        assert (caller.tenant_name, caller.tenant_slug) == ("Ada Ltd", "ada-ltd")
        assert caller.scopes == {"training"}
        assert caller.key_limits == {"requests_per_minute": 5}
        assert caller.tenant_limits == {"adapters": 3}
        assert caller.expires_at == pytest.approx(later)
        caller = authenticate(session, everything)
        assert caller.scopes == SCOPES
        assert (caller.key_limits, caller.expires_at) == (None, None)


def test_a_key_of_before_there_were_scopes_has_all(world: World) -> None:
    tenant = world.tenant()
    with world.database.transaction() as session:
        row, key = create_key(session, tenant, "old")
        assert get_key(session, tenant, row.id).scopes is None
        assert authenticate(session, key).scopes == SCOPES
