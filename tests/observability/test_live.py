"""What rules, dashboards and runbooks ask for is there: asked of a real Prometheus."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import httpx
import pytest
from tests.observability.conftest import Platform, Prometheus
from tests.observability.names import VLLM, names_in, of_page, recorded, used
from tests.observability.tools import DASHBOARDS

MAY_BE_EMPTY = re.compile(r"(> 0|== 0)\)?$|ALERTS\{")
"""Panels of what should not be: nothing is shown where nothing is wrong."""


@pytest.fixture(scope="session")
def exported(platform: Platform) -> set[str]:
    """Names of all samples of the three processes."""
    return set().union(
        *(of_page(platform.page(job)) for job in ("gateway", "dispatcher", "evaluator"))
    )


def test_every_metric_that_is_asked_for_is_one_that_some_process_has(exported: set[str]) -> None:
    known = exported | recorded() | VLLM
    missing = {
        (where, name) for where, query in used() for name in names_in(query) if name not in known
    }
    assert missing == set()


def test_metrics_of_vllm_are_those_of_the_vllm_that_is_installed() -> None:
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        pytest.skip("vLLM is not installed: install the extra engine-cpu or engine-gpu.")
    source = "".join(
        path.read_text() for path in (Path(spec.origin).parent / "v1" / "metrics").glob("*.py")
    )
    for name in VLLM:
        base = name.removesuffix("_bucket").removesuffix("_total")
        assert f'"{base}"' in source or f'"{base}_total"' in source, name


def test_names_and_labels_follow_prometheus_conventions(platform: Platform) -> None:
    pages = "".join(platform.page(job) for job in ("gateway", "dispatcher", "evaluator"))
    types = dict(re.findall(r"^# TYPE (tunesmith_\S+) (\S+)$", pages, re.MULTILINE))
    for name, kind in types.items():
        if name.endswith("_created"):
            continue
        assert (kind == "counter") == name.endswith("_total"), name
        if kind == "histogram":
            assert name.endswith("_seconds"), name
        assert not re.search(r"_(ms|minutes|hours|mb|gb|percent)(_|$)", name), name
    labels = set(re.findall(r'[{,]([a-z_]+)="', pages))
    assert labels <= {
        "base", "code", "engine", "error", "implementation", "kind", "le", "method", "name",
        "operation", "outcome", "process", "reason", "route", "schema", "state", "status",
        "tenant", "version",
    }  # fmt: skip
    assert platform.tenant.id in pages or 'tenant="other"' in pages
    assert "ftjob-" not in pages


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_shows_something(path: Path, prometheus: Prometheus) -> None:
    board = json.loads(path.read_text())
    constants = {
        v["name"]: v["query"] for v in board["templating"]["list"] if v["type"] == "textbox"
    }
    empty = []
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            query = target["expr"].replace("$__rate_interval", "1m")
            query = query.replace("[1d:5m]", "[1m:1s]")  # it has not been there for five minutes
            for name, value in {"cluster": ".*", "namespace": ".*", **constants}.items():
                query = query.replace(f"${name}", value)
            if not prometheus.query(query) and not MAY_BE_EMPTY.search(query):
                empty.append((panel["title"], query))
    assert empty == []


def test_rules_are_evaluated_without_an_error(prometheus: Prometheus) -> None:
    groups = httpx.get(f"{prometheus.url}/api/v1/rules").json()["data"]["groups"]
    wrong = {
        rule["name"]: rule.get("lastError")
        for g in groups
        for rule in g["rules"]
        if rule["health"] == "err"
    }
    assert wrong == {}
    assert len(groups) == len({g["name"] for g in groups}) == 5


def test_queries_of_runbooks_are_queries(prometheus: Prometheus) -> None:
    for where, query in used():
        if where.endswith(".md"):
            prometheus.query(query)
