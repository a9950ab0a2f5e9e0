"""Write the chart's Grafana dashboards: `.venv/bin/python scripts/dashboards.py`.

They are JSON of Grafana 10 and later; whoever changes a panel changes it here, and a test sees that
both agree. Every query keeps to the namespace and the cluster that are chosen at the top; without
such labels, as outside Kubernetes, the choice is empty and matches all.
"""

# ruff: noqa: E501 - a query is a line

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "charts" / "tunesmith" / "files" / "dashboards"
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SCOPE = 'cluster=~"$cluster",namespace=~"$namespace"'
INFERENCE = 'route=~"/v1/(chat/completions|completions|embeddings|responses)"'
_COLUMNS = 24
_HEIGHT = 8


@dataclass(frozen=True)
class Panel:
    """A panel: its title, what it says, and queries with their legends.

    In a query `SCOPE` stands for the chosen cluster and namespace.

    Attributes:
        kind: timeseries, stat, table or bargauge.
        width: of 24 columns.
        bad_above: turns red there.
        bad_below: turns red there.
    """

    title: str
    about: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    bad_above: float | None = None
    bad_below: float | None = None
    stacked: bool = False


@dataclass(frozen=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Dashboard:
    """A page; `constants` are text boxes, with their defaults."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]
    constants: Sequence[tuple[str, str, str]] = field(default=())


def rate(metric: str, by: str, labels: str = "", window: str = "$__rate_interval") -> str:
    """Per second, summed by labels."""
    inside = f"SCOPE,{labels}" if labels else "SCOPE"
    return f"sum by ({by}) (rate({metric}{{{inside}}}[{window}]))"


def quantile(q: float, metric: str, by: str, labels: str = "") -> str:
    """A quantile of a histogram."""
    inside = f"SCOPE,{labels}" if labels else "SCOPE"
    return (
        f"histogram_quantile({q}, sum by ({by}, le)"
        f" (rate({metric}_bucket{{{inside}}}[$__rate_interval])))"
    )


def quantiles(metric: str, by: str, labels: str = "") -> list[tuple[str, str]]:
    """Median, 95th and 99th of a hundred."""
    return [(quantile(q / 100, metric, by, labels), f"p{q} {{{{{by}}}}}") for q in (50, 95, 99)]


def as_json(dashboard: Dashboard) -> dict[str, Any]:
    """What Grafana imports."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in dashboard.rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y},
                "panels": [],
            }
        )
        y += 1
        x = 0
        for panel in row.panels:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            at = {"h": _HEIGHT, "w": panel.width, "x": x, "y": y}
            panels.append(_panel(panel, len(panels) + 1, at))
            x += panel.width
        y += _HEIGHT
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["tunesmith"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "",
        "links": [
            {
                "type": "dashboards",
                "title": "Tunesmith",
                "tags": ["tunesmith"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": _variables(dashboard.constants)},
        "annotations": {
            "list": [
                {
                    "name": "Alerts",
                    "datasource": _SOURCE,
                    "enable": True,
                    "iconColor": "red",
                    "expr": 'ALERTS{alertname=~"Tunesmith.*",alertstate="firing"}',
                    "titleFormat": "{{alertname}}",
                    "step": "60s",
                }
            ]
        },
        "panels": panels,
    }


def _variables(constants: Sequence[tuple[str, str, str]]) -> list[dict[str, Any]]:
    variables: list[dict[str, Any]] = [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "refresh": 1,
        }
    ]
    variables += [
        {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": _SOURCE,
            "query": {"query": f"label_values(tunesmith_build_info, {name})", "refId": name},
            "refresh": 2,
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": "All", "value": "$__all"},
        }
        for name in ("cluster", "namespace")
    ]
    variables += [
        {
            "name": name,
            "label": label,
            "type": "textbox",
            "query": default,
            "current": {"text": default, "value": default},
        }
        for name, label, default in constants
    ]
    return variables


def _panel(panel: Panel, number: int, at: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad_above is not None:
        steps.append({"color": "red", "value": panel.bad_above})
    if panel.bad_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "green", "value": panel.bad_below}]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": {},
    }
    options: dict[str, Any] = {}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "fillOpacity": 20 if panel.stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "line" if len(steps) > 1 else "off"},
        }
        defaults["min"] = 0
        options = {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["mean", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    elif panel.kind in ("stat", "bargauge"):
        options = {"reduceOptions": {"calcs": ["lastNotNull"]}}
    instant = panel.kind in ("table", "stat", "bargauge")
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": at,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": _SOURCE,
                "expr": query.replace("SCOPE", _SCOPE),
                "legendFormat": legend,
                "instant": instant,
                "range": not instant,
                **({"format": "table"} if panel.kind == "table" else {}),
            }
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


OVERVIEW = Dashboard(
    "tunesmith-overview",
    "Tunesmith: overview",
    "What clients feel, what waits, and what is down.",
    [
        Row(
            "Objectives",
            [
                Panel(
                    "Available",
                    "Share of requests for inference without a fault of ours, over the last hour;"
                    " the objective is 99.9 % over 30 days.",
                    [
                        (
                            "1 - sum(tunesmith:inference_faults:rate1h{SCOPE}) / sum(tunesmith:inference_requests:rate1h{SCOPE} > 0)",
                            "",
                        )
                    ],
                    "percentunit",
                    "stat",
                    6,
                    bad_below=0.999,
                ),
                Panel(
                    "Streams that begin in time",
                    "Share of streams with their first token within 2 s, over the last hour; the"
                    " objective is 95 %.",
                    [
                        (
                            "1 - sum(tunesmith:streams_slow:rate1h{SCOPE}) / sum(tunesmith:streams:rate1h{SCOPE} > 0)",
                            "",
                        )
                    ],
                    "percentunit",
                    "stat",
                    6,
                    bad_below=0.95,
                ),
                Panel(
                    "Budget burn",
                    "How many times as fast as allowed the error budget is spent; 14.4 for an hour"
                    " pages, 1 is even.",
                    [
                        ("max(tunesmith:inference_faults:ratio_rate1h{SCOPE}) / 0.001", "1 h"),
                        ("max(tunesmith:inference_faults:ratio_rate6h{SCOPE}) / 0.001", "6 h"),
                        ("max(tunesmith:inference_faults:ratio_rate3d{SCOPE}) / 0.001", "3 d"),
                    ],
                    width=6,
                    bad_above=14.4,
                ),
                Panel(
                    "Alerts that fire",
                    "Each has a runbook under docs/runbooks.",
                    [
                        (
                            'count by (alertname, severity) (ALERTS{alertname=~"Tunesmith.*",alertstate="firing",SCOPE})',
                            "",
                        )
                    ],
                    kind="table",
                    width=6,
                ),
            ],
        ),
        Row(
            "Requests",
            [
                Panel(
                    "Requests for inference",
                    "By status; 499 is a client that did not wait.",
                    [(rate("tunesmith_requests_total", "status", INFERENCE), "{{status}}")],
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Time to first token",
                    "Of streams: from the request's first byte to the first of the answer's body.",
                    quantiles("tunesmith_time_to_first_token_seconds", "base"),
                    "s",
                    bad_above=2,
                ),
                Panel(
                    "Time of whole answers",
                    "Of requests that are not streamed.",
                    quantiles("tunesmith_whole_answer_seconds", "base"),
                    "s",
                ),
                Panel(
                    "Refused",
                    "429 and 5xx, by the reason that the client is told.",
                    [(rate("tunesmith_requests_refused_total", "reason") + " > 0", "{{reason}}")],
                    "reqps",
                ),
                Panel(
                    "Waiting, and in flight",
                    "Waiting for an engine or a turn; requests of all kinds being answered.",
                    [
                        ("sum by (base) (tunesmith_requests_waiting{SCOPE})", "waiting {{base}}"),
                        ("sum(tunesmith_requests_in_flight{SCOPE})", "in flight"),
                    ],
                ),
                Panel(
                    "Other routes",
                    "Files, jobs, models, administration: the slowest of each twenty.",
                    [
                        (
                            "topk(8, "
                            + quantile(
                                0.95,
                                "tunesmith_request_seconds",
                                "route",
                                'route!~"/v1/(chat/completions|completions|embeddings|responses)"',
                            )
                            + ")",
                            "{{route}}",
                        )
                    ],
                    "s",
                ),
            ],
        ),
        Row(
            "Work that waits",
            [
                Panel(
                    "Jobs",
                    "By status, of all bases.",
                    [
                        (
                            'max by (status) (tunesmith_jobs{SCOPE,status=~"validating_files|queued|running|paused"})',
                            "{{status}}",
                        )
                    ],
                    width=6,
                ),
                Panel(
                    "Oldest waiting job",
                    "Never begun so far.",
                    [
                        (
                            "max by (base, status) (tunesmith_oldest_waiting_job_seconds{SCOPE})",
                            "{{base}} {{status}}",
                        )
                    ],
                    "s",
                    width=6,
                    bad_above=1800,
                ),
                Panel(
                    "Evaluations and data reports",
                    "To be done.",
                    [
                        (
                            "max by (kind, status) (tunesmith_evaluations{SCOPE})",
                            "{{kind}} {{status}}",
                        )
                    ],
                    width=6,
                ),
                Panel(
                    "Batches and webhooks",
                    "Requests of batches that wait, and events to be delivered.",
                    [
                        ('max(tunesmith_batch_lines{SCOPE,state="waiting"})', "batch requests"),
                        ('max(tunesmith_webhook_deliveries{SCOPE,status="pending"})', "webhooks"),
                        ("max(tunesmith_webhook_overdue_seconds{SCOPE})", "webhooks overdue (s)"),
                    ],
                    width=6,
                ),
            ],
        ),
        Row(
            "Parts",
            [
                Panel(
                    "Processes",
                    "By kind, version and schema.",
                    [("count by (process, version, schema) (tunesmith_build_info{SCOPE})", "")],
                    kind="table",
                    width=8,
                ),
                Panel(
                    "Up",
                    "1 is well.",
                    [
                        ("min(tunesmith_database_up{SCOPE})", "database"),
                        ("min(tunesmith_limit_store_up{SCOPE})", "store of limits"),
                        ("sum(tunesmith_leader{SCOPE})", "dispatchers that lead"),
                        ("min by (base) (tunesmith_engines_serving{SCOPE})", "engines of {{base}}"),
                    ],
                    kind="stat",
                    bad_below=1,
                ),
                Panel(
                    "Silence",
                    "Since the last sign of life.",
                    [
                        ("max(tunesmith_dispatcher_silence_seconds{SCOPE})", "dispatcher"),
                        ("max(tunesmith_evaluator_silence_seconds{SCOPE})", "evaluator"),
                    ],
                    "s",
                    bad_above=120,
                ),
                Panel(
                    "Database",
                    "Transactions, what the process does in them included.",
                    [
                        (
                            quantile(0.95, "tunesmith_database_transaction_seconds", "kind"),
                            "p95 {{kind}}",
                        ),
                        (rate("tunesmith_database_errors_total", "error"), "{{error}} per s"),
                    ],
                    "s",
                ),
                Panel(
                    "Connections to the database",
                    "Used, of those that a process may have.",
                    [
                        (
                            'max by (instance) (tunesmith_database_connections{SCOPE,state="in_use"})',
                            "{{instance}}",
                        ),
                        ("max(tunesmith_database_connections_max{SCOPE})", "most"),
                    ],
                ),
                Panel(
                    "Storage",
                    "Calls that take longest, and those that fail.",
                    [
                        (
                            quantile(0.95, "tunesmith_storage_operation_seconds", "operation"),
                            "p95 {{operation}}",
                        ),
                        (
                            rate("tunesmith_storage_errors_total", "operation, error") + " > 0",
                            "{{operation}} {{error}} per s",
                        ),
                    ],
                    "s",
                ),
                Panel(
                    "CPU",
                    "Cores in use.",
                    [
                        (
                            "rate(process_cpu_seconds_total{SCOPE}[$__rate_interval]) and on (instance, job) tunesmith_build_info{SCOPE}",
                            "{{instance}}",
                        )
                    ],
                ),
                Panel(
                    "Memory",
                    "Resident.",
                    [
                        (
                            "process_resident_memory_bytes{SCOPE} and on (instance, job) tunesmith_build_info{SCOPE}",
                            "{{instance}}",
                        )
                    ],
                    "bytes",
                ),
                Panel(
                    "Ledger",
                    "Age of the oldest usage that is in memory alone.",
                    [
                        (
                            "max by (instance) (tunesmith_usage_ledger_lag_seconds{SCOPE})",
                            "{{instance}}",
                        )
                    ],
                    "s",
                    bad_above=60,
                ),
            ],
        ),
    ],
)

_GPUS = 'sum(tunesmith_engines{SCOPE,status="up"}) * $engine_gpus'
TENANTS = Dashboard(
    "tunesmith-tenants",
    "Tunesmith: tenants and cost",
    "Who uses what, and what it costs. Tenants are named where TUNESMITH_METRICS_TENANTS is set;"
    " the bill is `tunesmith usage`, not this page.",
    [
        Row(
            "Tenants",
            [
                Panel(
                    "Requests",
                    "Of those that use most since yesterday, and of all others.",
                    [(rate("tunesmith_tenant_requests_total", "tenant"), "{{tenant}}")],
                    "reqps",
                    stacked=True,
                ),
                Panel(
                    "Tokens",
                    "Prompts and answers.",
                    [(rate("tunesmith_tenant_tokens_total", "tenant"), "{{tenant}}")],
                    "short",
                    stacked=True,
                ),
                Panel(
                    "Jobs to be done",
                    "By tenant.",
                    [
                        (
                            "max by (tenant) (sum by (tenant, instance) (tunesmith_tenant_unfinished_jobs{SCOPE})) > 0",
                            "{{tenant}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Share of tokens, last day",
                    "",
                    [
                        (
                            "sort_desc(sum by (tenant) (increase(tunesmith_tenant_tokens_total{SCOPE}[1d])) / ignoring (tenant) group_left sum(increase(tunesmith_tenant_tokens_total{SCOPE}[1d])))",
                            "{{tenant}}",
                        )
                    ],
                    "percentunit",
                    "bargauge",
                ),
                Panel(
                    "Refused by limits",
                    "A limit that refuses much is too low, or does its work.",
                    [
                        (
                            rate(
                                "tunesmith_requests_refused_total",
                                "reason",
                                'reason=~".*per_minute|concurrent_requests"',
                            ),
                            "{{reason}}",
                        )
                    ],
                    "reqps",
                ),
                Panel(
                    "Cost by tenant, last day",
                    "Tokens at the prices above.",
                    [
                        (
                            'sort_desc(sum by (tenant) (increase(tunesmith_tenant_tokens_total{SCOPE,kind="prompt"}[1d])) * $prompt_price / 1e6 + sum by (tenant) (increase(tunesmith_tenant_tokens_total{SCOPE,kind="completion"}[1d])) * $completion_price / 1e6)',
                            "{{tenant}}",
                        )
                    ],
                    "currencyUSD",
                    "bargauge",
                ),
            ],
        ),
        Row(
            "Tokens",
            [
                Panel(
                    "Tokens by base",
                    "As engines report them.",
                    [(rate("tunesmith_tokens_total", "base, kind"), "{{base}} {{kind}}")],
                    stacked=True,
                ),
                Panel(
                    "Tokens, last day",
                    "",
                    [("sum by (kind) (increase(tunesmith_tokens_total{SCOPE}[1d]))", "{{kind}}")],
                    kind="stat",
                ),
                Panel(
                    "Tokens trained, last day",
                    "Padding is computed and learns nothing.",
                    [
                        ("sum(increase(tunesmith_training_tokens_total{SCOPE}[1d]))", "trained"),
                        (
                            "sum(increase(tunesmith_training_padding_tokens_total{SCOPE}[1d]))",
                            "padding",
                        ),
                    ],
                    kind="stat",
                ),
            ],
        ),
        Row(
            "Cost",
            [
                Panel(
                    "Worth of tokens, last day",
                    "All tokens at the prices above.",
                    [
                        (
                            'sum(increase(tunesmith_tokens_total{SCOPE,kind="prompt"}[1d])) * $prompt_price / 1e6 + sum(increase(tunesmith_tokens_total{SCOPE,kind="completion"}[1d])) * $completion_price / 1e6',
                            "",
                        )
                    ],
                    "currencyUSD",
                    "stat",
                    6,
                ),
                Panel(
                    "GPUs held now",
                    "Engines that are up, by their tensor parallelism, and cohorts.",
                    [
                        (_GPUS, "engines"),
                        ("sum(tunesmith_cohorts{SCOPE})", "trainers"),
                    ],
                    kind="stat",
                    width=6,
                ),
                Panel(
                    "Cost of GPUs, last day",
                    "GPU hours at the price above.",
                    [
                        (
                            '24 * $gpu_price * (avg_over_time(sum(max by (cluster, namespace, status) (tunesmith_engines{SCOPE,status="up"}))[1d:5m]) * $engine_gpus + (avg_over_time(sum(tunesmith_cohorts{SCOPE})[1d:5m]) or vector(0)))',
                            "",
                        )
                    ],
                    "currencyUSD",
                    "stat",
                    6,
                ),
                Panel(
                    "Cost of a million tokens",
                    "All GPUs' cost of the last day over all tokens of the last day.",
                    [
                        (
                            '24 * $gpu_price * avg_over_time(sum(max by (cluster, namespace, status) (tunesmith_engines{SCOPE,status="up"}))[1d:5m]) * $engine_gpus / (sum(increase(tunesmith_tokens_total{SCOPE}[1d])) / 1e6 > 0)',
                            "",
                        )
                    ],
                    "currencyUSD",
                    "stat",
                    6,
                ),
            ],
        ),
    ],
    [
        ("gpu_price", "Price of a GPU hour", "2.5"),
        ("engine_gpus", "GPUs of an engine", "1"),
        ("prompt_price", "Price of 1M prompt tokens", "0.15"),
        ("completion_price", "Price of 1M answer tokens", "0.6"),
    ],
)

TRAINING = Dashboard(
    "tunesmith-training",
    "Tunesmith: training",
    "The queue, the cohorts, and what comes of jobs.",
    [
        Row(
            "Queue",
            [
                Panel(
                    "Jobs to be done",
                    "By base and status.",
                    [
                        (
                            "max by (base, status) (tunesmith_unfinished_jobs{SCOPE}) > 0",
                            "{{base}} {{status}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Oldest waiting job",
                    "Never begun so far.",
                    [
                        (
                            "max by (base, status) (tunesmith_oldest_waiting_job_seconds{SCOPE})",
                            "{{base}} {{status}}",
                        )
                    ],
                    "s",
                    bad_above=1800,
                ),
                Panel(
                    "Wait before the first start",
                    "Of jobs that began.",
                    quantiles("tunesmith_job_wait_seconds", "base"),
                    "s",
                ),
                Panel(
                    "Outcomes, per hour",
                    "failed_by_tenant is about the data of a job, failed_by_platform is ours.",
                    [
                        (
                            "max by (outcome) (sum by (outcome, instance) (rate(tunesmith_job_outcomes_total{SCOPE}[1h]))) * 3600",
                            "{{outcome}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Failures by code, last day",
                    "",
                    [
                        (
                            "sort_desc(max by (base, code) (increase(tunesmith_job_failures_total{SCOPE}[1d])) > 0)",
                            "{{base}} {{code}}",
                        )
                    ],
                    kind="bargauge",
                ),
                Panel(
                    "Leader",
                    "One dispatcher leads; its lease is renewed each third of its length.",
                    [
                        ("sum by (process) (tunesmith_leader{SCOPE})", "{{process}}"),
                        (
                            "max by (name) (tunesmith_leader_lease_seconds{SCOPE})",
                            "lease of the {{name}} (s)",
                        ),
                    ],
                ),
            ],
        ),
        Row(
            "Cohorts",
            [
                Panel(
                    "Cohorts",
                    "That hold their base, and that wait for a worker.",
                    [
                        ("sum by (base) (tunesmith_cohorts{SCOPE})", "{{base}}"),
                        ("sum by (base) (tunesmith_cohorts_pending{SCOPE})", "{{base}} pending"),
                    ],
                ),
                Panel(
                    "Slots",
                    "In use, of those that there are.",
                    [
                        ("sum by (base) (tunesmith_cohort_slots_used{SCOPE})", "{{base}} used"),
                        ("sum by (base) (tunesmith_cohort_slots{SCOPE})", "{{base}}"),
                    ],
                ),
                Panel(
                    "Since the last progress",
                    "Of cohorts with jobs.",
                    [
                        (
                            "time() - max by (base, instance) (tunesmith_cohort_last_progress_timestamp_seconds{SCOPE}) and on (base, instance) tunesmith_cohort_slots_used{SCOPE} > 0",
                            "{{base}}",
                        )
                    ],
                    "s",
                    bad_above=1800,
                ),
                Panel(
                    "Tokens per second",
                    "Over the last half minute.",
                    [("sum by (base) (tunesmith_training_tokens_per_second{SCOPE})", "{{base}}")],
                ),
                Panel(
                    "Time of a step",
                    "One job's optimizer step.",
                    quantiles("tunesmith_training_step_seconds", "base"),
                    "s",
                ),
                Panel(
                    "Padding",
                    "Share of positions that were computed for nothing.",
                    [
                        (
                            "sum by (base) (rate(tunesmith_training_padding_tokens_total{SCOPE}[$__rate_interval])) / (sum by (base) (rate(tunesmith_training_padding_tokens_total{SCOPE}[$__rate_interval])) + sum by (base) (rate(tunesmith_training_tokens_total{SCOPE}[$__rate_interval])))",
                            "{{base}}",
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "Lost cohorts, per hour",
                    "Whose process died.",
                    [
                        (
                            "sum by (base) (increase(tunesmith_cohorts_lost_total{SCOPE}[1h]))",
                            "{{base}}",
                        )
                    ],
                ),
                Panel(
                    "Time to publish",
                    "From a trained adapter to its model.",
                    quantiles("tunesmith_publish_seconds", "base"),
                    "s",
                ),
                Panel(
                    "Steps per second",
                    "Of all jobs.",
                    [(rate("tunesmith_training_steps_total", "base"), "{{base}}")],
                ),
            ],
        ),
        Row(
            "Evaluations",
            [
                Panel(
                    "To be done",
                    "",
                    [
                        (
                            "max by (kind, status) (tunesmith_evaluations{SCOPE})",
                            "{{kind}} {{status}}",
                        )
                    ],
                    width=6,
                ),
                Panel(
                    "Oldest that waits",
                    "",
                    [
                        (
                            "max by (kind) (tunesmith_oldest_waiting_evaluation_seconds{SCOPE})",
                            "{{kind}}",
                        )
                    ],
                    "s",
                    width=6,
                    bad_above=1800,
                ),
                Panel(
                    "Done, per hour",
                    "",
                    [
                        (
                            "sum by (kind, outcome) (increase(tunesmith_evaluations_done_total{SCOPE}[1h]))",
                            "{{kind}} {{outcome}}",
                        )
                    ],
                    width=6,
                ),
                Panel(
                    "Time that they take",
                    "And questions that the judge did not answer, per hour.",
                    [
                        (quantile(0.9, "tunesmith_evaluation_seconds", "kind"), "p90 {{kind}}"),
                        ("sum(increase(tunesmith_judge_errors_total{SCOPE}[1h]))", "judge errors"),
                    ],
                    "s",
                    width=6,
                ),
            ],
        ),
    ],
)

ENGINES = Dashboard(
    "tunesmith-engines",
    "Tunesmith: engines",
    "vLLM as gateways see it, and as it says of itself.",
    [
        Row(
            "As gateways see them",
            [
                Panel(
                    "Engines",
                    "By status, as one gateway sees them.",
                    [("max by (status) (tunesmith_engines{SCOPE})", "{{status}}")],
                ),
                Panel(
                    "Serving, and waiting",
                    "Engines that take requests for a base, and requests that wait for one.",
                    [
                        ("max by (base) (tunesmith_engines_serving{SCOPE})", "engines of {{base}}"),
                        (
                            "sum by (base) (tunesmith_requests_waiting{SCOPE})",
                            "waiting for {{base}}",
                        ),
                    ],
                ),
                Panel(
                    "Requests in them",
                    "Of all gateways.",
                    [
                        (
                            "sum by (engine) (tunesmith_engine_requests_in_flight{SCOPE})",
                            "{{engine}}",
                        )
                    ],
                    stacked=True,
                ),
                Panel(
                    "Restarts, last day",
                    "And breakers that are open now.",
                    [
                        (
                            "max by (engine) (increase(tunesmith_engine_restarts_total{SCOPE}[1d])) > 0",
                            "restarts {{engine}}",
                        ),
                        (
                            "max by (engine) (tunesmith_engine_breaker_open{SCOPE}) > 0",
                            "breaker {{engine}}",
                        ),
                        ("min by (engine) (tunesmith_engine_up{SCOPE}) == 0", "down {{engine}}"),
                    ],
                    kind="stat",
                ),
                Panel(
                    "Streams that were cut",
                    "Their engine was lost before their end.",
                    [(rate("tunesmith_streams_cut_total", "base"), "{{base}}")],
                    "reqps",
                ),
                Panel(
                    "Waiting in engines",
                    "As they report it.",
                    [("max by (engine) (tunesmith_engine_requests_waiting{SCOPE})", "{{engine}}")],
                ),
            ],
        ),
        Row(
            "Adapters",
            [
                Panel(
                    "Loads",
                    "Adapters that engines had to pull, and those that they could not.",
                    [
                        (rate("tunesmith_engine_adapter_loads_total", "engine"), "{{engine}}"),
                        (
                            rate("tunesmith_adapter_load_failures_total", "base") + " > 0",
                            "failed {{base}}",
                        ),
                        (
                            rate("tunesmith_engine_adapter_load_failures_total", "engine") + " > 0",
                            "failed {{engine}}",
                        ),
                    ],
                ),
                Panel(
                    "Time of a load",
                    "Of those that a gateway asked for.",
                    quantiles("tunesmith_adapter_load_seconds", "base"),
                    "s",
                    bad_above=15,
                ),
                Panel(
                    "Adapters held",
                    "As gateways take it; and dropped to make room, per s.",
                    [
                        ("max by (engine) (tunesmith_engine_adapters{SCOPE})", "{{engine}}"),
                        (
                            rate("tunesmith_engine_adapter_drops_total", "engine") + " > 0",
                            "drops {{engine}}",
                        ),
                    ],
                ),
            ],
        ),
        Row(
            "As vLLM says of itself",
            [
                Panel(
                    "KV cache in use",
                    "Above 0.9, requests are preempted.",
                    [
                        (
                            "max by (pod, instance) (vllm:kv_cache_usage_perc{SCOPE})",
                            "{{pod}} {{instance}}",
                        ),
                        ("max by (engine) (tunesmith_engine_kv_cache_usage{SCOPE})", "{{engine}}"),
                    ],
                    "percentunit",
                    bad_above=0.9,
                ),
                Panel(
                    "Running and waiting",
                    "",
                    [
                        (
                            "sum by (instance) (vllm:num_requests_running{SCOPE})",
                            "running {{instance}}",
                        ),
                        (
                            "sum by (instance) (vllm:num_requests_waiting{SCOPE})",
                            "waiting {{instance}}",
                        ),
                    ],
                ),
                Panel(
                    "Tokens per second",
                    "",
                    [
                        (rate("vllm:prompt_tokens_total", "instance"), "prompt {{instance}}"),
                        (rate("vllm:generation_tokens_total", "instance"), "answer {{instance}}"),
                    ],
                ),
                Panel(
                    "Time to first token",
                    "In the engine alone: the difference to the gateway's is waiting and loading.",
                    quantiles("vllm:time_to_first_token_seconds", "model_name"),
                    "s",
                ),
                Panel(
                    "Time between tokens",
                    "",
                    quantiles("vllm:inter_token_latency_seconds", "model_name"),
                    "s",
                ),
                Panel(
                    "Prefix cache hits",
                    "Share of prompt tokens that need not be computed.",
                    [
                        (
                            "sum by (instance) (rate(vllm:prefix_cache_hits_total{SCOPE}[$__rate_interval])) / sum by (instance) (rate(vllm:prefix_cache_queries_total{SCOPE}[$__rate_interval]))",
                            "{{instance}}",
                        )
                    ],
                    "percentunit",
                ),
                Panel(
                    "Preemptions",
                    "Requests that lost their place in the KV cache.",
                    [(rate("vllm:num_preemptions_total", "instance"), "{{instance}}")],
                ),
                Panel(
                    "How requests end",
                    "",
                    [
                        (
                            rate("vllm:request_success_total", "finished_reason"),
                            "{{finished_reason}}",
                        )
                    ],
                    "reqps",
                ),
                Panel(
                    "Time in its queue, and in prefill",
                    "",
                    [
                        (
                            quantile(0.95, "vllm:request_queue_time_seconds", "model_name"),
                            "queue {{model_name}}",
                        ),
                        (
                            quantile(0.95, "vllm:request_prefill_time_seconds", "model_name"),
                            "prefill {{model_name}}",
                        ),
                    ],
                    "s",
                ),
            ],
        ),
    ],
)

DASHBOARDS = {
    "overview": OVERVIEW,
    "tenants-and-cost": TENANTS,
    "training": TRAINING,
    "engines": ENGINES,
}


def text(dashboard: Dashboard) -> str:
    """The file's content."""
    return json.dumps(as_json(dashboard), indent=2) + "\n"


def main() -> None:
    """Write the four files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(text(dashboard))


if __name__ == "__main__":
    main()
