"""Files, as the API shows them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from tunesmith.platform.database.models import File as FileRow

from .upload import LONGEST_LIFE, PURPOSES, SHORTEST_LIFE


class File(BaseModel):
    """A file. A fine-tune file is checked before it is accepted, so it is `processed`."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: str
    expires_at: int | None
    status_details: str | None = None

    @classmethod
    def of(cls, file: FileRow) -> File:
        """A row as the API shows it."""
        return cls(
            id=file.id,
            bytes=file.bytes,
            created_at=int(file.created_at),
            filename=file.filename,
            purpose=file.purpose,
            status=file.status,
            expires_at=None if file.expires_at is None else int(file.expires_at),
        )


class FileDeleted(BaseModel):
    """A file that was deleted."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(PURPOSES)},
                        "expires_after[anchor]": {"type": "string", "const": "created_at"},
                        "expires_after[seconds]": {
                            "type": "integer",
                            "minimum": SHORTEST_LIFE,
                            "maximum": LONGEST_LIFE,
                        },
                    },
                    "required": ["file", "purpose"],
                    "additionalProperties": False,
                }
            }
        },
    }
}

CONTENT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file's bytes, as they were uploaded.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
