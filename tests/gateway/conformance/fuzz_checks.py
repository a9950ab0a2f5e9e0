"""What schemathesis checks of every answer beside its own checks; it loads this file by name."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, Response

_INSIDE = (b"Traceback (most recent call last)", b'.py", line', b"sqlalchemy", b"site-packages")
_OURS = ("x-request-id", "openai-version", "openai-processing-ms")


@schemathesis.check
def nothing_of_our_inside_shows(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """No stack trace, no path of a source file, no name of a library."""
    for told in _INSIDE:
        assert told not in response.content, f"the answer shows {told!r}"


@schemathesis.check
def every_answer_has_its_id(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """A person who asks for help can say which request it was."""
    if response.status_code not in (414, 431):  # refused before they were read
        for name in _OURS:
            assert name in response.headers, f"the answer has no header {name}"
