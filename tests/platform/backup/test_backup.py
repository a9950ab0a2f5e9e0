"""Backups on both databases, in a folder and on S3: what comes back, what is refused."""

from __future__ import annotations

import gzip
import stat
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url, text, update
from tests.platform.backup.conftest import MakeStack, Stack, on_both, on_cluster

from tunesmith.platform import adapters
from tunesmith.platform.backup import creating, postgres, pruning, sqlite
from tunesmith.platform.backup.archive import Archive, object_key
from tunesmith.platform.backup.creating import create_backup
from tunesmith.platform.backup.errors import BackupFailed, RestoreRefused
from tunesmith.platform.backup.manifest import Manifest
from tunesmith.platform.backup.pruning import GIVEN_UP_SECONDS, prune
from tunesmith.platform.backup.restoring import check_backup, restore_backup
from tunesmith.platform.cli import main
from tunesmith.platform.cli.backup import MADE_BUT_OBJECTS_LOST
from tunesmith.platform.database import Database, migrate
from tunesmith.platform.database.models import Base, Job, Model
from tunesmith.platform.heartbeats import beat
from tunesmith.platform.storage import Storage
from tunesmith.platform.storage.adapters import WEIGHTS, fetch_adapter
from tunesmith.platform.storage.folder import FolderBackend


def backed_up(stack: Stack, archive: Archive) -> Manifest:
    return create_backup(stack.database, stack.storage, archive).manifest


def restored(stack: Stack, archive: Archive, manifest: Manifest) -> Stack:
    restore_backup(stack.database, stack.storage, archive, manifest)
    return stack


def objects(storage: Storage) -> dict[str, bytes]:
    return {key: storage.get(key) for key in storage.list()}


def rows(database: Database) -> dict[str, list[tuple[object, ...]]]:
    with database.reading() as session:
        return {
            table.name: sorted(map(tuple, session.execute(table.select())), key=repr)
            for table in Base.metadata.sorted_tables
        }


@on_both
def test_everything_comes_back_into_an_empty_stack(
    stack: Stack, archive: Archive, make_stack: MakeStack, tmp_path: Path
) -> None:
    acme = stack.tenant()
    _, digest = stack.model(acme, b"weights")
    stack.world.running_job(acme)
    stack.storage.put("batches/batch_1/segments/0", b"an answer")
    manifest = backed_up(stack, archive)
    assert manifest.database.rows["jobs"] == 2
    assert (manifest.lost, manifest.deleted_meanwhile) == ([], [])
    check_backup(archive, manifest)

    copy = restored(make_stack(), archive, manifest)
    assert objects(copy.storage) == objects(stack.storage)
    assert rows(copy.database) == rows(stack.database)
    assert (fetch_adapter(copy.storage, digest, tmp_path) / WEIGHTS).read_bytes() == b"weights"
    stack.world.job(acme)  # the copy is a platform of its own: sequences go on, triggers work
    copy.world.training_files.update(stack.world.training_files)
    copy.world.job(acme)
    assert rows(copy.database)["tenants"] == rows(stack.database)["tenants"]


def test_a_migrated_stack_that_nobody_used_counts_as_empty(
    stack: Stack, archive: Archive, make_stack: MakeStack
) -> None:
    stack.tenant()
    manifest = backed_up(stack, archive)
    unused = make_stack()
    migrate(unused.database)
    unused.world.register_base()
    unused.storage.put("health/readiness", b"ready")
    restored(unused, archive, manifest)
    assert rows(unused.database) == rows(stack.database)


def test_an_interrupted_restore_can_be_repeated(
    stack: Stack, archive: Archive, make_stack: MakeStack
) -> None:
    acme = stack.tenant()
    stack.model(acme, b"weights")
    manifest = backed_up(stack, archive)
    copy = make_stack()
    half = next(iter(archive.index(manifest.id)))
    copy.storage.put(half.key, b"half of it")
    restored(copy, archive, manifest)
    assert objects(copy.storage) == objects(stack.storage)


