"""A multipart upload, read as it comes: fields in any order, the file's bytes never held whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from tunesmith.platform.domain.errors import InvalidRequest, TooLarge
from tunesmith.platform.quotas import Room

ENVELOPE = 64 * 1024
"""Bytes that an upload may have beside its file: boundaries, headers, the other fields."""

_MAX_FIELD = 1024


@dataclass(eq=False)
class UploadForm:
    """The fields of an upload; complete once `file_bytes` has ended."""

    request: Request
    max_file_bytes: int
    file_field: str = "file"
    room: Room | None = None
    filename: str | None = None
    fields: dict[str, str] = field(default_factory=dict)

    def check_length(self) -> None:
        """Refuse an upload that says at its beginning that it is too large.

        Raises:
            TooLarge: by its `Content-Length`.
            LimitReached: likewise, for what the tenant may store.
        """
        length = self.request.headers.get("content-length", "")
        if length.isdigit() and int(length) > self.max_file_bytes + ENVELOPE:
            raise self._too_large()
        if length.isdigit() and self.room is not None:
            self.room.check(max(0, int(length) - ENVELOPE))

    async def file_bytes(self) -> AsyncIterator[bytes]:
        """The file's bytes as they come; meanwhile the fields are filled.

        Raises:
            TooLarge: the file, or all the rest, is larger than it may be.
            LimitReached: the file is more than the tenant may still store.
            InvalidRequest: it is not a well-formed form, or has no file, or has two.
        """
        parts = _Parts(self.file_field)
        parser = self._parser(parts)
        size = rest = 0
        async for chunk in self.request.stream():
            try:
                parser.write(chunk)
            except FormParserError as error:
                raise InvalidRequest(f"The form is malformed: {error}.") from error
            data = parts.take_file()
            size += len(data)
            rest += len(chunk) - len(data)
            if size > self.max_file_bytes:
                raise self._too_large()
            if self.room is not None:
                self.room.check(size)
            if rest > ENVELOPE:
                raise TooLarge("The form has too much beside its file.", code="request_too_large")
            if data:
                yield data
        if not parts.ended:
            raise InvalidRequest("The form ends before its last boundary: the upload was cut off.")
        if not parts.has_file:
            raise InvalidRequest(
                f"Missing required parameter: `{self.file_field}`.",
                param=self.file_field,
                code="missing_required_parameter",
            )
        self.filename = parts.filename
        self.fields = {name: bytes(text).decode(errors="replace") for name, text in parts.fields}

    def _parser(self, parts: _Parts) -> MultipartParser:
        kind, options = parse_options_header(self.request.headers.get("content-type"))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequest(
                "Send the file as `multipart/form-data` with a boundary.",
                code="unsupported_content_type",
            )
        try:
            return MultipartParser(
                boundary,
                {
                    "on_part_begin": parts.on_part_begin,
                    "on_part_data": parts.on_part_data,
                    "on_header_begin": parts.on_header_begin,
                    "on_header_field": parts.on_header_field,
                    "on_header_value": parts.on_header_value,
                    "on_header_end": parts.on_header_end,
                    "on_headers_finished": parts.on_headers_finished,
                    "on_end": parts.on_end,
                },
            )
        except FormParserError as error:
            raise InvalidRequest(f"The form is malformed: {error}.") from error

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"The file is larger than {self.max_file_bytes / 1e6:,.0f} MB, the most that one"
            f" {'file' if self.file_field == 'file' else 'part'} may have here. Split it, or leave"
            " something out.",
            param=self.file_field,
        )


class _Parts:
    """What the parser says of the form, part by part."""

    def __init__(self, file_field: str) -> None:
        self._file_field = file_field
        self.fields: list[tuple[str, bytearray]] = []
        self.filename: str | None = None
        self.has_file = False
        self.ended = False
        self._file = bytearray()
        self._in_file = False
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._disposition = b""

    def take_file(self) -> bytes:
        """The file's bytes that came since the last time."""
        data, self._file = bytes(self._file), bytearray()
        return data

    def on_part_begin(self) -> None:
        self._disposition = b""

    def on_header_begin(self) -> None:
        self._header_name.clear()
        self._header_value.clear()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = bytes(self._header_value)

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode(errors="replace")
        self._in_file = name == self._file_field
        if not self._in_file:
            if any(name == known for known, _ in self.fields):
                raise InvalidRequest(f"The form has `{name[:80]}` twice.", param=name[:80])
            self.fields.append((name, bytearray()))
            return
        if self.has_file:
            raise InvalidRequest("The form has two files; send one at a time.", param=name)
        self.has_file = True
        self.filename = options.get(b"filename", b"").decode(errors="replace")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._file += data[start:end]
            return
        name, text = self.fields[-1]
        text += data[start:end]
        if len(text) > _MAX_FIELD:
            raise InvalidRequest(
                f"`{name[:80]}` has more than {_MAX_FIELD} bytes.", param=name[:80]
            )

    def on_end(self) -> None:
        self.ended = True
