"""The page docs/settings.md, from the settings themselves.

`python -m tunesmith.platform.cli.settings_reference > docs/settings.md` writes it anew.
"""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from tunesmith.platform.settings import Settings

_INTRODUCTION = """\
# Settings

<!-- Generated: `python -m tunesmith.platform.cli.settings_reference > docs/settings.md` -->

A setting is looked for in this order; the first one found counts:

1. a flag of `tunesmith up`, where there is one (`--port 9000`);
2. an environment variable (`TUNESMITH_PORT=9000`); an empty one counts as absent;
3. the TOML file named by `--config` or `TUNESMITH_CONFIG` (`port = 9000`);
4. the default.

Lists are comma-separated in a variable (`TUNESMITH_ENGINES=http://a:8000,http://b:8000`), quoted
as in a shell for `TUNESMITH_ENGINE_ARGS`, and TOML lists in the file, where JSON is a table. The
supervisor of `tunesmith up` reads them once and hands them to its processes; in a cluster each
process reads the same variables.

| Setting | Variable | Value | Default | Meaning |
| --- | --- | --- | --- | --- |
"""

_COMMAND_LINE = """
The command line itself reads these variables besides:

| Variable | Meaning |
| --- | --- |
| `TUNESMITH_CONFIG` | The TOML file. |
| `TUNESMITH_URL` | Where the platform is; else `OPENAI_BASE_URL`, else the one that runs in the \
home, else `http://127.0.0.1:8000`. |
| `TUNESMITH_API_KEY` | A tenant's key; else `OPENAI_API_KEY`. |
| `TUNESMITH_ADMIN_KEY` | The administrator's key; else the one kept in the home. |
"""


def page() -> str:
    """The page: how settings are found, and a row for each."""
    rows = (_row(name, field) for name, field in Settings.model_fields.items())
    return _INTRODUCTION + "".join(rows) + _COMMAND_LINE


def _row(name: str, field: FieldInfo) -> str:
    variable = f"`TUNESMITH_{name.upper()}`"
    cells = (f"`{name}`", variable, _values(field), _default(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _default(field: FieldInfo) -> str:
    value = field.default
    return "" if value in (None, "", [], {}) else f"`{value}`"


def _values(field: FieldInfo) -> str:
    words = _type(field.annotation)
    for limit in field.metadata:
        match limit:
            case Ge(ge=low):
                words += f", at least {low}"
            case Gt(gt=low):
                words += f", above {low}"
            case Le(le=high):
                words += f", at most {high}"
            case Lt(lt=high):
                words += f", below {high}"
    return words


def _type(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(a) for a in arguments if a is not type(None))
    if origin is list:
        return "list"
    if origin is dict:
        return "JSON"
    if annotation is SecretStr:
        return "secret"
    return {bool: "true or false", int: "whole number", float: "number", str: "text"}.get(
        annotation, "path"
    )


if __name__ == "__main__":
    print(page(), end="")
