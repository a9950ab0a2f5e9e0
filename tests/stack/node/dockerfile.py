"""What a Dockerfile's last stage says of the processes that run in it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}|\$(\w+)")


@dataclass(frozen=True)
class ImageConfig:
    """An image's configuration, as `docker inspect` shows it."""

    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    directory: str = "/"
    user: str = ""


def read_dockerfile(
    text: str, bases: Mapping[str, ImageConfig], *, target: str = ""
) -> ImageConfig:
    """A stage's configuration, the last one's by default.

    Args:
        bases: configurations of images that stages begin with, by a part of their names.
        target: name of the stage.
    """
    joined = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", text))
    stages: dict[str, ImageConfig] = {}
    arguments: dict[str, str] = {}
    current, name = ImageConfig(), ""
    for line in joined.splitlines():
        instruction, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        scope = arguments | dict(current.environment)
        match instruction.upper():
            case "ARG":
                key, _, default = rest.partition("=")
                arguments.setdefault(key.strip(), _substitute(default.strip('"'), scope))
            case "FROM":
                stages[name] = current
                words = [w for w in shlex.split(_substitute(rest, scope)) if not w.startswith("--")]
                name = words[2] if len(words) > 2 else ""
                known = [config for part, config in bases.items() if part in words[0]]
                current = stages.get(words[0]) or (known[0] if known else ImageConfig())
            case "ENV":
                pairs = dict(word.partition("=")[::2] for word in shlex.split(rest))
                values = {key: _substitute(value, scope) for key, value in pairs.items()}
                current = replace(current, environment={**current.environment, **values})
            case "WORKDIR":
                current = replace(current, directory=_substitute(rest, scope))
            case "USER":
                current = replace(current, user=_substitute(rest, scope))
            case "ENTRYPOINT":
                current = replace(current, entrypoint=_words(rest), command=())
            case "CMD":
                current = replace(current, command=_words(rest))
    stages[name] = current
    return stages[target] if target else current


def _words(text: str) -> tuple[str, ...]:
    if text.startswith("["):
        return tuple(json.loads(text))
    return ("/bin/sh", "-c", text)


def _substitute(text: str, scope: Mapping[str, str]) -> str:
    def value_of(match: re.Match[str]) -> str:
        return scope.get(match[1] or match[3], match[2] or "")

    return _VARIABLE.sub(value_of, text)
