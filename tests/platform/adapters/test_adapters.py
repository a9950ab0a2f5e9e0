"""Files of adapters that several names may share, on both databases."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform import adapters, models
from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import adapter_exists, put_adapter

FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "storage")


def delete(world: Any, storage: Storage, tenant: str, name: str) -> list[str]:
    with world.database.transaction() as session:
        unused = models.delete_model(session, tenant, name)
    return adapters.delete_unreferred(world.database, storage, unused)


def test_files_go_with_the_last_name(world: Any, storage: Storage) -> None:
    digest = put_adapter(storage, FILES)
    one, other = world.tenant(), world.tenant()
    mine, theirs = world.model(one, digest), world.model(other, digest)
    assert delete(world, storage, one, mine) == []
    assert adapter_exists(storage, digest)
    assert delete(world, storage, other, theirs) == [digest]
    assert not adapter_exists(storage, digest)


def test_a_name_that_came_between_keeps_the_files(world: Any, storage: Storage) -> None:
    digest = put_adapter(storage, FILES)
    tenant = world.tenant()
    name = world.model(tenant, digest)
    with world.database.transaction() as session:
        unused = models.delete_model(session, tenant, name)
    assert unused == [digest]
    world.model(tenant, digest)  # an equal job ends before the files are deleted
    assert adapters.delete_unreferred(world.database, storage, unused) == []
    assert adapter_exists(storage, digest)


def test_whoever_publishes_while_files_are_deleted_sees_that_they_are_gone(
    world: Any, storage: Storage
) -> None:
    digest = put_adapter(storage, FILES)
    seen: list[bool] = []
    with world.database.transaction() as session:
        assert adapters.hold_stored(session, storage, digest)
        deleting = threading.Thread(
            target=adapters.delete_unreferred, args=(world.database, storage, [digest])
        )
        deleting.start()
        deleting.join(timeout=0.3)
        assert deleting.is_alive()  # it waits for the one who holds the digest
        seen.append(adapter_exists(storage, digest))
    deleting.join(timeout=30)
    with world.database.transaction() as session:
        seen.append(adapters.hold_stored(session, storage, digest))
    assert seen == [True, False]


def test_only_old_adapters_that_nothing_needs_are_forgotten(world: Any, storage: Storage) -> None:
    digest = put_adapter(storage, FILES)
    tenant = world.tenant()
    name = world.model(tenant, digest)

    def forgotten(older_than: float) -> list[str]:
        with world.database.reading() as session:
            return models.unreferred(session, older_than=older_than)

    assert forgotten(0) == []
    with world.database.transaction() as session:
        models.delete_model(session, tenant, name)
    assert forgotten(3600) == []
    assert forgotten(0) == [digest]
    adapters.delete_unreferred(world.database, storage, [digest])
    assert forgotten(0) == []
    put_adapter(storage, FILES)
    world.model(tenant, digest)  # the same content again is alive again
    with world.database.reading() as session:
        assert models.get_adapter(session, digest).deleted_at is None