def test_a_used_stack_is_not_overwritten(stack: Stack, archive: Archive) -> None:
    stack.tenant()
    manifest = backed_up(stack, archive)
    before = rows(stack.database), objects(stack.storage)
    with pytest.raises(RestoreRefused, match="1 tenants"):
        restored(stack, archive, manifest)
    assert (rows(stack.database), objects(stack.storage)) == before


def test_a_storage_with_other_objects_is_not_mixed(
    stack: Stack, archive: Archive, make_stack: MakeStack
) -> None:
    stack.tenant()
    manifest = backed_up(stack, archive)
    other = make_stack()
    other.storage.put("tenants/org-1/files/abc", b"of another platform")
    with pytest.raises(RestoreRefused, match="tenants/org-1/files/abc"):
        restored(other, archive, manifest)
    assert other.storage.list() == ["tenants/org-1/files/abc"]


def test_a_platform_that_works_on_the_database_is_in_the_way(
    stack: Stack, archive: Archive, make_stack: MakeStack
) -> None:
    stack.tenant()
    manifest = backed_up(stack, archive)
    running = make_stack()
    migrate(running.database)
    with running.database.transaction() as session:
        beat(session, "dispatcher")
    with pytest.raises(RestoreRefused, match="dispatcher works on this database"):
        restored(running, archive, manifest)


def test_tables_of_others_are_in_the_way(
    stack: Stack, archive: Archive, make_stack: MakeStack
) -> None:
    manifest = backed_up(stack, archive)
    shared = make_stack()
    with shared.database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE invoices (id INTEGER)"))
    with pytest.raises(RestoreRefused, match="invoices"):
        restored(shared, archive, manifest)


@on_both
def test_a_backup_of_an_older_schema_is_migrated(
    stack: Stack, archive: Archive, make_stack: MakeStack
) -> None:
    """The dump is made of a database that the previous release left."""
    older = make_stack()
    migrate(older.database, "0006")
    with older.database.engine.begin() as connection:
        connection.execute(
            text("INSERT INTO tenants (id, name, slug, created_at, last_claimed_at)"
                 " VALUES ('org-old', 'Old', 'old', 1, 0)")
        )  # fmt: skip
    manifest = backed_up(stack, archive)
    with archive.storage.writer(archive.path(manifest.id, "database")) as out:
        if older.database.is_sqlite:
            with sqlite.snapshot(older.database) as (_, file):
                out.write(file.read_bytes())
        else:
            with postgres.snapshot(older.database) as (_, name):
                postgres.dump(older.database.url, name, out.write)
    manifest.database.revision = "0006"
    manifest.database.sha256 = out.sha256
    copy = restored(make_stack(), archive, manifest)
    with copy.database.reading() as session:
        assert session.scalar(text("SELECT name FROM tenants")) == "Old"
        assert session.scalar(text("SELECT count(*) FROM leaders")) == 0


def test_a_backup_of_a_newer_version_is_refused(
    stack: Stack, archive: Archive, make_stack: MakeStack
) -> None:
    manifest = backed_up(stack, archive)
    manifest.database.revision = "9999"
    with pytest.raises(RestoreRefused, match="9999"):
        restored(make_stack(), archive, manifest)


def test_the_next_backup_copies_only_what_is_new(stack: Stack, archive: Archive) -> None:
    acme = stack.tenant()
    stack.upload(acme, b"x" * 5000)
    create_backup(stack.database, stack.storage, archive)
    stack.upload(acme, b"y" * 300)
    second = create_backup(stack.database, stack.storage, archive)
    assert second.copied_bytes == 300 + len(b"examples ") + 300
    assert second.manifest.storage.bytes > 10_000


def test_damage_in_the_archive_is_found_before_the_database_is_touched(
    stack: Stack, archive: Archive, make_stack: MakeStack
) -> None:
    acme = stack.tenant()
    stack.model(acme, b"weights")
    manifest = backed_up(stack, archive)
    victim = next(e for e in archive.index(manifest.id) if e.key.endswith(WEIGHTS))
    archive.storage.put(object_key(victim.sha256), b"Weights")
    with pytest.raises(BackupFailed, match=victim.key):
        check_backup(archive, manifest)
    copy = make_stack()
    with pytest.raises(BackupFailed, match=victim.key):
        restored(copy, archive, manifest)
    with copy.database.engine.connect() as connection:
        assert not copy.database.engine.dialect.get_table_names(connection)
    archive.storage.delete(object_key(victim.sha256))
    with pytest.raises(BackupFailed, match="lacks the content"):
        check_backup(archive, manifest)


