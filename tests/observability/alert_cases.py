"""What makes each alert fire, and what looks like it and must not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

NS = 'namespace="ml"'
GATEWAY = f'{NS},instance="10.0.0.1:8000",job="gateway"'
GATEWAY_2 = f'{NS},instance="10.0.0.2:8000",job="gateway"'
DISPATCHER = f'{NS},instance="10.0.0.3:9100",job="dispatcher"'
CHAT = f'{GATEWAY},method="POST",route="/v1/chat/completions"'
FILES = f'{GATEWAY},method="POST",route="/v1/files"'
BASE = f'{GATEWAY},base="pocket"'
ENGINE = 'engine="http://10.1.0.1:8000"'


@dataclass(frozen=True)
class Case:
    """A story for Prometheus' rules, a sample a minute, and what it comes to.

    Attributes:
        series: by name and labels without `{}`; values in promtool's notation.
        at: minutes after which it is looked at.
        fires: whether the alert fires then.
        labels: that the alert has at least.
        step: minutes between two evaluations.
    """

    alert: str
    story: str
    series: Mapping[str, str]
    at: int
    fires: bool
    labels: Mapping[str, str] = field(default_factory=dict)
    step: int = 1


def fires(alert: str, story: str, series: Mapping[str, str], at: int, **labels: str) -> Case:
    return Case(alert, story, series, at, True, labels)


def silent(alert: str, story: str, series: Mapping[str, str], at: int, **labels: str) -> Case:
    return Case(alert, story, series, at, False, labels)


def every(step: int, case: Case) -> Case:
    """With an evaluation every `step` minutes: for stories of hours and days."""
    return replace(case, step=step)


def answers(good: str, bad: str, status: str = "503") -> dict[str, str]:
    return {
        f'tunesmith_requests_total{{{CHAT},status="200"}}': good,
        f'tunesmith_requests_total{{{CHAT},status="{status}"}}': bad,
    }


def streams(fast: str, all_: str, base: str = BASE) -> dict[str, str]:
    return {
        f'tunesmith_time_to_first_token_seconds_bucket{{{base},le="2.0"}}': fast,
        f"tunesmith_time_to_first_token_seconds_count{{{base}}}": all_,
    }


_BURN, _FIRST = "TunesmithInferenceErrorBudgetBurn", "TunesmithTimeToFirstTokenBudgetBurn"
SLO = [
    fires(_BURN, "2 % fail", answers("0+600x120", "0+12x120"), 30, window="1h"),
    fires(
        _BURN,
        "streams are cut, with status 200",
        answers("0+600x120", "0+0x120") | {f"tunesmith_streams_cut_total{{{BASE}}}": "0+12x120"},
        30,
        window="1h",
    ),
    silent(_BURN, "0.05 % fail", answers("0+4000x120", "0+2x120"), 100),
    silent(_BURN, "clients do not wait", answers("0+600x120", "0+300x120", "499"), 60),
    silent(_BURN, "limits work", answers("0+600x120", "0+300x120", "429"), 60),
    silent(_BURN, "three of few at night", answers("0+1x120", "0+0x50 1+0x10 2+0x60"), 70),
    silent(
        _BURN,
        "it is over, within the hour",
        answers("0+600x180", "0+60x10 600+0x170"),
        40,
        window="1h",
    ),
    silent(
        _BURN,
        "uploads fail, not inference",
        {f'tunesmith_requests_total{{{FILES},status="503"}}': "0+60x120"}
        | answers("0+600x120", "0+0x120"),
        60,
    ),
    every(10, fires(_BURN, "0.8 % for hours", answers("0+600x500", "0+5x500"), 400, window="6h")),
    every(
        60,
        fires(_BURN, "0.4 % fail for a day", answers("0+996x1600", "0+4x1600"), 1500, window="1d"),
    ),
    every(
        60,
        fires(_BURN, "0.15 % fail for days", answers("0+1997x4600", "0+3x4600"), 4500, window="3d"),
    ),
    fires(_FIRST, "most are late", streams("0+1x120", "0+10x120"), 30, window="1h", base="pocket"),
    silent(_FIRST, "4 % are late", streams("0+96x120", "0+100x120"), 100),
    silent(_FIRST, "few, all late", streams("0+0x120", "0+0x100 1+0x20"), 110),
    silent(_FIRST, "nobody asks", streams("0+0x120", "0+0x120"), 60),
    every(10, fires(_FIRST, "a third late", streams("0+66x500", "0+100x500"), 400, window="6h")),
    every(60, fires(_FIRST, "a fifth late", streams("0+80x1600", "0+100x1600"), 1500, window="1d")),
    every(60, fires(_FIRST, "7 % late", streams("0+93x4600", "0+100x4600"), 4500, window="3d")),
]

_LOADS = "tunesmith_adapter_load_seconds"
SERVING = [
    fires(
        "TunesmithGatewayAbsent",
        "only a dispatcher is there",
        {f'tunesmith_build_info{{{DISPATCHER},process="dispatcher"}}': "1x20"},
        10,
    ),
    silent(
        "TunesmithGatewayAbsent",
        "one of two is there",
        {f'tunesmith_build_info{{{GATEWAY},process="gateway"}}': "1x20"},
        10,
    ),
    fires(
        "TunesmithProcessRestarts",
        "three starts in 15 minutes",
        {
            f"process_start_time_seconds{{{GATEWAY}}}": "0 0 200 200 400 400 600 600 600 600 600",
            f'tunesmith_build_info{{{GATEWAY},process="gateway"}}': "1x20",
        },
        10,
        instance="10.0.0.1:8000",
    ),
    silent(
        "TunesmithProcessRestarts",
        "one start, of an upgrade",
        {
            f"process_start_time_seconds{{{GATEWAY}}}": "0x5 300x20",
            f'tunesmith_build_info{{{GATEWAY},process="gateway"}}': "1x20",
        },
        15,
    ),
    silent(
        "TunesmithProcessRestarts",
        "somebody else's process",
        {f'process_start_time_seconds{{{NS},instance="db",job="x"}}': "0 60 120 180 240 300 360"},
        6,
    ),
    fires(
        "TunesmithVersionSkew",
        "an upgrade is stuck",
        {
            f'tunesmith_build_info{{{GATEWAY},version="1",schema="7"}}': "1x100",
            f'tunesmith_build_info{{{GATEWAY_2},version="2",schema="8"}}': "1x100",
        },
        70,
    ),
    silent(
        "TunesmithVersionSkew",
        "an upgrade takes ten minutes",
        {
            f'tunesmith_build_info{{{GATEWAY},version="1",schema="7"}}': "1x10 _x90",
            f'tunesmith_build_info{{{GATEWAY_2},version="2",schema="8"}}': "1x100",
        },
        70,
    ),
    fires(
        "TunesmithEngineDown",
        "both gateways see it down",
        {
            f"tunesmith_engine_up{{{GATEWAY},{ENGINE}}}": "0x30",
            f"tunesmith_engine_up{{{GATEWAY_2},{ENGINE}}}": "0x30",
        },
        15,
        engine="http://10.1.0.1:8000",
    ),
    silent(
        "TunesmithEngineDown",
        "one of three does not reach it",
        {
            f"tunesmith_engine_up{{{GATEWAY},{ENGINE}}}": "0x30",
            f"tunesmith_engine_up{{{GATEWAY_2},{ENGINE}}}": "1x30",
            f'tunesmith_engine_up{{{NS},instance="c",job="gateway",{ENGINE}}}': "1x30",
        },
        20,
    ),
    silent(
        "TunesmithEngineDown",
        "it starts in five minutes",
        {f"tunesmith_engine_up{{{GATEWAY},{ENGINE}}}": "0x5 1x30"},
        20,
    ),
    fires(
        "TunesmithEngineUnavailable",
        "requests find no engine",
        {f'tunesmith_requests_refused_total{{{GATEWAY},reason="engine_unavailable"}}': "0+3x30"},
        15,
    ),
    silent(
        "TunesmithEngineUnavailable",
        "limits refuse",
        {f'tunesmith_requests_refused_total{{{GATEWAY},reason="tokens_per_minute"}}': "0+30x30"},
        15,
    ),
    silent(
        "TunesmithEngineUnavailable",
        "engines are at zero, and nobody asks",
        {
            f'tunesmith_requests_refused_total{{{GATEWAY},reason="engine_unavailable"}}': "0x30",
            f"tunesmith_engines_serving{{{BASE}}}": "0x30",
        },
        15,
    ),
    fires(
        "TunesmithEngineRestarts",
        "three within the hour, as two gateways see them",
        {
            f"tunesmith_engine_restarts_total{{{GATEWAY},{ENGINE}}}": "0x10 1x10 2x10 3x40",
            f"tunesmith_engine_restarts_total{{{GATEWAY_2},{ENGINE}}}": "0x10 1x10 2x10 3x40",
        },
        50,
        engine="http://10.1.0.1:8000",
    ),
    silent(
        "TunesmithEngineRestarts",
        "one",
        {
            f"tunesmith_engine_restarts_total{{{GATEWAY},{ENGINE}}}": "0x10 1x60",
            f"tunesmith_engine_restarts_total{{{GATEWAY_2},{ENGINE}}}": "0x10 1x60",
        },
        50,
    ),
    fires(
        "TunesmithEngineBreakerOpen",
        "one gateway keeps requests from it",
        {f"tunesmith_engine_breaker_open{{{GATEWAY},{ENGINE}}}": "1x20"},
        10,
    ),
    silent(
        "TunesmithEngineBreakerOpen",
        "it recovers within a minute",
        {f"tunesmith_engine_breaker_open{{{GATEWAY},{ENGINE}}}": "0 1 0 0 0 0 1 0x10"},
        10,
    ),
    fires(
        "TunesmithAdapterLoadFailures",
        "half of them fail",
        {
            f"tunesmith_adapter_load_failures_total{{{BASE}}}": "0+1x30",
            f"{_LOADS}_count{{{BASE}}}": "0+1x30",
        },
        25,
        base="pocket",
    ),
    silent(
        "TunesmithAdapterLoadFailures",
        "one in a hundred fails",
        {
            f"tunesmith_adapter_load_failures_total{{{BASE}}}": "0+1x30",
            f"{_LOADS}_count{{{BASE}}}": "0+100x30",
        },
        25,
    ),
    silent(
        "TunesmithAdapterLoadFailures",
        "one alone, of a deleted model",
        {
            f"tunesmith_adapter_load_failures_total{{{BASE}}}": "0x5 1x30",
            f"{_LOADS}_count{{{BASE}}}": "0x30",
        },
        15,
    ),
    fires(
        "TunesmithAdapterLoadsSlow",
        "all take more than 20 s",
        {
            f'{_LOADS}_bucket{{{BASE},le="20.0"}}': "0x60",
            f'{_LOADS}_bucket{{{BASE},le="30.0"}}': "0+5x60",
            f'{_LOADS}_bucket{{{BASE},le="+Inf"}}': "0+5x60",
        },
        40,
        base="pocket",
    ),
    silent(
        "TunesmithAdapterLoadsSlow",
        "all take less than 5 s",
        {
            f'{_LOADS}_bucket{{{BASE},le="5.0"}}': "0+5x60",
            f'{_LOADS}_bucket{{{BASE},le="+Inf"}}': "0+5x60",
        },
        40,
    ),
    fires(
        "TunesmithRequestsWaiting",
        "they add up over gateways",
        {
            f"tunesmith_requests_waiting{{{BASE}}}": "8x30",
            f'tunesmith_requests_waiting{{{GATEWAY_2},base="pocket"}}': "8x30",
        },
        15,
        base="pocket",
    ),
    silent(
        "TunesmithRequestsWaiting",
        "engines come within five minutes",
        {f"tunesmith_requests_waiting{{{BASE}}}": "80x5 0x30"},
        15,
    ),
    fires(
        "TunesmithLimitStoreDown",
        "one gateway is alone",
        {
            f"tunesmith_limit_store_up{{{GATEWAY}}}": "0x10",
            f"tunesmith_limit_store_up{{{GATEWAY_2}}}": "1x10",
        },
        5,
    ),
    silent(
        "TunesmithLimitStoreDown",
        "it restarts",
        {f"tunesmith_limit_store_up{{{GATEWAY}}}": "1 1 0 1x10"},
        5,
    ),
    fires(
        "TunesmithLedgerLag",
        "nothing is written for minutes",
        {f"tunesmith_usage_ledger_lag_seconds{{{GATEWAY}}}": "0+60x10"},
        6,
        instance="10.0.0.1:8000",
    ),
    silent(
        "TunesmithLedgerLag",
        "a failover of half a minute",
        {f"tunesmith_usage_ledger_lag_seconds{{{GATEWAY}}}": "0 1 31 1x10"},
        6,
    ),
    fires(
        "TunesmithWebhookBacklog",
        "an event is due for half an hour",
        {f"tunesmith_webhook_overdue_seconds{{{GATEWAY}}}": "0+60x40"},
        30,
    ),
    silent(
        "TunesmithWebhookBacklog",
        "events are sent when they are due",
        {
            f"tunesmith_webhook_overdue_seconds{{{GATEWAY}}}": "0x40",
            f'tunesmith_webhook_deliveries{{{GATEWAY},status="pending"}}': "500x40",
        },
        30,
    ),
    fires(
        "TunesmithWebhooksRefused",
        "nobody takes any",
        {
            f'tunesmith_webhook_attempts_total{{{GATEWAY},outcome="refused"}}': "0+10x60",
            f'tunesmith_webhook_attempts_total{{{GATEWAY},outcome="taken"}}': "0x60",
        },
        50,
    ),
    silent(
        "TunesmithWebhooksRefused",
        "one tenant's endpoint is down",
        {
            f'tunesmith_webhook_attempts_total{{{GATEWAY},outcome="refused"}}': "0+10x60",
            f'tunesmith_webhook_attempts_total{{{GATEWAY},outcome="taken"}}': "0+40x60",
        },
        50,
    ),
]

_STORAGE_ERRORS = f"tunesmith_storage_errors_total{{{GATEWAY}"
_TRANSACTIONS = "tunesmith_database_transaction_seconds"
STATE = [
    fires(
        "TunesmithDatabaseDown",
        "one gateway does not reach it",
        {
            f"tunesmith_database_up{{{GATEWAY}}}": "1 0x10",
            f"tunesmith_database_up{{{GATEWAY_2}}}": "1x10",
        },
        5,
    ),
    silent("TunesmithDatabaseDown", "it is up", {f"tunesmith_database_up{{{GATEWAY}}}": "1x10"}, 5),
    fires(
        "TunesmithDatabaseErrors",
        "a tenth fails",
        {
            f'tunesmith_database_errors_total{{{GATEWAY},error="unavailable"}}': "0+60x30",
            f'{_TRANSACTIONS}_count{{{GATEWAY},kind="read"}}': "0+600x30",
        },
        20,
    ),
    silent(
        "TunesmithDatabaseErrors",
        "one in a thousand fails",
        {
            f'tunesmith_database_errors_total{{{GATEWAY},error="unavailable"}}': "0+1x30",
            f'{_TRANSACTIONS}_count{{{GATEWAY},kind="read"}}': "0+1000x30",
        },
        20,
    ),
    fires(
        "TunesmithDatabasePoolExhausted",
        "all connections are in use",
        {
            f'tunesmith_database_connections{{{GATEWAY},state="in_use"}}': "30x10",
            f"tunesmith_database_connections_max{{{GATEWAY}}}": "30x10",
        },
        5,
    ),
    fires(
        "TunesmithDatabasePoolExhausted",
        "requests waited for one in vain",
        {f'tunesmith_database_errors_total{{{GATEWAY},error="pool_exhausted"}}': "0 0 3x10"},
        6,
        instance="10.0.0.1:8000",
    ),
    silent(
        "TunesmithDatabasePoolExhausted",
        "most connections are in use",
        {
            f'tunesmith_database_connections{{{GATEWAY},state="in_use"}}': "29x10",
            f"tunesmith_database_connections_max{{{GATEWAY}}}": "30x10",
            f'tunesmith_database_errors_total{{{GATEWAY},error="pool_exhausted"}}': "7x10",
        },
        5,
    ),
    fires(
        "TunesmithDatabaseSlow",
        "reads take seconds",
        {
            f'{_TRANSACTIONS}_bucket{{{GATEWAY},kind="read",le="1.0"}}': "0x40",
            f'{_TRANSACTIONS}_bucket{{{GATEWAY},kind="read",le="2.5"}}': "0+9x40",
            f'{_TRANSACTIONS}_bucket{{{GATEWAY},kind="read",le="+Inf"}}': "0+9x40",
        },
        25,
    ),
    silent(
        "TunesmithDatabaseSlow",
        "only writes, which hold their work, do",
        {
            f'{_TRANSACTIONS}_bucket{{{GATEWAY},kind="write",le="1.0"}}': "0x40",
            f'{_TRANSACTIONS}_bucket{{{GATEWAY},kind="write",le="+Inf"}}': "0+9x40",
            f'{_TRANSACTIONS}_bucket{{{GATEWAY},kind="read",le="0.01"}}': "0+90x40",
            f'{_TRANSACTIONS}_bucket{{{GATEWAY},kind="read",le="+Inf"}}': "0+90x40",
        },
        25,
    ),
    fires(
        "TunesmithStorageErrors",
        "a tenth fails",
        {
            f'{_STORAGE_ERRORS},error="unavailable",operation="read"}}': "0+1x30",
            f'tunesmith_storage_operation_seconds_count{{{GATEWAY},operation="read"}}': "0+10x30",
        },
        20,
    ),
    silent(
        "TunesmithStorageErrors",
        "three in a thousand fail",
        {
            f'{_STORAGE_ERRORS},error="unavailable",operation="read"}}': "0+3x30",
            f'tunesmith_storage_operation_seconds_count{{{GATEWAY},operation="read"}}': "0+1000x30",
        },
        20,
    ),
    fires(
        "TunesmithStorageFull",
        "one write finds no room",
        {f'tunesmith_storage_errors_total{{{GATEWAY},error="full",operation="write"}}': "0x5 1x9"},
        10,
    ),
    silent(
        "TunesmithStorageFull",
        "it was yesterday",
        {f'tunesmith_storage_errors_total{{{GATEWAY},error="full",operation="write"}}': "1x20"},
        18,
    ),
]

_OLDEST = f'tunesmith_oldest_waiting_job_seconds{{{DISPATCHER},base="pocket"'
_OUTCOMES = f'tunesmith_job_outcomes_total{{{DISPATCHER},base="pocket"'
_EVALUATIONS = f'{DISPATCHER},kind="evaluations"'
_EVALUATED = f"tunesmith_evaluations_done_total{{{_EVALUATIONS}"
_OLDEST_EVALUATION = f"tunesmith_oldest_waiting_evaluation_seconds{{{_EVALUATIONS}}}"
_COHORT = f'{DISPATCHER},base="pocket"'
_PROGRESS = f"tunesmith_cohort_last_progress_timestamp_seconds{{{_COHORT}}}"
TRAINING = [
    fires(
        "TunesmithQueueAge",
        "an hour",
        {_OLDEST + ',status="queued"}': "0+60x60"},
        50,
        base="pocket",
    ),
    silent(
        "TunesmithQueueAge",
        "twenty minutes, again and again",
        {_OLDEST + ',status="queued"}': "0+60x20 0+60x20 0+60x20"},
        50,
    ),
    fires(
        "TunesmithValidationAge",
        "files are not read",
        {_OLDEST + ',status="validating_files"}': "0+60x60"},
        25,
    ),
    silent(
        "TunesmithValidationAge",
        "jobs wait for a GPU, their files are read",
        {
            _OLDEST + ',status="queued"}': "0+60x60",
            _OLDEST + ',status="validating_files"}': "5x60",
        },
        25,
    ),
    fires(
        "TunesmithJobFailures",
        "engines do not serve what is trained",
        {
            _OUTCOMES + ',outcome="failed_by_platform"}': "0x10 1x10 2x10 3x10 4x10 5x20",
            _OUTCOMES + ',outcome="succeeded"}': "0x10 1x50",
        },
        60,
        base="pocket",
    ),
    silent(
        "TunesmithJobFailures",
        "tenants upload nonsense",
        {
            _OUTCOMES + ',outcome="failed_by_tenant"}': "0+1x60",
            _OUTCOMES + ',outcome="failed_by_platform"}': "0x60",
            _OUTCOMES + ',outcome="succeeded"}': "0x10 1x50",
        },
        60,
    ),
    silent(
        "TunesmithJobFailures",
        "one of many",
        {
            _OUTCOMES + ',outcome="failed_by_platform"}': "0x10 1x50",
            _OUTCOMES + ',outcome="succeeded"}': "0+1x60",
        },
        60,
    ),
    fires(
        "TunesmithCohortStuck",
        "jobs, and no step for 40 minutes",
        {
            _PROGRESS: "0x60",
            f"tunesmith_cohort_slots_used{{{_COHORT}}}": "2x60",
        },
        40,
        base="pocket",
    ),
    silent(
        "TunesmithCohortStuck",
        "an idle cohort",
        {
            _PROGRESS: "0x60",
            f"tunesmith_cohort_slots_used{{{_COHORT}}}": "0x60",
        },
        40,
    ),
    silent(
        "TunesmithCohortStuck",
        "a step every ten minutes",
        {
            _PROGRESS: "0x9 600x9 1200x9 1800x9 2400x9",
            f"tunesmith_cohort_slots_used{{{_COHORT}}}": "1x60",
        },
        45,
    ),
    fires(
        "TunesmithCohortPending",
        "no GPU comes",
        {f"tunesmith_cohorts_pending{{{_COHORT}}}": "1x60"},
        35,
        base="pocket",
    ),
    silent(
        "TunesmithCohortPending",
        "one comes within ten minutes",
        {f"tunesmith_cohorts_pending{{{_COHORT}}}": "1x10 0x50"},
        35,
    ),
    fires(
        "TunesmithCohortsLost",
        "it dies again and again",
        {f"tunesmith_cohorts_lost_total{{{_COHORT}}}": "0x10 1x9 2x9 3x9 4x30"},
        55,
        base="pocket",
    ),
    silent(
        "TunesmithCohortsLost",
        "a node is drained",
        {f"tunesmith_cohorts_lost_total{{{_COHORT}}}": "0x10 1x50"},
        55,
    ),
    fires(
        "TunesmithDispatcherSilent",
        "five minutes",
        {
            f"tunesmith_dispatcher_silence_seconds{{{GATEWAY}}}": "0+60x10",
            f"tunesmith_dispatcher_silence_seconds{{{GATEWAY_2}}}": "0+60x10",
        },
        6,
    ),
    silent(
        "TunesmithDispatcherSilent",
        "it is replaced",
        {f"tunesmith_dispatcher_silence_seconds{{{GATEWAY}}}": "3 50 110 4 5x10"},
        6,
    ),
    fires(
        "TunesmithNoLeader",
        "the lease ran out minutes ago",
        {f'tunesmith_leader_lease_seconds{{{GATEWAY},name="dispatcher"}}': "10-60x10"},
        6,
    ),
    silent(
        "TunesmithNoLeader",
        "it is renewed",
        {f'tunesmith_leader_lease_seconds{{{GATEWAY},name="dispatcher"}}': "10 12 9 15x10"},
        6,
    ),
    fires(
        "TunesmithSeveralLeaders",
        "two lead",
        {
            f'tunesmith_leader{{{DISPATCHER},process="a 1"}}': "1x10",
            f'tunesmith_leader{{{NS},instance="b",job="dispatcher",process="b 1"}}': "1x10",
        },
        5,
    ),
    silent(
        "TunesmithSeveralLeaders",
        "one leads, one stands by",
        {
            f'tunesmith_leader{{{DISPATCHER},process="a 1"}}': "1x10",
            f'tunesmith_leader{{{NS},instance="b",job="dispatcher",process="b 1"}}': "0x10",
        },
        5,
    ),
    fires(
        "TunesmithEvaluatorSilent",
        "five minutes",
        {f"tunesmith_evaluator_silence_seconds{{{GATEWAY}}}": "0+60x10"},
        7,
    ),
    silent(
        "TunesmithEvaluatorSilent",
        "it lives",
        {f"tunesmith_evaluator_silence_seconds{{{GATEWAY}}}": "4x10"},
        7,
    ),
    fires(
        "TunesmithEvaluationAge",
        "an hour",
        {_OLDEST_EVALUATION: "0+60x60"},
        50,
        kind="evaluations",
    ),
    silent(
        "TunesmithEvaluationAge",
        "ten minutes",
        {_OLDEST_EVALUATION: "600x60"},
        50,
    ),
    fires(
        "TunesmithEvaluationFailures",
        "most fail",
        {
            _EVALUATED + ',outcome="failed"}': "0x5 1x5 2x5 3x5 4x5 5x40",
            _EVALUATED + ',outcome="done"}': "0x5 1x60",
        },
        50,
        kind="evaluations",
    ),
    silent(
        "TunesmithEvaluationFailures",
        "a few of many",
        {
            _EVALUATED + ',outcome="failed"}': "0x5 1x5 2x5 3x5 4x5 5x40",
            _EVALUATED + ',outcome="done"}': "0+2x60",
        },
        50,
    ),
    fires(
        "TunesmithJudgeErrors",
        "it is away",
        {f"tunesmith_judge_errors_total{{{DISPATCHER}}}": "0+1x40"},
        30,
    ),
    silent(
        "TunesmithJudgeErrors",
        "it stumbles",
        {f"tunesmith_judge_errors_total{{{DISPATCHER}}}": "0x5 1x10 2x30"},
        30,
    ),
    fires(
        "TunesmithBatchesStuck",
        "nothing is answered for hours",
        {
            f'tunesmith_batches{{{GATEWAY},status="in_progress"}}': "1x200",
            f'tunesmith_batch_lines{{{GATEWAY},state="completed"}}': "40x200",
            f'tunesmith_batch_lines{{{GATEWAY},state="failed"}}': "0x200",
        },
        150,
    ),
    silent(
        "TunesmithBatchesStuck",
        "a line every half hour",
        {
            f'tunesmith_batches{{{GATEWAY},status="in_progress"}}': "1x200",
            f'tunesmith_batch_lines{{{GATEWAY},state="completed"}}': "1x29 2x29 3x29 4x29 5x29 6x9",
            f'tunesmith_batch_lines{{{GATEWAY},state="failed"}}': "0x200",
        },
        170,
    ),
]

_CRONJOB, _BACKUP = f'{NS},cronjob="tunesmith-backup"', "TunesmithBackupFailed"
_PLATFORM = {f"tunesmith_build_info{{{GATEWAY}}}": "1x700"}
_NIGHT = f'{NS},job_name="tunesmith-backup-29000000"'


def _backup_jobs(success: str, start: str, failed: str) -> dict[str, str]:
    """Seconds of the last success and of the job's start, and whether the job failed."""
    return _PLATFORM | {
        f"kube_cronjob_created{{{_CRONJOB}}}": "0x700",
        f"kube_cronjob_status_last_successful_time{{{_CRONJOB}}}": success,
        f"kube_job_status_start_time{{{_NIGHT}}}": start,
        f'kube_job_failed{{{_NIGHT},condition="true"}}': failed,
    }


