"""Settings from the command line: flags, then variables, then the TOML file, then defaults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunesmith.platform.settings import Settings

from .errors import CommandFailed

_CONFIG = "TUNESMITH_CONFIG"


def read_settings(config: Path | None = None, **flags: Any) -> Settings:
    """The settings. Flags that are None were not given.

    Raises:
        CommandFailed: one of them has no valid value, or the file cannot be read.
        InvalidRequest: there is no such file.
    """
    try:
        with _variable(_CONFIG, config):
            return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise CommandFailed(_explain(error)) from error
    except (ValueError, OSError) as error:  # the TOML file
        file = config or os.environ.get(_CONFIG)
        raise CommandFailed(f"The settings file {file} cannot be read: {error}") from error


@contextmanager
def _variable(name: str, value: Path | None) -> Iterator[None]:
    """Set a variable of the environment for as long as the settings are read."""
    before = os.environ.get(name)
    if value is not None:
        os.environ[name] = str(value)
    try:
        yield
    finally:
        if before is not None:
            os.environ[name] = before
        elif value is not None:
            del os.environ[name]


def _explain(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        name = ".".join(map(str, problem["loc"])) or "settings"
        if problem["type"] == "extra_forbidden":
            problems.append(f"{name} is no setting (docs/settings.md lists them)")
        else:
            problems.append(f"{name}: {problem['msg'][:1].lower()}{problem['msg'][1:]}")
    return f"The settings are not valid: {'; '.join(problems)}."
