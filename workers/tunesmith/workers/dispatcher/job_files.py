"""Where the examples of a job lie, as long as its files are there."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import bases
from tunesmith.platform.database.models import BaseModel, File, Job
from tunesmith.workers.training.work import Refusal


def examples_keys(session: Session, job: Job) -> tuple[str, str | None] | Refusal:
    """Storage keys of the job's training and validation examples."""
    keys: list[str | None] = []
    for file_id, param in (
        (job.training_file, "training_file"),
        (job.validation_file, "validation_file"),
    ):
        if file_id is None:
            keys.append(None)
            continue
        file = session.scalars(select(File).where(File.id == file_id)).one()
        if file.deleted_at is not None or file.examples_key is None:
            message = f"The file {file_id} (`{param}`) was deleted before the job ran."
            return Refusal("file_deleted", message, param)
        keys.append(file.examples_key)
    assert keys[0] is not None
    return keys[0], keys[1]


def unchanged_base(session: Session, job: Job) -> BaseModel | Refusal:
    """The job's base, if it is the one that the job was created for."""
    base = bases.find_base(session, job.base_name)
    if base is None or base.digest != job.base_digest:
        message = f"The base {job.base_name} is not the one that the job was created for."
        return Refusal("base_changed", message, "model")
    return base