# In samples of a minute, so that 36 hours are 2160.
STATE += [
    fires(_BACKUP, "the last one failed", _backup_jobs("60x700", "600x700", "1x700"), 30),
    every(
        10,
        fires(
            _BACKUP,
            "no job was made for two days",
            {
                f"tunesmith_build_info{{{GATEWAY}}}": "1x3000",
                f"kube_cronjob_created{{{_CRONJOB}}}": "0x3000",
                f"kube_cronjob_status_last_successful_time{{{_CRONJOB}}}": "60x3000",
            },
            2200,
        ),
    ),
    every(
        10,
        fires(
            _BACKUP,
            "none ever succeeded",
            {
                f"tunesmith_build_info{{{GATEWAY}}}": "1x3000",
                f"kube_cronjob_created{{{_CRONJOB}}}": "0x3000",
            },
            2200,
        ),
    ),
    silent(
        _BACKUP,
        "it was made again after one failed",
        _backup_jobs("900x700", "60x700", "1x700"),
        60,
    ),
    silent(
        _BACKUP, "a try failed and the next did not", _backup_jobs("900x700", "60x700", "0x700"), 60
    ),
    silent(
        _BACKUP,
        "another program's fails",
        {
            f"kube_cronjob_created{{{_CRONJOB}}}": "0x700",
            f"kube_job_status_start_time{{{_NIGHT}}}": "600x700",
            f'kube_job_failed{{{_NIGHT},condition="true"}}': "1x700",
        },
        60,
    ),
]
CASES = {"slo": SLO, "serving": SERVING, "state": STATE, "training": TRAINING}
"""By the name of the rules' file."""
