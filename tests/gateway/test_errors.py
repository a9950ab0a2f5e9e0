"""What callers are told of faults inside the platform."""

from __future__ import annotations

import json

import pytest

from tunesmith.gateway.errors import render
from tunesmith.platform.domain.errors import Unavailable
from tunesmith.platform.storage import StorageUnavailable


@pytest.mark.parametrize(
    "error",
    [
        Unavailable(
            'The database is not available: connection to server at "db.internal" (10.0.0.7), port'
            ' 5432 failed: FATAL: password authentication failed for user "tunesmith"',
            code="database_unavailable",
        ),
        StorageUnavailable("Could not read files/a: there is no bucket tunesmith-internal."),
    ],
)
def test_drivers_words_stay_inside(error: Unavailable) -> None:
    answer = render(error)
    body = json.loads(bytes(answer.body))["error"]
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert body["code"] == error.code
    assert "internal" not in body["message"]
    assert "10.0.0.7" not in body["message"]
    assert "not available now" in body["message"]
