"""Names of metrics in PromQL, and those that each process has."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from tests.observability.tools import DASHBOARDS, RULES, RUNBOOKS

_NAME = re.compile(r"\b(?:tunesmith|vllm|process)[_:][a-zA-Z0-9_:]+\b")

VLLM = frozenset(
    {
        "vllm:generation_tokens_total",
        "vllm:inter_token_latency_seconds_bucket",
        "vllm:kv_cache_usage_perc",
        "vllm:num_preemptions_total",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:prefix_cache_hits_total",
        "vllm:prefix_cache_queries_total",
        "vllm:prompt_tokens_total",
        "vllm:request_prefill_time_seconds_bucket",
        "vllm:request_queue_time_seconds_bucket",
        "vllm:request_success_total",
        "vllm:time_to_first_token_seconds_bucket",
    }
)
"""Names of vLLM that dashboards use; a test looks them up in the vLLM that is installed."""


def names_in(text: str) -> set[str]:
    """Metrics that a text of PromQL names."""
    return set(_NAME.findall(text))


def recorded() -> set[str]:
    """Names that recording rules make."""
    return {
        rule["record"]
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "record" in rule
    }


def used() -> Iterator[tuple[str, str]]:
    """Where a query stands, and the query: of rules, dashboards and runbooks."""
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield path.name, rule["expr"]
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"]
    for path in sorted(RUNBOOKS.glob("*.md")):
        for block in re.findall(r"```promql\n(.*?)```", path.read_text(), re.DOTALL):
            for line in block.strip().splitlines():
                yield path.name, line


def of_page(page: str) -> set[str]:
    """Names of all samples on a page of /metrics."""
    return {
        sample.name for family in text_string_to_metric_families(page) for sample in family.samples
    }


def of_registry(registry: CollectorRegistry) -> set[str]:
    """Names of all samples in a registry."""
    return {sample.name for family in registry.collect() for sample in family.samples}