@pytest.mark.parametrize("part", ["database", "objects.jsonl.gz"])
def test_a_damaged_dump_or_list_is_found(stack: Stack, archive: Archive, part: str) -> None:
    stack.tenant()
    manifest = backed_up(stack, archive)
    archive.storage.put(archive.path(manifest.id, part), gzip.compress(b"nothing"))
    with pytest.raises(BackupFailed, match=part):
        check_backup(archive, manifest)


@on_both
def test_what_is_deleted_while_a_backup_is_made_is_deleted_in_what_is_restored(
    stack: Stack, archive: Archive, make_stack: MakeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = stack.tenant()
    kept, kept_digest = stack.model(acme, b"kept")
    dumping = creating._dump  # the moment between the copy of storage and the dump
    late: dict[str, str] = {}

    def dump_in_the_middle(*arguments: object) -> object:
        late["file"] = stack.upload(acme, b"late")
        late["model"], late["digest"] = stack.model(acme, b"late weights")
        lease = stack.world.running_job(acme)
        late["job"] = lease.job_id
        with stack.database.transaction() as session:
            session.execute(
                update(Job)
                .where(Job.id == lease.job_id)
                .values(resume_key=f"jobs/{lease.job_id}/states/t/5", resume_step=5)
            )
        dumped = dumping(*arguments)  # type: ignore[arg-type]
        row = stack.file(late["file"])
        with stack.database.transaction() as session:
            session.merge(row).deleted_at = 1.0
            for name in (late["model"],):
                session.execute(update(Model).where(Model.name == name).values(deleted_at=1.0))
            session.execute(update(Job).where(Job.id == late["job"]).values(resume_key=None))
        for key in (row.storage_key, row.examples_key):
            stack.storage.delete(str(key))
        adapters.delete_unreferred(stack.database, stack.storage, [late["digest"]])
        return dumped

    monkeypatch.setattr(creating, "_dump", dump_in_the_middle)
    manifest = backed_up(stack, archive)
    assert not manifest.lost
    assert len(manifest.deleted_meanwhile) == 5  # two of the file, two of the model, a state

    copy = restored(make_stack(), archive, manifest)
    assert copy.file(late["file"]).deleted_at is not None
    with copy.database.reading() as session:
        job = session.query(Job).filter_by(id=late["job"]).one()
        assert (job.resume_key, job.resume_step) == (None, 0)
        living = session.query(Model.name).filter_by(deleted_at=None).all()
    assert [name for (name,) in living] == [kept]
    assert copy.storage.exists(f"adapters/{kept_digest}/{WEIGHTS}")


def test_objects_that_the_source_has_lost_are_named(stack: Stack, archive: Archive) -> None:
    acme = stack.tenant()
    _, digest = stack.model(acme, b"weights")
    stack.storage.delete(f"adapters/{digest}/{WEIGHTS}")
    assert backed_up(stack, archive).lost == [f"adapters/{digest}/{WEIGHTS}"]


def test_the_command_tells_a_whole_backup_of_a_damaged_storage_from_one_that_failed(
    stack: Stack, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chart's CronJob tries again what failed, and not what would only find the same."""
    place, storage = archive.storage.url, stack.storage.url
    url = stack.database.url
    command = ["tunesmith", "backup", place, "--database-url", url, "--storage-url"]
    _, digest = stack.model(stack.tenant(), b"weights")
    stack.storage.delete(f"adapters/{digest}/{WEIGHTS}")
    for own_storage, code in ((storage, MADE_BUT_OBJECTS_LOST), (f"{place}/within", 1)):
        monkeypatch.setattr(sys, "argv", [*command, own_storage])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
    assert len(archive.whole()) == 1


@on_cluster
def test_a_role_that_reads_all_will_do(stack: Stack, archive: Archive) -> None:
    stack.tenant()
    name = make_url(stack.database.url).database
    with stack.database.engine.begin() as connection:
        connection.execute(text(f"CREATE ROLE {name}_reader LOGIN IN ROLE pg_read_all_data"))
    try:
        reader = make_url(stack.database.url).set(username=f"{name}_reader")
        database = Database(reader.render_as_string(hide_password=False))
        assert create_backup(database, stack.storage, archive).manifest.database.rows["tenants"]
        database.dispose()
    finally:
        with stack.database.engine.begin() as connection:
            connection.execute(text(f"DROP ROLE {name}_reader"))


def test_old_backups_go_with_what_only_they_name(
    stack: Stack, archive: Archive, make_stack: MakeStack
) -> None:
    acme = stack.tenant()
    stack.model(acme, b"weights")
    gone = stack.upload(acme, b"only in the first")
    first = backed_up(stack, archive)
    row = stack.file(gone)
    with stack.database.transaction() as session:
        session.merge(row).deleted_at = 1.0
    for key in (row.storage_key, row.examples_key):
        stack.storage.delete(str(key))
    second = backed_up(stack, archive)

    pruned = prune(archive, 1)
    assert (pruned.backups, pruned.objects) == ([first.id], 2)
    assert archive.whole() == [second.id]
    check_backup(archive, archive.manifest())
    restored(make_stack(), archive, second)


def test_content_stays_while_a_backup_is_being_made(stack: Stack, archive: Archive) -> None:
    acme = stack.tenant()
    first = backed_up(stack, archive)
    stack.upload(acme, b"more")
    backed_up(stack, archive)
    running = archive.begin()
    archive.storage.put("objects/ab/" + "ab" * 32, b"what the running one has copied")
    assert prune(archive, 1) == pruning.Pruned([first.id], 0, [running])
    assert "ab" * 32 in archive.contents()
    archive.storage.put(archive.path(running, "started"), str(-GIVEN_UP_SECONDS).encode())
    assert prune(archive, 1) == pruning.Pruned([running], 1, [])


def test_a_backup_cannot_lie_in_the_storage_that_it_copies(stack: Stack) -> None:
    inside = Archive(Storage(f"{stack.storage.url}/backups"))
    with pytest.raises(BackupFailed, match="lie in each other"):
        create_backup(stack.database, stack.storage, inside)


def test_a_database_of_no_platform_is_not_backed_up(make_stack: MakeStack, tmp_path: Path) -> None:
    empty = make_stack()
    with pytest.raises(BackupFailed, match="lacks the tables"):
        create_backup(empty.database, empty.storage, Archive(Storage(tmp_path / "b")))


def test_backups_in_a_folder_are_for_their_owner_alone(stack: Stack, tmp_path: Path) -> None:
    stack.tenant()
    place = tmp_path / "private"
    manifest = backed_up(stack, Archive(Storage(place)))
    assert isinstance(Storage(place)._backend, FolderBackend)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in place.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert stat.S_IMODE((place / "backups" / manifest.id).stat().st_mode) == 0o700


@on_cluster
def test_a_missing_pg_dump_is_named(
    stack: Stack, archive: Archive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupFailed, match="pg_dump is missing: install PostgreSQL's client"):
        create_backup(stack.database, stack.storage, archive)
    assert archive.whole() == []


@on_cluster
def test_what_pg_dump_says_is_passed_on(
    stack: Stack, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        stack.database, "url", stack.database.url.replace("/stack_", "/absent_stack_")
    )
    with pytest.raises(BackupFailed, match=r"pg_dump failed .* does not exist"):
        create_backup(stack.database, stack.storage, archive)


def test_passwords_are_not_in_the_command() -> None:
    from tunesmith.platform.backup.postgres import _connection

    conninfo, secrets = _connection(
        "postgresql+psycopg://me:s3cr%40t@db.example:6432/tunesmith?sslmode=verify-full"
    )
    assert "s3cr" not in conninfo
    assert "host=db.example" in conninfo
    assert "port=6432" in conninfo
    assert "sslmode=verify-full" in conninfo
    assert secrets == {"PGPASSWORD": "s3cr@t"}
