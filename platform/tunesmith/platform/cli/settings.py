"""Settings from the command line: flags, then variables, then the TOML file, then defaults."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tunesmith.platform.settings import Settings

from .errors import CommandFailed


def read_settings(config: Path | None = None, **flags: Any) -> Settings:
    """The settings. Flags that are None were not given.

    Raises:
        CommandFailed: one of them has no valid value, or the file cannot be read.
    """
    if config is not None:
        os.environ["TUNESMITH_CONFIG"] = str(config)
    file = os.environ.get("TUNESMITH_CONFIG")
    if file and not Path(file).is_file():
        raise CommandFailed(f"The settings file {file} does not exist.")
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        raise CommandFailed(_explain(error)) from error
    except ValueError as error:  # the TOML file
        raise CommandFailed(f"The settings file {file} cannot be read: {error}") from error


def _explain(error: ValidationError) -> str:
    problems = []
    for problem in error.errors():
        name = ".".join(map(str, problem["loc"])) or "settings"
        if problem["type"] == "extra_forbidden":
            problems.append(f"{name} is no setting (docs/settings.md lists them)")
        else:
            problems.append(f"{name}: {problem['msg'][:1].lower()}{problem['msg'][1:]}")
    return f"The settings are not valid: {'; '.join(problems)}."
