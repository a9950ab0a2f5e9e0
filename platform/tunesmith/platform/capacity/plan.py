"""A plan: what a workload needs, what it costs, what users feel, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from tunesmith.platform.domain.errors import InvalidRequest
from tunesmith.platform.settings import Settings

from .bases import Shape, shape_of
from .calibration import Calibration, Figure
from .estimate import engine_rate, engines_for, gateway_cores, offered_gpus, training_gpus
from .sizing import (
    ServingSize,
    TrainingSize,
    evaluation_rate,
    peak_rate,
    size_engines,
    size_training,
)
from .speeds import Cohort, Engine, cohort_on, engine_on
from .training import TrainingFleet
from .workload import DAY, Workload

HOURS = 730.5
"""Of a month."""
COHORTS_PER_BASE = 1024
"""More than anybody has GPUs: the chart lets a base have as many as its groups of workers have
(the setting `cohorts_per_base`)."""
_CLAIMS = 2
"""Of a job: to have its files read, and to be trained."""
_RENEWAL_SECONDS = 5.0
"""Between two renewals of each lease: a third of the setting lease_seconds."""
_UNSURE = 0.3
"""How far the speed of a GPU that nobody measured may be off, either way."""


@dataclass(frozen=True)
class Targets:
    """What users are to feel, each for 95 of 100; seconds."""

    queue_wait: float = 600.0
    first_token: float = 2.0


@dataclass(frozen=True)
class Part:
    """One part of the platform at the busiest moment.

    Attributes:
        planned: what the plan gives it, in words.
        busy: share of what it carries that is used.
        change: what to change when it is the first to be full.
        fixed: whether more of it cannot simply be added.
    """

    name: str
    planned: str
    busy: float
    change: str
    fixed: bool = False


@dataclass(frozen=True)
class Database:
    """PostgreSQL: bytes after a year, rows that it is sent a second, and connections."""

    bytes_after_a_year: float
    writes_per_second: float
    connections: int


@dataclass(frozen=True)
class Plan:
    """Everything that `tunesmith plan` says."""

    workload: Workload
    hardware: str
    shape: Shape
    targets: Targets
    hour_price: float
    cohort: Cohort
    engine: Engine
    training: TrainingSize
    serving: ServingSize
    gateways: int
    database: Database
    parts: tuple[Part, ...]
    warnings: tuple[str, ...]
    figures: tuple[Figure, ...]
    training_range: tuple[int, int]
    engines_range: tuple[int, int]
    seed: int

    @property
    def engines(self) -> int:
        """Of all bases."""
        return self.serving.engines * self.workload.bases

    @property
    def engine_gpus(self) -> int:
        """Of all engines."""
        return self.engines * self.engine.gpus

    @property
    def training_cost(self) -> float:
        """Of GPU workers in a month, by the hours that they run."""
        return self.training.workers_mean * HOURS * self.hour_price

    @property
    def engine_cost(self) -> float:
        """Of engines in a month; they always run."""
        return self.engine_gpus * HOURS * self.hour_price

    @property
    def first_full(self) -> Part:
        """What saturates first when everything grows alike."""
        return max(self.parts, key=lambda part: part.busy)

    @property
    def unmeasured(self) -> tuple[Figure, ...]:
        """What the plan rests on that is assumed."""
        return tuple(figure for figure in self.figures if figure.basis == "assumed")

    def as_json(self) -> dict[str, Any]:
        """For programs; seconds, bytes and currency as they are."""
        training, serving = self.training, self.serving
        return {
            "workload": asdict(self.workload),
            "gpu": self.hardware,
            "base": self.shape.name,
            "targets": asdict(self.targets),
            "training": {
                "gpus_max": training.most,
                "gpus_min": training.least,
                "gpus_mean": training.workers_mean,
                "gpus_range": list(self.training_range),
                "slots": self.cohort.slots,
                "four_bit": self.cohort.quantized,
                "tokens_per_second": self.cohort.tokens_per_second(self.cohort.slots),
                "queue_wait_p50": _number(training.wait(0.5)),
                "queue_wait_p95": _number(training.wait(0.95)),
                "training_p50": _number(training.training(0.5)),
                "training_p95": _number(training.training(0.95)),
                "met": training.met,
                "simulated_jobs": len(training.outcome.waits),
                "simulated_share": training.simulated_share,
            },
            "serving": {
                "engines": self.engines,
                "gpus": self.engine_gpus,
                "gpus_per_engine": self.engine.gpus,
                "engines_range": list(self.engines_range),
                "max_loras": self.engine.max_loras,
                "max_cpu_loras": self.engine.max_cpu_loras,
                "first_token_p50": _number(serving.first_token(0.5)),
                "first_token_p95": _number(serving.first_token(0.95)),
                "cold_share": serving.cold_share,
                "running_mean": serving.outcome.mean_running,
                "met": serving.met,
                "simulated_requests": serving.outcome.requests,
                "simulated_share": serving.simulated_share,
            },
            "gateways": self.gateways,
            "database": asdict(self.database),
            "cost": {
                "hour_price": self.hour_price,
                "training_per_month": self.training_cost,
                "engines_per_month": self.engine_cost,
                "per_month": self.training_cost + self.engine_cost,
            },
            "saturates_first": self.first_full.name,
            "parts": [asdict(part) for part in self.parts],
            "warnings": list(self.warnings),
            "figures": [asdict(figure) for figure in self.figures],
            "seed": self.seed,
        }


def make_plan(
    workload: Workload,
    hardware: str,
    base_size: str,
    targets: Targets,
    calibration: Calibration,
    *,
    slots: int = 16,
    idle_seconds: float = 300.0,
    per_base: int = COHORTS_PER_BASE,
    hour_price: float | None = None,
    seed: int = 1,
) -> Plan:
    """Find the smallest fleet that meets the targets.

    Args:
        slots: jobs of a cohort (the setting slots_per_cohort), memory permitting.
        idle_seconds: the setting cohort_idle_seconds.
        per_base: cohorts of one base at once.
        hour_price: of one GPU; the calibration's where not given.

    Raises:
        InvalidRequest: unknown hardware, or a base that it does not hold.
    """
    known = calibration.group("hardware")
    if hardware not in known:
        raise InvalidRequest(
            f"{hardware!r} is no GPU of the calibration; it has {', '.join(known)}.", param="gpu"
        )
    if hour_price is None:
        hour_price = 0.0 if hardware == "cpu" else calibration[f"hardware.{hardware}.hour_price"]
    shape = shape_of(base_size)
    cohort = cohort_on(hardware, shape, workload, calibration, slots)
    engine = engine_on(hardware, shape, workload, calibration)
    fleet = TrainingFleet(
        cohort=cohort,
        most=1,
        least=0,
        per_base=per_base,
        worker_seconds=calibration["training.worker_seconds"],
        idle_seconds=idle_seconds,
        preparation_seconds=calibration["training.preparation_seconds"],
        publication_seconds=calibration["training.publication_seconds"],
    )
    training = size_training(workload, cohort, fleet, targets.queue_wait, seed)
    serving = size_engines(workload, engine, targets.first_token, seed)
    gateways = _gateways(workload, calibration)
    database = _database(workload, gateways, calibration)
    parts = _parts(workload, cohort, engine, training, serving, gateways, calibration)
    warnings = _warnings(workload, fleet, engine, training, serving, targets)
    ranges = _ranges(workload, hardware, shape, slots, targets, calibration, training, serving)
    return Plan(
        workload, hardware, shape, targets, hour_price, cohort, engine, training, serving,
        gateways, database, parts, warnings,
        calibration.used, *ranges, seed,
    )  # fmt: skip


def _gateways(workload: Workload, calibration: Calibration) -> int:
    """At least two, so that one can be replaced."""
    cores = _gateway_cores(workload, calibration)
    return max(2, math.ceil(cores / calibration["gateway.utilisation"]))


def _gateway_cores(workload: Workload, calibration: Calibration) -> float:
    return gateway_cores(
        peak_rate(workload),
        workload.completion_tokens,
        calibration["gateway.request_seconds"],
        calibration["gateway.chunk_seconds"],
    )


def _steps(workload: Workload) -> float:
    """Optimizer steps of a job; each is an event."""
    return workload.examples * workload.epochs / workload.batch


def _usage_rows_per_day(workload: Workload) -> float:
    """A row for each key, model and day in which it is used; a key for each tenant."""
    return min(workload.models, workload.requests_per_second * DAY)


def _database(workload: Workload, gateways: int, calibration: Calibration) -> Database:
    year = 365.25
    steps_kept: float = Settings.model_fields["step_events_days"].default
    of_steps = _steps(workload) * calibration["database.event_bytes"]
    size = (
        workload.tenants * calibration["database.tenant_bytes"]
        + workload.jobs_per_day * year * calibration["database.job_bytes"]
        + workload.jobs_per_day * steps_kept * of_steps
        + _usage_rows_per_day(workload) * year * calibration["database.usage_bytes"]
    )
    jobs = workload.jobs_per_day / DAY * workload.peak
    writes = jobs * (10 + _steps(workload)) + _usage_writes(workload, gateways)
    # A process keeps 10 and takes 30 at most (database/connection.py); a dispatcher, one more that
    # stands by, and an evaluator beside the gateways.
    return Database(size, writes, 30 * (gateways + 3))


def _usage_writes(workload: Workload, gateways: int) -> float:
    """Rows a second: each gateway adds up for a second what was used, by key and model."""
    return min(peak_rate(workload), float(gateways * workload.models))


def _parts(  # noqa: PLR0917 - one argument for each part
    workload: Workload,
    cohort: Cohort,
    engine: Engine,
    training: TrainingSize,
    serving: ServingSize,
    gateways: int,
    calibration: Calibration,
) -> tuple[Part, ...]:
    jobs = workload.jobs_per_day / DAY * workload.peak
    gpus = offered_gpus(workload, cohort) * workload.peak
    rate = (peak_rate(workload) + evaluation_rate(workload)) / workload.bases
    loop = jobs * (_CLAIMS * calibration["dispatcher.claim_seconds"])
    loop += jobs * calibration["dispatcher.job_seconds"]
    loop += jobs * _steps(workload) * calibration["dispatcher.step_seconds"]
    held = min(gpus, float(training.most)) * cohort.slots
    loop += held * calibration["dispatcher.lease_seconds"] / _RENEWAL_SECONDS
    usage = _usage_writes(workload, gateways) / gateways
    usage /= calibration["database.usage_rows_per_second"]
    size = serving.engines * workload.bases
    return (
        Part(
            "cohorts", f"{training.least} to {training.most}", gpus / training.most,
            "ray.workerGroups.NAME.maxReplicas, and more bases: one cohort each",
        ),
        Part(
            "engines, computing", f"{size}",
            rate / (serving.engines * engine_rate(engine, workload.completion_tokens)),
            "bases.NAME.engine.replicas",
        ),
        Part(
            "engines, adapters in a batch", f"{engine.max_loras} slots each",
            serving.outcome.mean_adapters / engine.max_loras, "bases.NAME.engine.maxLoras",
        ),
        Part(
            "gateways", f"{gateways}", _gateway_cores(workload, calibration) / gateways,
            "gateway.replicas",
        ),
        Part(
            "dispatcher", "1 leads", loop, "batches, lease_seconds, or several releases", True
        ),
        Part("usage of one gateway", "1 connection", usage, "gateway.replicas"),
    )  # fmt: skip


def _ranges(  # noqa: PLR0917 - one argument for each part
    workload: Workload,
    hardware: str,
    shape: Shape,
    slots: int,
    targets: Targets,
    calibration: Calibration,
    training: TrainingSize,
    serving: ServingSize,
) -> tuple[tuple[int, int], tuple[int, int]]:
    """What the plan would be if GPUs were faster or slower: its counts by the estimates' ratio."""

    def counts(factor: float) -> tuple[int, int]:
        other = Calibration({figure.name: figure for figure in calibration.figures}).scaled(
            (f"hardware.{hardware}.teraflops", f"hardware.{hardware}.bandwidth_gb"), factor
        )
        cohort = cohort_on(hardware, shape, workload, other, slots)
        engine = engine_on(hardware, shape, workload, other)
        rate = (peak_rate(workload) + evaluation_rate(workload)) / workload.bases
        return (
            training_gpus(workload, cohort, max(targets.queue_wait, 1.0)),
            engines_for(engine, rate, workload.completion_tokens),
        )

    middle = counts(1.0)
    found = [counts(factor) for factor in (1 + _UNSURE, 1 - _UNSURE)]
    both = []
    for index, planned in ((0, training.most), (1, serving.engines)):
        few, many = (count[index] / middle[index] * planned for count in found)
        times = workload.bases if index else 1
        both.append((times * max(1, math.floor(few)), times * math.ceil(many)))
    return both[0], both[1]


