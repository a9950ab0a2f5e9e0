"""Names of models: `ft:{base}:{org}:{suffix}:{id}`, as OpenAI writes them.

A base's name must not be readable as something else: an adapter or alias named like a base would
take its traffic, so `ft:` and colons are ours.
"""

from __future__ import annotations

import re
import unicodedata

from .errors import InvalidRequest

MAX_SUFFIX = 64
MAX_SLUG = 32
_BASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_SUFFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHORT_ID = 8


def slug(name: str) -> str:
    """The tenant's name as model names show it: lower case, dashes, at most `MAX_SLUG` long."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:MAX_SLUG].strip("-") or "org"


def check_base_name(name: str) -> str:
    """`name`, or `InvalidRequest` when it could be mistaken for a tuned model."""
    if not _BASE_NAME.fullmatch(name):
        raise InvalidRequest(
            f"A base cannot be named {name!r}: use up to 128 letters, digits, '.', '_', '-' and"
            " '/', starting with a letter or digit.",
            param="base",
        )
    return name


def check_suffix(suffix: str | None) -> str | None:
    """`suffix`, or `InvalidRequest` when it cannot be part of a model's name."""
    if suffix is None or suffix == "":
        return None
    if len(suffix) > MAX_SUFFIX or not _SUFFIX.fullmatch(suffix):
        raise InvalidRequest(
            f"`suffix` must be at most {MAX_SUFFIX} letters, digits, '.', '_' or '-', starting"
            f" with a letter or digit; it is {suffix!r}.",
            param="suffix",
        )
    return suffix


def tuned_model_name(base: str, org: str, suffix: str | None, job_id: str) -> str:
    """The `ft:` name of the model that job `job_id` makes."""
    return f"ft:{base}:{org}:{suffix or ''}:{job_id.removeprefix('ftjob-')[:_SHORT_ID]}"


def checkpoint_model_name(model: str, step: int) -> str:
    """The name of the model at an earlier step of the same job."""
    return f"{model}:ckpt-step-{step}"
