"""Data reports of uploaded files: asked for with the upload, written by an evaluator."""

from __future__ import annotations

import json
import time
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from tunesmith.platform import claims
from tunesmith.platform.claims import Claim
from tunesmith.platform.database.models import DataReport, File
from tunesmith.platform.domain.errors import NotFound
from tunesmith.platform.storage import Storage


def report_key(tenant_id: str, file_id: str) -> str:
    """Where the report of a tenant's file lies."""
    return f"tenants/{tenant_id}/reports/{file_id}.json"


def ask_for(session: Session, file_id: str) -> DataReport:
    """The file's report, which is asked for if it never was."""
    report = session.scalars(select(DataReport).where(DataReport.file_id == file_id)).one_or_none()
    if report is None:
        report = DataReport(file_id=file_id, status=claims.QUEUED, created_at=time.time())
        session.add(report)
        session.flush()
    return report


def get_report(session: Session, file: File) -> DataReport:
    """The report of a file of examples, whatever its status.

    Raises:
        NotFound: the file was not uploaded as examples, so nothing reports on it.
    """
    report = session.scalars(select(DataReport).where(DataReport.file_id == file.id)).one_or_none()
    if report is None:
        raise NotFound(
            f"The file {file.id} has no data report: only files with the purpose 'fine-tune' get"
            " one, since this version. Upload it again.",
            param="file_id",
        )
    return report


def complete(
    session: Session, claim: Claim, storage: Storage, tenant_id: str, content: dict[str, Any]
) -> None:
    """Store a report under its claim.

    Raises:
        LeaseLost: it is somebody else's by now.
    """
    row = claims.held(session, DataReport, claim)
    key = report_key(tenant_id, row.file_id)
    storage.put(key, json.dumps(content, ensure_ascii=False).encode())
    row.report_key = key
    claims.end(session, row, claims.COMPLETED)
