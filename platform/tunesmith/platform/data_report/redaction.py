"""A copy of an examples file in which placeholders stand for personal data and secrets."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.examples import Example, read_examples

from .pii import find_pii
from .pii_kinds import PiiKind


@dataclass(frozen=True, slots=True)
class RedactionSummary:
    """What a redaction did.

    Attributes:
        examples: written, all of the file's.
        changed: of these, those in which something was replaced.
        replaced: pieces of text replaced, by kind.
    """

    examples: int
    changed: int
    replaced: dict[PiiKind, int] = field(default_factory=dict)


def redact(source: Path, filename: str, out: Path) -> RedactionSummary:
    """Write the examples of `source` to `out` with placeholders for what `find_pii` finds.

    `out` is JSONL in OpenAI's formats for chats and preferences. A value is replaced by its kind
    and a number, such as `[EMAIL_1]`; within one example the same value has the same number, so
    that an answer still refers to what its question named. `source` is only read.

    Args:
        source: an examples file of any format that the platform reads.
        filename: its name as the user knows it, for messages and as a hint of the format.
        out: the new file; nothing is there before all of it is.

    Raises:
        ExamplesError: `source` has problems; nothing is written.
        InvalidRequest: `out` exists, or its folder does not.
        OSError: `source` cannot be read, or `out` not be written.
    """
    changed = examples = 0
    replaced: Counter[PiiKind] = Counter()
    with _new_file(out) as target, source.open("rb") as stream:
        for example in read_examples(stream, filename):
            redactor = _Redactor()
            row = redactor.row(example)
            target.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode())
            target.write(b"\n")
            examples += 1
            changed += bool(redactor.replaced)
            replaced.update(redactor.replaced)
    return RedactionSummary(examples, changed, {k: replaced[k] for k in PiiKind if k in replaced})


def redacted_text(text: str) -> str:
    """One text with placeholders, numbered within it."""
    return _Redactor().text(text)


class _Redactor:
    """Numbers the values of one example and replaces them."""

    def __init__(self) -> None:
        self.replaced: Counter[PiiKind] = Counter()
        self._numbers: dict[tuple[PiiKind, str], int] = {}
        self._given: Counter[PiiKind] = Counter()

    def row(self, example: Example) -> dict[str, Any]:
        """The example as a row of OpenAI's format."""
        given: dict[str, Any] = {"messages": self._messages(example.messages)}
        if example.tools is not None:
            given["tools"] = self._values(example.tools)
        if example.parallel_tool_calls is not None:
            given["parallel_tool_calls"] = example.parallel_tool_calls
        if example.preferred is None:
            return given
        return {
            "input": given,
            "preferred_output": self._messages(example.preferred),
            "non_preferred_output": self._messages(example.rejected or []),
        }

    def text(self, text: str) -> str:
        pieces = []
        position = 0
        for kind, start, end in find_pii(text):
            pieces += [text[position:start], self._placeholder(kind, text[start:end])]
            position = end
        return "".join([*pieces, text[position:]])

    def _placeholder(self, kind: PiiKind, value: str) -> str:
        self.replaced[kind] += 1
        key = kind, _essence(kind, value)
        if key not in self._numbers:
            self._given[kind] += 1
            self._numbers[key] = self._given[kind]
        return f"[{kind.upper()}_{self._numbers[key]}]"

    def _messages(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [self._message(message) for message in messages]

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        new = {**message, "content": self.text(message["content"])}
        if "tool_calls" in message:
            new["tool_calls"] = [self._call(call) for call in message["tool_calls"]]
        return new

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        function = call["function"]
        before = self.replaced.total()
        arguments = self._values(json.loads(function["arguments"]))
        if self.replaced.total() == before:  # as it was, to the last space
            return call
        written = json.dumps(arguments, ensure_ascii=False)
        return {**call, "function": {**function, "arguments": written}}

    def _values(self, value: Any, name: str = "") -> Any:
        """A JSON value with placeholders in its texts and numbers; names stay as they are."""
        if isinstance(value, str):
            return self._named(value, name)
        if isinstance(value, list):
            return [self._values(item, name) for item in value]
        if isinstance(value, dict):
            return {key: self._values(item, key) for key, item in value.items()}
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        text = str(value)
        new = self._named(text, name)
        return value if new == text else new

    def _named(self, value: str, name: str) -> str:
        """As `text`, where the field's name may say what bare digits or a word are."""
        new = self.text(value)
        if new != value or not name:
            return new
        before = f"{name.replace('_', ' ')}: "
        whole = [span for span in find_pii(before + value) if span.start == len(before)]
        if whole and whole[0].end == len(before) + len(value):
            return self._placeholder(whole[0].kind, value)
        return new


def _essence(kind: PiiKind, value: str) -> str:
    """A value without what only its writing changes: case, spaces, hyphens in numbers."""
    if kind is PiiKind.SECRET:
        return value
    if kind in {PiiKind.EMAIL, PiiKind.IP_ADDRESS}:
        return value.casefold()
    return "".join(filter(str.isalnum, value)).casefold()


@contextmanager
def _new_file(out: Path) -> Iterator[IO[bytes]]:
    """A file that stands at `out` once the block is done; where one is, it stays."""
    taken = f"{out} exists already, and nothing is overwritten. Name another file."
    if out.exists() or out.is_symlink():
        raise InvalidRequest(taken)
    if not out.parent.is_dir():
        raise InvalidRequest(f"There is no folder {out.parent} to write {out.name} to.")
    descriptor, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # as any new file; mkstemp's are the owner's alone
        _move(temporary, out, taken)
    finally:
        temporary.unlink(missing_ok=True)


def _move(temporary: Path, out: Path, taken: str) -> None:
    """Rename, but never onto a file that has come into being meanwhile."""
    try:
        os.link(temporary, out)
    except FileExistsError as error:
        raise InvalidRequest(taken) from error
    except OSError:  # a file system without hard links
        if out.exists():
            raise InvalidRequest(taken) from None
        temporary.rename(out)
