"""`tunesmith backup` and `tunesmith restore`."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .connection import AsJson
from .errors import CommandFailed
from .output import console, error_console, moment, print_fields, print_json, print_table, size
from .settings import read_settings

if TYPE_CHECKING:
    from tunesmith.platform.backup.archive import Archive
    from tunesmith.platform.backup.manifest import Manifest
    from tunesmith.platform.database import Database
    from tunesmith.platform.settings import Settings
    from tunesmith.platform.storage import Storage

Place = Annotated[
    str,
    typer.Argument(help="Where backups lie: a folder, s3://bucket/prefix or gs://bucket/prefix."),
]
Home = Annotated[
    Path | None, typer.Option(help="The platform's home.", show_default="~/.tunesmith")
]
DatabaseUrl = Annotated[str | None, typer.Option(help="PostgreSQL or SQLite.")]
StorageUrl = Annotated[str | None, typer.Option(help="A folder, s3:// or gs:// URL.")]
Config = Annotated[Path | None, typer.Option(help="TOML file of settings; else TUNESMITH_CONFIG.")]

MADE_BUT_OBJECTS_LOST: Final = 3
"""Exit code of a backup that is whole, of a storage that is not. To try again would not help."""


def backup(
    place: Place,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Delete older backups, and keep this many.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the backups there.")] = False,
    home: Home = None,
    database_url: DatabaseUrl = None,
    storage_url: StorageUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Back up database and storage of the settings, while the platform runs.

    Objects that an earlier backup there has are not copied again. A backup holds tenants' data and
    webhooks' secrets: keep it as you keep those. docs/operations/backup.md
    """
    from tunesmith.platform.backup.creating import create_backup
    from tunesmith.platform.backup.pruning import prune

    archive = _archive(place)
    if listing:
        _list(archive, as_json)
        return
    settings = read_settings(config, home=home, database_url=database_url, storage_url=storage_url)
    with _database(settings) as database:
        made = create_backup(database, _storage(settings), archive)
    pruned = prune(archive, keep) if keep else None
    manifest = made.manifest
    if as_json:
        print_json(
            {
                **manifest.model_dump(),
                "copied_bytes": made.copied_bytes,
                "deleted_backups": pruned.backups if pruned else [],
            }
        )
    else:
        _show(manifest)
        console().print(f"copied now  {size(made.copied_bytes)}")
        if pruned and pruned.backups:
            console().print(f"deleted     {', '.join(pruned.backups)}")
        if pruned and pruned.waits_for:
            error_console().print(
                f"Old content stays until {', '.join(pruned.waits_for)} is whole or a day old."
            )
    if manifest.lost:
        raise CommandFailed(
            f"The backup is made, but storage has lost {len(manifest.lost)} objects that the"
            f" database names, such as {manifest.lost[0]}: find them in an older backup.",
            exit_code=MADE_BUT_OBJECTS_LOST,
        )


def restore(
    place: Place,
    backup_id: Annotated[
        str | None, typer.Option("--id", help="Which backup.", show_default="the newest")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only read the backup, and compare all its digests.")
    ] = False,
    home: Home = None,
    database_url: DatabaseUrl = None,
    storage_url: StorageUrl = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Restore a backup into an empty database and an empty storage, and migrate it forward.

    It refuses a database that has tenants, and a storage that has other objects. Restoring again
    what was interrupted is fine. docs/operations/backup.md
    """
    from tunesmith.platform.backup.restoring import check_backup, restore_backup
    from tunesmith.platform.supervisor.home import Home as HomeFolder

    archive = _archive(place)
    manifest = archive.manifest(backup_id)
    if check:
        check_backup(archive, manifest)
    else:
        settings = read_settings(
            config, home=home, database_url=database_url, storage_url=storage_url
        )
        with _nobody_else(settings), _database(settings) as database:
            restore_backup(database, _storage(settings), archive, manifest)
    if as_json:
        print_json({**manifest.model_dump(), "restored": not check})
        return
    _show(manifest)
    if check:
        console().print("Whole: every digest is right.", style="green")
        return
    console().print("Restored.", style="green")
    absent = [*manifest.deleted_meanwhile, *manifest.lost]
    if absent:
        error_console().print(
            f"{len(absent)} objects were gone when the backup was made: their files and models are"
            " deleted here."
        )
    if settings.admin_key is None and HomeFolder(settings.home).admin_key is None:
        console().print(
            "A backup has keys as hashes only: start with TUNESMITH_ADMIN_KEY set, to the"
            " administrator's key of before or to a new one."
        )


def _archive(place: str) -> Archive:
    from tunesmith.platform.backup.archive import Archive
    from tunesmith.platform.storage import Storage

    return Archive(Storage(place))


def _storage(settings: Settings) -> Storage:
    from tunesmith.platform.storage import Storage

    return Storage(settings.storage_url)


@contextmanager
def _database(settings: Settings) -> Iterator[Database]:
    from tunesmith.platform.database import Database

    database = Database(settings.database_url)
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def _nobody_else(settings: Settings) -> Iterator[None]:
    """Keep a platform of this machine from starting on an SQLite database that is written."""
    from tunesmith.platform.supervisor.home import Home as HomeFolder

    if not settings.database_url.startswith("sqlite"):
        yield
        return
    folder = HomeFolder(settings.home)
    folder.prepare()
    with folder.locked():
        yield


def _list(archive: Archive, as_json: bool) -> None:
    manifests = [archive.manifest(backup_id) for backup_id in archive.whole()]
    if as_json:
        print_json([manifest.model_dump() for manifest in manifests])
        return
    print_table(
        ("backup", "made", "tunesmith", "database", "objects", "bytes"),
        (
            (
                manifest.id,
                moment(manifest.created_at),
                manifest.tunesmith,
                size(manifest.database.bytes),
                manifest.storage.objects,
                size(manifest.storage.bytes),
            )
            for manifest in manifests
        ),
        empty="There is no backup.",
    )


def _show(manifest: Manifest) -> None:
    rows = manifest.database.rows
    print_fields(
        {
            "backup": manifest.id,
            "made": moment(manifest.created_at),
            "tunesmith": f"{manifest.tunesmith}, schema {manifest.database.revision}",
            "database": f"{manifest.database.kind} {manifest.database.server},"
            f" {size(manifest.database.bytes)}: {rows.get('tenants', 0)} tenants,"
            f" {rows.get('jobs', 0)} jobs, {rows.get('models', 0)} models",
            "storage": f"{manifest.storage.objects} objects, {size(manifest.storage.bytes)}",
        }
    )
