"""The lines of a batch's input: what each must be, and what is wrong with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tunesmith.gateway.strict_json import parse_object
from tunesmith.platform.domain.errors import InvalidRequest

MAX_REQUESTS = 50_000
"""Most requests of one batch, as at OpenAI."""

MAX_LISTED = 100
"""Most errors that a refused batch lists."""

MAX_CUSTOM_ID = 512

_MAX_LINE = 16 * 1024 * 1024 + 64 * 1024
"""As large as a request for inference may be, in bytes, and what a line has around it."""


@dataclass(frozen=True)
class Line:
    """A well-formed request, where it stands (from 1), and the line's bytes."""

    number: int
    size: int
    custom_id: str
    body: dict[str, Any]

    @property
    def model(self) -> str:
        """The model that it names."""
        return str(self.body["model"])


class BadLine(InvalidRequest):
    """A line that is no request of the batch."""

    def __init__(
        self, message: str, *, code: str, line: int | None = None, param: str | None = None
    ) -> None:
        super().__init__(message, code=code, param=param)
        self.line = line


@dataclass
class Errors:
    """What is wrong with a file: all of it counted, the first `MAX_LISTED` kept."""

    listed: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0

    def add(self, error: BadLine) -> None:
        """Count one more."""
        self.count += 1
        if self.count <= MAX_LISTED:
            self.listed.append(
                {
                    "code": error.code,
                    "message": error.message,
                    "param": error.param,
                    "line": error.line,
                }
            )

    def shown(self) -> list[dict[str, Any]]:
        """The list, and where it is not complete, how many there are."""
        if self.count <= MAX_LISTED:
            return self.listed
        message = f"The file has {self.count:,} errors; the first {MAX_LISTED} are listed."
        more = {"code": "more_errors", "message": message, "param": None, "line": None}
        return [*self.listed, more]


@dataclass
class Checked:
    """What was found in a file; `models` has the line that names each first."""

    total: int = 0
    models: dict[str, int] = field(default_factory=dict)
    errors: Errors = field(default_factory=Errors)


def check(stream: BinaryIO, endpoint: str) -> Checked:
    """Check all lines of a file; in a thread of its own, for it takes its time."""
    found = Checked()
    for line in read_lines(stream, endpoint):
        if isinstance(line, BadLine):
            found.errors.add(line)
        else:
            found.total += 1
            found.models.setdefault(line.model, line.number)
        time.sleep(0)  # let others have the interpreter: their answers do not wait for this
    if not found.total and not found.errors.count:
        found.errors.add(BadLine("The file has no requests.", code="empty_file"))
    return found


def read_lines(stream: BinaryIO, endpoint: str) -> Iterator[Line | BadLine]:
    """The requests of a file, and in their places what is none. Blank lines are passed over.

    The first request too many is the last thing that comes.
    """
    seen: dict[str, int] = {}
    requests = 0
    for number, raw in enumerate(_raw_lines(stream), start=1):
        if raw is not None and not raw.strip():
            continue
        requests += 1
        if requests > MAX_REQUESTS:
            yield BadLine(
                f"The file has more than {MAX_REQUESTS:,} requests, the most of one batch.",
                code="too_many_requests",
                line=number,
            )
            return
        try:
            line = _too_long(number) if raw is None else parse_line(raw, number, endpoint)
            first = seen.setdefault(line.custom_id, number)
            if first != number:
                raise BadLine(
                    f"The custom_id {line.custom_id[:80]!r} is that of line {first}, too.",
                    code="duplicate_custom_id",
                    line=number,
                    param="custom_id",
                )
        except BadLine as error:
            yield error
        else:
            yield line


def _raw_lines(stream: BinaryIO) -> Iterator[bytes | None]:
    """Lines; None for one that is too long to be a request."""
    while raw := stream.readline(_MAX_LINE + 1):
        if len(raw) <= _MAX_LINE:
            yield raw
            continue
        while not raw.endswith(b"\n") and (raw := stream.readline(_MAX_LINE)):
            pass
        yield None


def _too_long(number: int) -> Line:
    raise BadLine(f"The line has more than {_MAX_LINE:,} bytes.", code="line_too_long", line=number)


def parse_line(raw: bytes, number: int, endpoint: str) -> Line:
    """A line as a request to `endpoint`.

    Raises:
        BadLine: it is none; its `line` is `number`.
    """
    try:
        value = parse_object(raw)
    except InvalidRequest as error:
        message = error.message.replace("The body", "The line", 1).replace(" (line 1, ", " (")
        raise BadLine(message, code="invalid_json_line", line=number) from error
    custom_id = value.get("custom_id")
    body = value.get("body")
    for name in ("custom_id", "method", "url", "body"):
        if value.get(name) is None:
            raise BadLine(
                f"Missing required parameter: `{name}`.",
                code="missing_required_parameter",
                line=number,
                param=name,
            )
    if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= MAX_CUSTOM_ID:
        raise _invalid(
            number, "custom_id", f"`custom_id` must be a text of 1 to {MAX_CUSTOM_ID} characters."
        )
    if value["method"] != "POST":
        raise BadLine(
            '`method` must be "POST".', code="invalid_method", line=number, param="method"
        )
    if value["url"] != endpoint:
        raise BadLine(
            f"`url` must be the batch's endpoint, {endpoint!r}; it is {str(value['url'])[:80]!r}.",
            code="invalid_url",
            line=number,
            param="url",
        )
    if not isinstance(body, dict):
        raise _invalid(number, "body", "`body` must be an object: the request's body.")
    model = body.get("model")
    if not isinstance(model, str) or not model or not model.isprintable():
        raise _invalid(number, "body.model", "`body.model` must be the name of a model.")
    if body.get("stream") not in (None, False):
        raise _invalid(number, "body.stream", "`body.stream` must be left out: a batch has none.")
    return Line(number, len(raw), custom_id, body)


def _invalid(number: int, param: str, message: str) -> BadLine:
    return BadLine(message, code="invalid_value", line=number, param=param)
