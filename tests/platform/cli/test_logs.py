"""Logs: one JSON object a line, with the bound ids, from structlog and from `logging` alike."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import structlog

from tunesmith.platform.logs import configure_logs
from tunesmith.platform.settings import Settings


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_process_and_bound_ids(tmp_path: Path) -> None:
    stream = io.StringIO()
    configure_logs(Settings(home=tmp_path), process="dispatcher", stream=stream)
    with structlog.contextvars.bound_contextvars(job_id="ftjob-1", tenant_id="t-1"):
        structlog.get_logger("a.module").info("job claimed", attempt=2)
        logging.getLogger("sqlalchemy").warning("slow: %s ms", 12)
    claimed, slow = _lines(stream)
    assert claimed["event"] == "job claimed"
    assert claimed["attempt"] == 2
    assert claimed["level"] == "info"
    assert slow["event"] == "slow: 12 ms"
    assert slow["logger"] == "sqlalchemy"
    for line in (claimed, slow):
        assert (line["process"], line["job_id"], line["tenant_id"]) == (
            "dispatcher",
            "ftjob-1",
            "t-1",
        )


def test_an_exception_stays_on_one_line(tmp_path: Path) -> None:
    stream = io.StringIO()
    configure_logs(Settings(home=tmp_path), process="gateway", stream=stream)
    try:
        raise RuntimeError("no room")
    except RuntimeError:
        structlog.get_logger().exception("write failed")
    (line,) = _lines(stream)
    assert "RuntimeError: no room" in str(line["exception"])


def test_below_the_level_nothing_is_written(tmp_path: Path) -> None:
    stream = io.StringIO()
    configure_logs(Settings(home=tmp_path, log_level="warning"), process="gateway", stream=stream)
    structlog.get_logger().info("hidden")
    logging.getLogger("x").info("hidden")
    structlog.get_logger().warning("shown")
    assert [line["event"] for line in _lines(stream)] == ["shown"]


def test_console_format_is_not_json(tmp_path: Path) -> None:
    stream = io.StringIO()
    configure_logs(Settings(home=tmp_path, log_format="console"), process="cli", stream=stream)
    structlog.get_logger().info("hello", port=8000)
    assert "hello" in stream.getvalue()
    assert "port=8000" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
