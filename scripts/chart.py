"""The chart's generated parts and its checks: `make chart`.

chart.py generate   charts/tunesmith/README.md from the comments of values.yaml, and the
                    settings in values.schema.json from the platform's own
chart.py check      says what `generate` would change, lints, renders all ready-made values
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import helm_python
import yaml

from tunesmith.platform.settings import Settings

CHART = Path(__file__).resolve().parents[1] / "charts" / "tunesmith"
README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
_TABLE = re.compile(r"(<!-- values: begin -->\n).*?(<!-- values: end -->)", re.DOTALL)
_OWNED = re.compile(r'"([a-z_]+)" "')


@dataclass(frozen=True)
class Value:
    """A value of the chart: where it is, what it is by default, and its comment."""

    path: str
    default: Any
    comment: str


def documented(text: str) -> Iterator[Value]:
    """The values of values.yaml that have a comment which begins with `# --`, in its order."""
    document = yaml.safe_load(text)
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = [stripped.removeprefix("# -- ")]
            continue
        if stripped.startswith("#") and comment:
            comment.append(stripped.removeprefix("#").strip())
            continue
        key = re.match(r"^( *)([A-Za-z][A-Za-z0-9]*):", line)
        if key is None:
            continue
        depth = len(key[1])
        while parents and parents[-1][0] >= depth:
            parents.pop()
        parents.append((depth, key[2]))
        if comment:
            path = [name for _, name in parents]
            yield Value(".".join(path), _at(document, path), " ".join(comment))
            comment = []


def _at(document: Any, path: list[str]) -> Any:
    for name in path:
        document = document[name]
    return document


def table(text: str) -> str:
    """The README's tables of values, one for each top-level group."""
    lines: list[str] = []
    group = ""
    for value in documented(text):
        top = value.path.split(".")[0]
        if top != group:
            group = top
            lines += ["", f"### {top}", "", "| Value | Default | Meaning |", "| --- | --- | --- |"]
        default = json.dumps(value.default, ensure_ascii=False).replace("|", "\\|")
        lines.append(
            f"| `{value.path}` | `{default}` | {value.comment.replace('|', chr(92) + '|')} |"
        )
    return "\n".join(lines).strip() + "\n"


def readme(current: str) -> str:
    """The README with its tables as values.yaml has them."""
    made = table((CHART / "values.yaml").read_text())
    return _TABLE.sub(lambda found: f"{found[1]}\n{made}\n{found[2]}", current)


def owned_settings() -> set[str]:
    """Settings that the chart sets by values of their own; its templates refuse them by name."""
    text = (CHART / "templates" / "_validate.tpl").read_text()
    return set(_OWNED.findall(text.partition("$owners := dict")[2].partition("-}}")[0]))


def schema(current: str) -> str:
    """values.schema.json with the platform's settings as they are."""
    document = json.loads(current)
    owned = owned_settings()
    settings = Settings.model_json_schema()["properties"]
    # Those of the chart are let through here, so that the template's sentence is what one reads.
    properties = {name: {} if name in owned else _kind(settings[name]) for name in sorted(settings)}
    document["properties"]["settings"] = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    return json.dumps(document, indent=2) + "\n"


def _kind(field: dict[str, Any]) -> dict[str, Any]:
    """What a value may be, of pydantic's JSON schema of a setting."""
    options = [option for option in field.get("anyOf", [field]) if option.get("type") != "null"]
    option = options[0]
    if "enum" in option or "const" in option:
        return {"enum": option.get("enum") or [option["const"]]}
    if option.get("type") in ("integer", "number", "boolean"):
        limits = ("minimum", "maximum", "exclusiveMinimum")
        return {"type": option["type"]} | {key: option[key] for key in limits if key in option}
    if option.get("type") == "array":
        return {"type": "array", "items": {"type": "string"}}
    return {"type": "string"}


def _stale() -> Iterator[Path]:
    for path, make in ((README, readme), (SCHEMA, schema)):
        if make(path.read_text()) != path.read_text():
            yield path


def generate() -> int:
    """Write what is generated."""
    for path, make in ((README, readme), (SCHEMA, schema)):
        made = make(path.read_text())
        if made != path.read_text():
            path.write_text(made)
            print(f"wrote {path}")
    return 0


def check() -> int:
    """Exit code 1 where something is stale, does not lint or does not render."""
    failed = False
    for path in _stale():
        print(f"{path} is not up to date: run `make chart`")
        failed = True
    with helm_python.Chart.load(CHART) as chart:
        for path in sorted((CHART / "values").glob("*.yaml")):
            values = yaml.safe_load(path.read_text())
            report = helm_python.lint(CHART, values, strict=True)
            for message in report["messages"]:
                if message["severity"] > 1:
                    print(f"{path.name}: {message['error']}")
                    failed = True
            try:
                rendered = chart.render(values, name="tunesmith", namespace="tunesmith")
            except helm_python.HelmError as error:
                print(f"{path.name}: {error}")
                failed = True
                continue
            documents = [
                document
                for name, text in rendered.items()
                if name.endswith(".yaml")
                for document in yaml.safe_load_all(text)
                if document
            ]
            print(f"{path.name}: {len(documents)} objects")
    return int(failed)


if __name__ == "__main__":
    commands = {"generate": generate, "check": check}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        sys.exit(__doc__)
    sys.exit(commands[sys.argv[1]]())
