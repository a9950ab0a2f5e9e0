"""The table of metrics in docs/observability.md, from the processes' own registries.

`.venv/bin/python -m scripts.metrics_table` writes it anew, between the two marks in the page.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

PAGE = Path(__file__).parents[1] / "docs" / "observability.md"
BEGIN, END = "<!-- metrics: begin -->", "<!-- metrics: end -->"


def registries(home: Path) -> dict[str, CollectorRegistry]:
    """A registry of each process, over an empty database under `home`."""
    from tunesmith.gateway.engines.engine import Engine, Load
    from tunesmith.gateway.engines.pool import EnginePool
    from tunesmith.gateway.health import figures
    from tunesmith.gateway.limits.fail_open import FailOpenStore
    from tunesmith.gateway.limits.figures import of_store
    from tunesmith.gateway.limits.store import MemoryStore
    from tunesmith.gateway.metrics import Metrics
    from tunesmith.gateway.usage.figures import TenantFigures, of_ledger
    from tunesmith.gateway.usage.ledger import UsageLedger
    from tunesmith.platform.database import Database, migrate
    from tunesmith.platform.jobs.counting import JobCounts
    from tunesmith.platform.metrics.database import watch_database
    from tunesmith.platform.metrics.process import describe_process
    from tunesmith.platform.metrics.storage import watch_storage
    from tunesmith.platform.settings import Settings
    from tunesmith.platform.storage import Storage
    from tunesmith.workers.dispatcher.dispatcher import Dispatcher
    from tunesmith.workers.evaluator.evaluator import Evaluator

    settings = Settings(home=home)
    database, storage = Database(settings.database_url), Storage(settings.storage_url)
    migrate(database)
    dispatcher = Dispatcher(settings, database, storage)
    evaluator = Evaluator(settings, database, storage)
    metrics = Metrics()
    tenants = TenantFigures(database, metrics.registry, 1)
    engine = Engine("http://engine", bases=frozenset({"base"}), load=Load())
    pool = EnginePool([], wait_seconds=0, slots=1, holds=1)
    pool.engines.append(engine)
    describe_process(metrics.registry, "gateway")
    watch_database(metrics.registry, database)
    watch_storage(metrics.registry, storage)
    metrics.collect_from(lambda: of_ledger(UsageLedger(database)))
    metrics.collect_from(lambda: of_store(FailOpenStore(MemoryStore(), lambda: 1.0)))
    metrics.collect_from(lambda: figures.of_engines(pool))
    metrics.collect_from(lambda: figures.of_database(database, JobCounts(), [tenants.of_jobs]))
    return {
        "gateway": metrics.registry,
        "dispatcher": dispatcher.metrics.registry,
        "evaluator": evaluator.registry,
    }


def table(found: dict[str, CollectorRegistry]) -> str:
    """A row for each metric: who has it, its labels, what it is."""
    rows: dict[str, tuple[list[str], str, str]] = {}
    for process, registry in found.items():
        for family, labels in _families(registry):
            name = family.name + ("_total" if family.type == "counter" else "")
            if name.startswith("tunesmith_"):
                kind = "" if family.type in ("gauge", "counter") else f"{family.type}: "
                rows.setdefault(name, ([], labels, kind + family.documentation))[0].append(process)
    lines = ["| metric | of | labels | what |", "| --- | --- | --- | --- |"]
    for name, (processes, labels, text) in sorted(rows.items()):
        of = "all" if len(processes) == 3 else ", ".join(processes)
        lines.append(f"| `{name}` | {of} | {labels} | {text} |")
    return "\n".join(lines) + "\n"


def _families(registry: CollectorRegistry) -> Iterable[tuple[Metric, str]]:
    names: dict[str, tuple[str, ...]] = {}
    for collector in registry._collector_to_names:
        declared = getattr(collector, "_labelnames", None)
        if declared is not None:
            names[getattr(collector, "_name")] = tuple(declared)  # noqa: B009 - it is private
    for family in registry.collect():
        own: tuple[str, ...] = getattr(family, "_labelnames", None) or ()
        labels = names.get(family.name, own)
        yield family, ", ".join(f"`{label}`" for label in labels)


def page_with(text: str, rows: str) -> str:
    """The page with its table replaced."""
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    assert pattern.search(text), f"{PAGE.name} lacks the marks of the table"
    return pattern.sub(lambda _: f"{BEGIN}\n{rows}{END}", text)


def main() -> None:
    """Write the page's table anew."""
    with tempfile.TemporaryDirectory() as home:
        rows = table(registries(Path(home)))
    PAGE.write_text(page_with(PAGE.read_text(), rows))


if __name__ == "__main__":
    main()
