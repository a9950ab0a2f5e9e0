"""The chart's documents, rendered by Helm, and what Helm does with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).parents[2] / "charts" / "tunesmith"
_HOOK, _WEIGHT = "helm.sh/hook", "helm.sh/hook-weight"


@dataclass(frozen=True)
class Rendered:
    """A release's documents; hooks by event, each in the order in which Helm runs them."""

    documents: tuple[Mapping[str, Any], ...]
    hooks: Mapping[str, tuple[Mapping[str, Any], ...]]


@cache
def _chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def render(
    values: Mapping[str, Any], *, release: str, namespace: str, upgrade: bool = False
) -> Rendered:
    """The documents of `helm install`, or of `helm upgrade`.

    Raises:
        helm_python.HelmError: the chart refuses the values; the message says why.
    """
    chart = _chart()
    chart.validate_schema(chart.merge_values(dict(values)))
    texts = chart.render(
        dict(values),
        name=release,
        namespace=namespace,
        is_install=not upgrade,
        is_upgrade=upgrade,
    )
    documents = [
        document
        for path, text in sorted(texts.items())
        if not path.endswith("NOTES.txt")
        for document in yaml.safe_load_all(text)
        if document
    ]
    hooks: dict[str, list[Mapping[str, Any]]] = {}
    for document in documents:
        for event in _annotations(document).get(_HOOK, "").split(","):
            if event:
                hooks.setdefault(event.strip(), []).append(document)
    return Rendered(
        documents=tuple(d for d in documents if _HOOK not in _annotations(d)),
        hooks={
            event: tuple(
                sorted(found, key=lambda d: (_weight(d), d["kind"], d["metadata"]["name"]))
            )
            for event, found in hooks.items()
        },
    )


def _annotations(document: Mapping[str, Any]) -> Mapping[str, str]:
    return document["metadata"].get("annotations") or {}


def _weight(document: Mapping[str, Any]) -> int:
    return int(_annotations(document).get(_WEIGHT, "0"))


def kept(document: Mapping[str, Any]) -> bool:
    """Whether an uninstall leaves it."""
    return _annotations(document).get("helm.sh/resource-policy") == "keep"