def _warnings(  # noqa: PLR0917 - one argument for each part
    workload: Workload,
    fleet: TrainingFleet,
    engine: Engine,
    training: TrainingSize,
    serving: ServingSize,
    targets: Targets,
) -> tuple[str, ...]:
    cohort, limit = fleet.cohort, fleet.per_base * workload.bases
    needed = training_gpus(workload, cohort, max(targets.queue_wait, 1.0))
    found = []
    if not training.met and needed > limit:
        found.append(
            f"This asks for {needed} GPUs to train at the peak, but the dispatcher trains each base"
            f" in {_count(fleet.per_base, 'cohort')} at a time: {_count(limit, 'GPU')} for"
            f" {_count(workload.bases, 'base')}. What is beyond waits. Spread the jobs over more"
            " bases (the same weights under another name are another base), or take larger GPUs."
        )
    elif not training.met:
        found.append(
            f"No number of GPUs has 95 % of jobs start within {targets.queue_wait:g} s: a base"
            f" takes {cohort.start_seconds:.0f} s to load when its cohort was given back. Raise"
            " --queue-wait-target or --cohort-idle."
        )
    if not serving.met:
        found.append(
            f"No number of engines gives 95 % of requests their first token within"
            f" {targets.first_token:g} s: a prompt takes {engine.prompt_seconds:.2f} s, an adapter"
            f" {engine.load_seconds:.2f} s to load. Raise --ttft-target, or take a faster GPU."
        )
    if cohort.quantized:
        found.append(
            "The base is too large for this GPU in bfloat16, so it trains in 4 bit:"
            " settings.base_quantization=4bit."
        )
    return tuple(found)


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
