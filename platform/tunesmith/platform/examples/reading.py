"""From uploaded bytes to examples: one pass, one example in memory at a time (of a sheet, all)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePath
from typing import Any, Protocol

from .apart import read_apart
from .binary import OLE, PARQUET, ZIP, Peeked
from .csv_rows import detect_delimiter, likely_delimiter, read_csv_rows
from .errors import ExamplesError, Problem, ProblemList, Unreadable
from .example import Example, ExamplesKind, FileFormat
from .json_rows import is_chat_row, read_json_rows
from .lines import Line, SupportsRead, read_lines
from .xlsx_rows import refuse_ole


class SupportsWrite(Protocol):
    """Anything that bytes can be written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""
        ...


@dataclass(frozen=True, slots=True)
class ExamplesSummary:
    """What a valid examples file holds.

    `messages` counts all messages, `learned` the assistant messages that are learned (of a
    preference, the preferred one), and `characters` the text of all messages.
    """

    kind: ExamplesKind
    format: FileFormat
    examples: int
    messages: int
    learned: int
    characters: int


def read_examples(stream: SupportsRead, filename: str) -> Iterator[Example]:
    """The examples of an uploaded file, in its order, all of one kind.

    `stream` is read from where it stands, without seeking (Parquet and .xlsx, which need it, are
    copied to a temporary file where `stream` is none on disk), and `filename` is a hint of the
    format where the content leaves doubt. At the first problem the examples stop, the rest of the
    file is looked through, and then all problems are raised together.

    Raises:
        ExamplesError: the file has problems, or holds no example.
    """
    with _scan(stream, filename) as scan:
        yield from scan.examples()


def check_examples(stream: SupportsRead, filename: str) -> ExamplesSummary:
    """Read all of `stream` and say what it holds; raises as `read_examples` does."""
    return _summarise(stream, filename, None)


def write_normalised(stream: SupportsRead, filename: str, out: SupportsWrite) -> ExamplesSummary:
    """Write the examples of `stream` to `out` as canonical JSONL (see `read_normalised`).

    Raises as `read_examples` does; `out` then holds a part of the examples, to be discarded.
    """
    return _summarise(stream, filename, out)


def _summarise(stream: SupportsRead, filename: str, out: SupportsWrite | None) -> ExamplesSummary:
    examples = messages = learned = characters = 0
    kind = ExamplesKind.CHAT
    with _scan(stream, filename) as scan:
        for example in scan.examples():
            examples += 1
            kind = example.kind
            answers = [*(example.preferred or ()), *(example.rejected or ())]
            for message in chain(example.messages, answers):
                messages += 1
                characters += len(message["content"])
            learned += len(example.preferred or ()) or sum(map(_is_learned, example.messages))
            if out is not None:
                out.write(example.to_json())
    form = scan.format if kind is ExamplesKind.CHAT else _PREFERENCES[scan.format]
    return ExamplesSummary(kind, form, examples, messages, learned, characters)


# The scan guesses from one line, where a preference looks like neither a chat nor a pair.
_PREFERENCES = {
    FileFormat.CHAT_JSONL: FileFormat.PREFERENCE_JSONL,
    FileFormat.PAIR_JSONL: FileFormat.PREFERENCE_JSONL,
    FileFormat.PAIR_CSV: FileFormat.PREFERENCE_CSV,
    FileFormat.CHAT_PARQUET: FileFormat.PREFERENCE_PARQUET,
    FileFormat.PAIR_PARQUET: FileFormat.PREFERENCE_PARQUET,
    FileFormat.PAIR_XLSX: FileFormat.PREFERENCE_XLSX,
}


def _is_learned(message: dict[str, Any]) -> bool:
    return bool(message["role"] == "assistant" and message.get("weight", 1))


@dataclass(frozen=True, slots=True)
class _Scan:
    """A file whose format is known, and its rows as examples or problems."""

    filename: str
    format: FileFormat
    rows: Iterator[Example | Problem]

    def examples(self) -> Iterator[Example]:
        problems = ProblemList()
        found = False
        try:
            for row in self.rows:
                if isinstance(row, Problem):
                    problems.add(row)
                elif not problems.total:
                    found = True
                    yield row
        except Unreadable as error:
            problems.add(error.problem)
        if problems.total:
            raise problems.error(self.filename)
        if not found:
            sentence = "the file has a header and no rows. Add a row for each example."
            raise ExamplesError(self.filename, [Problem(None, sentence)])


@contextmanager
def _scan(stream: SupportsRead, filename: str) -> Iterator[_Scan]:
    """The file, recognised; its rows are to be read inside the block."""
    peeked = Peeked(stream)
    with ExitStack() as stack:
        try:
            scan = _binary(peeked, filename, stack) or _text(peeked, filename)
        except Unreadable as error:
            raise ExamplesError(filename, [error.problem]) from error
        yield scan


def _binary(peeked: Peeked, filename: str, stack: ExitStack) -> _Scan | None:
    """A file that is no text; None where it is."""
    if peeked.head.startswith(OLE):
        raise Unreadable(Problem(None, refuse_ole(peeked.head)))
    if peeked.head.startswith(PARQUET):
        ending = ".parquet"
    elif peeked.head.startswith(ZIP):
        ending = ".xlsx"
    else:
        return None
    form, rows = read_apart(stack.enter_context(peeked.on_disk(ending)))
    stack.callback(rows.close)
    return _Scan(filename, form, rows)


def _text(stream: SupportsRead, filename: str) -> _Scan:
    lines = read_lines(stream)
    first = next((line for line in lines if line.text.strip()), None)
    if first is None:
        raise Unreadable(Problem(None, "the file is empty. Add a line for each example."))
    return _recognise(first, lines, filename)


def _recognise(first: Line, rest: Iterator[Line], filename: str) -> _Scan:
    text = first.text.lstrip("\ufeff \t")
    lines = chain([first], rest)
    _refuse_a_list(text, first.number)
    extension = PurePath(filename).suffix.lower()
    delimiter = None if text.startswith("{") else detect_delimiter(first.text)
    if delimiter is None and (text.startswith("{") or extension in (".jsonl", ".json", ".ndjson")):
        form = FileFormat.CHAT_JSONL if is_chat_row(text) else FileFormat.PAIR_JSONL
        return _Scan(filename, form, read_json_rows(lines))
    delimiter = delimiter or likely_delimiter(first.text)
    return _Scan(filename, FileFormat.PAIR_CSV, read_csv_rows(lines, delimiter))


def _refuse_a_list(text: str, line: int) -> None:
    if text.startswith("["):
        raise Unreadable(
            Problem(
                line,
                "the file is one JSON list, and each example must be one line of its own:"
                " `jq -c '.[]' OLD > NEW.jsonl`.",
            )
        )
