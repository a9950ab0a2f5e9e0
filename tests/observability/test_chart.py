"""What the chart makes of rules, dashboards and traces."""

from __future__ import annotations

from pathlib import Path

import yaml
from tests.charts.rendering import changed, containers, environment, of_kind, ready_made, render
from tests.observability.tools import DASHBOARDS, RULES, run, tool

from tunesmith.platform.settings import Settings
from tunesmith.workers.engine.command import engine_environment, engine_flags

COLLECTOR = "http://collector.monitoring:4318"
WIKI = "https://wiki.example.internal/tunesmith"


def test_rules_and_dashboards_come_whole_and_alerts_lead_to_the_operators_pages(
    tmp_path: Path,
) -> None:
    values = changed(
        ready_made("minimal"),
        {
            "monitoring": {
                "rules": {"enabled": True, "runbookUrl": f"{WIKI}/"},
                "dashboards": {"enabled": True},
            }
        },
    )
    objects = render(values)
    rules = of_kind(objects, "PrometheusRule")
    assert len(rules) == len(RULES)
    for number, rule in enumerate(rules):
        (tmp_path / f"{number}.yaml").write_text(yaml.safe_dump(rule["spec"]))
        for group in rule["spec"]["groups"]:
            for alert in (found for found in group["rules"] if "alert" in found):
                assert alert["annotations"]["runbook_url"] == f"{WIKI}/{alert['alert']}.md"
    run(tool("promtool"), "check", "rules", *tmp_path.glob("*.yaml"))
    boards = {
        name: text
        for found in of_kind(objects, "ConfigMap")
        for name, text in found["data"].items()
        if name.endswith(".json")
    }
    assert {name: yaml.safe_load(text) for name, text in boards.items()} == {
        path.name: yaml.safe_load(path.read_text()) for path in DASHBOARDS
    }


def test_an_engine_is_told_of_the_collector_as_the_platform_tells_it() -> None:
    objects = render(changed(ready_made("minimal"), {"tracing": {"otlpEndpoint": COLLECTOR}}))
    settings = Settings(
        home=Path("/var/lib/tunesmith"),
        storage_url="/storage",
        otlp_endpoint=COLLECTOR,
        engine_max_loras=4,
        engine_max_cpu_loras=16,
    )
    engine = next(
        found for where, found in containers(objects, init=False) if where.endswith(" engine")
    )
    flags = engine_flags(settings, "tunesmith-pocket", 1024, on_gpu=False)
    assert engine["args"][5 : 5 + len(flags)] == flags
    expected = engine_environment(settings, {}, on_gpu=False)
    given = environment(engine)
    assert {k: v for k, v in expected.items() if k.startswith("OTEL_")}.items() <= given.items()
