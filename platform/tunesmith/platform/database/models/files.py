"""Files, and those that come in parts."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from .base import EXPIRES, LIVE, SEQUENCE, Base


class File(Base):
    """An upload, or a result. The bytes are in storage under `storage_key`."""

    __tablename__ = "files"
    __table_args__ = (
        Index("files_by_tenant", "tenant_id", "seq"),
        Index(
            "files_by_size",
            "tenant_id",
            "expires_at",
            "bytes",
            sqlite_where=LIVE,
            postgresql_where=LIVE,
        ),
        Index("files_by_expiry", "expires_at", sqlite_where=EXPIRES, postgresql_where=EXPIRES),
    )
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    storage_key: Mapped[str] = mapped_column(Text)
    examples_key: Mapped[str | None] = mapped_column(Text)
    examples: Mapped[int | None] = mapped_column(BigInteger)
    kind: Mapped[str | None] = mapped_column(String(16))  # of examples; none means chats
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    deleted_at: Mapped[float | None]


class Upload(Base):
    """A file that comes in parts."""

    __tablename__ = "uploads"
    __table_args__ = (
        Index("uploads_by_tenant", "tenant_id", "seq"),
        Index("uploads_by_expiry", "status", "expires_at"),
    )
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))
    bytes: Mapped[int] = mapped_column(BigInteger)
    mime_type: Mapped[str] = mapped_column(String(255))
    status: Mapped[str] = mapped_column(String(16), default="pending")
    created_at: Mapped[float]
    expires_at: Mapped[float]
    expires_after: Mapped[int | None]  # the file's life, in seconds
    file_id: Mapped[str | None] = mapped_column(ForeignKey("files.id"))


class UploadPart(Base):
    """A part of an upload; its bytes are in storage until the upload ends."""

    __tablename__ = "upload_parts"
    __table_args__ = (Index("upload_parts_by_upload", "upload_id", "seq"),)
    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(64), unique=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"))
    bytes: Mapped[int] = mapped_column(BigInteger)
    storage_key: Mapped[str] = mapped_column(Text)
    created_at: Mapped[float]
