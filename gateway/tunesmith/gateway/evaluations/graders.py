"""A grader is checked before anything is queued for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunesmith.platform import graders
from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.settings import Settings


def check_grader(grader: Mapping[str, Any], settings: Settings, param: str) -> None:
    """Check a grader in OpenAI's form.

    Raises:
        InvalidRequest: it is malformed, or needs a judge and the operator has named none.
    """
    graders.check_grader(dict(grader), param)
    if grader.get("type") == "score_model" and settings.judge_url is None:
        raise InvalidRequest(
            "The operator of this platform has named no judge (TUNESMITH_JUDGE_URL), so graders of"
            " the type score_model cannot be asked. Use another grader, or none.",
            param=param,
            code="unsupported_grader",
        )
