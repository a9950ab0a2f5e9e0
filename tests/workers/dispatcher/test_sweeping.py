"""What the sweep deletes, and what it leaves."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import select, update

from tunesmith.platform import bases, files, models, tenants
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Adapter, File
from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import adapter_exists, put_adapter
from tunesmith.workers.dispatcher.sweeping import sweep


def test_expired_files_and_forgotten_adapters_are_deleted(tmp_path: Path) -> None:
    database, storage = Database(f"sqlite:///{tmp_path / 't.db'}"), Storage(tmp_path / "storage")
    migrate(database)
    contents = {"old": b"old", "young": b"young"}
    digests = {
        age: put_adapter(
            storage, {"adapter_config.json": b"{}", "adapter_model.safetensors": content}
        )
        for age, content in contents.items()
    }
    with database.transaction() as session:
        bases.register_base(
            session, name="b", source="/b", digest="d", context_length=9, max_rank=8, config={}
        )
        tenant = tenants.create_tenant(session, "Acme").id
        for age, content in contents.items():
            storage.put(f"files/{age}", content)
            files.add_file(
                session,
                tenant,
                files.StoredFile(f"files/{age}", len(content), age),
                filename=age,
                purpose="user_data",
                expires_after=3600,
            )
            models.add_adapter(
                session, digest=digests[age], base_name="b", base_digest="d", rank=8, size=1
            )
        past = time.time() - 7200
        session.execute(update(File).where(File.filename == "old").values(expires_at=past))
        session.execute(
            update(Adapter).where(Adapter.digest == digests["old"]).values(created_at=past)
        )

    sweep(database, storage)
    sweep(database, storage)

    assert not storage.exists("files/old")
    assert storage.exists("files/young")
    assert not adapter_exists(storage, digests["old"])
    assert adapter_exists(storage, digests["young"])
    with database.reading() as session:
        living = session.scalars(select(File.filename).where(File.deleted_at.is_(None))).all()
    assert living == ["young"]
    database.dispose()
