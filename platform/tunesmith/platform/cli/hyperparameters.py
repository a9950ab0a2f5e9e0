"""Hyperparameters as a person writes them in a shell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.platform.domain.hyperparameters import AUTO, HYPERPARAMETERS, Modules, Range

from .errors import CommandFailed


def hyperparameters(named: Mapping[str, str | None], settings: Sequence[str]) -> dict[str, Any]:
    """Those that were given, as the API takes them; whether they are in range is the server's say.

    Args:
        named: of options of their own; None where not given.
        settings: of `--set`, each "NAME=VALUE".

    Raises:
        CommandFailed: a setting is not of that form, is given twice, or is no number where the API
            takes numbers alone.
    """
    given: dict[str, Any] = {}
    for name, text in named.items():
        if text is not None:
            given[name] = _value(name, text, "--" + name.replace("_", "-"))
    for setting in settings:
        name, equals, text = setting.partition("=")
        name, text = name.strip(), text.strip()
        if not equals or not name or not text:
            raise CommandFailed(f"--set is NAME=VALUE; it is {setting!r}.")
        if name in given:
            raise CommandFailed(f"{name} is given twice.")
        given[name] = _value(name, text, f"--set {name}")
    return given


def _value(name: str, text: str, option: str) -> Any:
    if text == AUTO:
        return text
    allowed = HYPERPARAMETERS.get(name)
    if isinstance(allowed, Modules):
        return [module.strip() for module in text.split(",") if module.strip()]
    try:
        number = float(text)
    except ValueError as error:
        if not isinstance(allowed, Range):
            return text
        raise CommandFailed(f'{option} is a number or "auto"; it is {text!r}.') from error
    if not math.isfinite(number):  # JSON has no such number
        raise CommandFailed(f'{option} is a number or "auto"; it is {text!r}.')
    return int(number) if number.is_integer() else number
