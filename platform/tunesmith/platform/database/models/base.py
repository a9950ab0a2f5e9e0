"""What all tables have in common."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, BigInteger, Float, Integer, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase

# SQLite counts up only in a column declared INTEGER PRIMARY KEY.
SEQUENCE = BigInteger().with_variant(Integer, "sqlite")
JSON_VALUE = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

# Rows that indexes hold alone
LIVE = text("deleted_at IS NULL")
LEASED = text("lease_expires_at IS NOT NULL")
EXPIRES = text("expires_at IS NOT NULL AND deleted_at IS NULL")


class Base(DeclarativeBase):
    """Base of all tables."""

    type_annotation_map = {dict[str, Any]: JSON_VALUE, list[Any]: JSON_VALUE, float: Float(53)}  # noqa: RUF012
