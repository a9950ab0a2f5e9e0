"""Examples as the platform keeps them: canonical JSONL with the line of the user's own file.

Each line is `{"line": 17, "messages": [...], "tools"?: [...], "parallel_tool_calls"?: bool}`, and
of a preference also `"preferred": [...], "rejected": [...]`, so that whoever reads them later (the
trainer, say) names the line that the user can look up.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from .errors import DamagedExamples, Unreadable
from .example import Example
from .limits import MAXIMUM_EXAMPLE_BYTES
from .lines import SupportsRead, read_lines

# Normal form is larger than its source: a pair of six bytes becomes a hundred, and control
# characters become escapes of six bytes each.
_LONGEST = 7 * MAXIMUM_EXAMPLE_BYTES


def read_normalised(stream: SupportsRead) -> Iterator[Example]:
    """The examples that `write_normalised` wrote, equal to the ones that it read.

    Raises:
        DamagedExamples: they are not what was written.
    """
    number = 0
    try:
        for number, text in read_lines(stream, _LONGEST):  # noqa: B007 - the error names it
            if not text.endswith("\n"):
                raise ValueError("it is cut off")
            row = json.loads(text)
            preferred = row.get("preferred")
            yield Example(
                row["line"],
                row["messages"],
                row.get("tools"),
                row.get("parallel_tool_calls"),
                preferred,
                None if preferred is None else row["rejected"],
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Unreadable) as error:
        raise DamagedExamples(
            f"The stored examples are damaged at line {number}: {error}. Upload the file again."
        ) from error
