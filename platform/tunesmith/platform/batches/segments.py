"""A batch's answers in storage, in segments that are there whole or not at all.

`batches/ID/segments/NUMBER-TOKEN.jsonl`: the answers in the order in which they came, as the lines
of the batch's files. A holder writes under its lease's token, so that one that lost its lease
without knowing overwrites nothing of another's; what both answered counts once, the first time.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tunesmith.platform.files import StoredFile
from tunesmith.platform.storage import Storage

Answer = dict[str, Any]
"""A line of an output or error file: `id`, `custom_id`, `response`, `error`."""

_OK = range(200, 300)


@dataclass(frozen=True)
class Results:
    """A batch's files, those that have lines, and how many lines each has."""

    output: StoredFile | None
    errors: StoredFile | None
    completed: int
    failed: int


def is_completed(answer: Answer) -> bool:
    """Whether it belongs to the output, not to the error file."""
    response = answer["response"]
    return response is not None and response["status_code"] in _OK


class Segments:
    """The segments of a batch, written by the holder of `token`."""

    def __init__(self, storage: Storage, batch_id: str, token: str) -> None:
        self._storage = storage
        self._folder = f"batches/{batch_id}"
        self._token = token
        self.written = 0
        """Segments that are there, as far as this holder knows."""

    def read(self) -> Iterator[Answer]:
        """Every answer once, in the order in which they came.

        Raises:
            StorageUnavailable: storage does not answer.
        """
        seen: set[str] = set()
        keys = self._storage.list(f"{self._folder}/segments")
        self.written = max(self.written, len(keys))
        for key in keys:
            with self._storage.open_read(key) as lines:
                for line in lines:
                    answer: Answer = json.loads(line)
                    if answer["custom_id"] not in seen:
                        seen.add(answer["custom_id"])
                        yield answer

    def write(self, answers: Iterable[Answer]) -> None:
        """Keep answers; they are safe when this returns.

        Raises:
            StorageUnavailable, StorageFull: they are not kept.
        """
        key = f"{self._folder}/segments/{self.written:06d}-{self._token}.jsonl"
        self._storage.put(key, b"".join(map(_line, answers)))
        self.written += 1

    def put_together(self, rest: Iterable[Answer] = ()) -> Results:
        """Make the batch's files of all segments, and of `rest`, which were not asked.

        Raises:
            StorageUnavailable, StorageFull: there are none.
        """
        output, errors = (f"{self._folder}/results/{self._token}-{n}.jsonl" for n in ("out", "err"))
        answered: set[str] = set()
        counts = {True: 0, False: 0}
        with self._storage.writer() as good, self._storage.writer() as bad:
            for answer in self.read():
                answered.add(answer["custom_id"])
                completed = is_completed(answer)
                counts[completed] += 1
                (good if completed else bad).write(_line(answer))
            for answer in rest:
                if answer["custom_id"] not in answered:
                    counts[False] += 1
                    bad.write(_line(answer))
            for writer, key, number in ((good, output, counts[True]), (bad, errors, counts[False])):
                if number:
                    writer.commit(key)
            return Results(
                StoredFile(output, good.size, good.sha256) if counts[True] else None,
                StoredFile(errors, bad.size, bad.sha256) if counts[False] else None,
                completed=counts[True],
                failed=counts[False],
            )

    def clear(self, keep: Collection[str]) -> None:
        """Delete what the batch left in storage, but not the objects of its files, `keep`.

        Raises:
            StorageUnavailable: some of it is still there.
        """
        for key in self._storage.list(self._folder):
            if key not in keep:
                self._storage.delete(key)


def _line(answer: Answer) -> bytes:
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
