"""The demo's way through the API, its stages and its figures, against a small HTTP server."""

from __future__ import annotations

import io
import json
import shlex
from pathlib import Path

import pytest
from openai import OpenAI
from rich.console import Console

from tunesmith.platform.cli.demo_report import how_to_call, how_to_start, show_report
from tunesmith.platform.demo import journey
from tunesmith.platform.demo.journey import DemoFailed, JobTimes, Stages, travel
from tunesmith.platform.demo.report import pick_examples
from tunesmith.platform.demo.ticket import Ticket, read_tickets
from tunesmith.platform.demo.tickets import held_out_path
from tunesmith.platform.following import Look, Progress

from .conftest import FakePlatform
from .test_commands import _FILE, _chunks, _event, _job, _list

TUNED = "ft:pocket:demo:tickets:1"


class Lines:
    """Keeps what the demo shows."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def update(self, line: str) -> None:
        self.lines.append(line)

    say = update


ITEMS = [
    {
        "id": str(number),
        "input": ticket.text,
        "reference": ticket.label,
        "baseline_answer": "shipping",
        "candidate_answer": f" {ticket.label}\n",
        "baseline_score": float(ticket.label == "shipping"),
        "candidate_score": 1.0,
    }
    for number, ticket in enumerate(read_tickets(held_out_path()))
]
BASE_SHARE = sum(item["baseline_score"] == 1.0 for item in ITEMS) / len(ITEMS)
EVALUATION = {
    "id": "evalrun_1",
    "status": "completed",
    "model": TUNED,
    "baseline": "pocket",
    "error": None,
    "result": {
        "verdict": "better",
        "summary": "better: much more is right.",
        "metric": {"name": "label accuracy"},
        "baseline": {"value": BASE_SHARE, "n": len(ITEMS)},
        "candidate": {"value": 1.0, "n": len(ITEMS)},
        "forgetting": {"summary": "much was lost.", "within_limit": False},
    },
}
FINDING = {"severity": "warns", "message": "3 rows contradict each other."}
REPORT = {"status": "completed", "report": {"rows": 960, "findings": [FINDING]}}
ADVICE = {"break_even": {"summary": ["It pays for itself after 15.6 months."]}}


@pytest.fixture
def client(fake: FakePlatform, monkeypatch: pytest.MonkeyPatch) -> OpenAI:
    monkeypatch.setattr(journey, "_POLL_SECONDS", 0.0)
    model = {"id": "pocket", "object": "model", "created": 1, "owned_by": "tunesmith"}
    fake.on("GET", "/v1/models", _list(model, {**model, "id": "ft:pocket:demo:tickets:0"}))
    fake.on("POST", "/v1/files", _FILE)
    fake.on("POST", "/v1/fine_tuning/jobs", _job("validating_files"))
    fake.on("POST", "/v1/chat/completions", lambda: _chunks("ship"))
    reports = iter([{"status": "in_progress"}, REPORT])
    fake.on("GET", "/v1/files/file-1/report", lambda: next(reports))
    verdicts = iter([{"status": "in_progress", "progress": 0.5}, EVALUATION])
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/evaluation", lambda: next(verdicts))
    fake.on("GET", "/v1/evaluations/evalrun_1/output_items", {"data": ITEMS})
    fake.on("POST", "/v1/advice", ADVICE)
    return OpenAI(base_url=f"{fake.url}/v1", api_key="sk-demo", max_retries=0)


def test_the_journey_measures_base_and_tuned(client: OpenAI, fake: FakePlatform) -> None:
    metrics = {"step": 10, "total_steps": 10, "train_loss": 0.5}
    states = iter(
        [_job("queued"), _job("running"), _job("succeeded", fine_tuned_model=TUNED)],
    )
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1", lambda: next(states))
    event = _event(1, type="metrics", message="Step 10/10", data=metrics)
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/events", _list(event))
    stages, lines = Stages({"start_platform": 1.0}), Lines()
    report = travel(client, lines, stages)
    tickets = read_tickets(held_out_path())
    assert report.held_out == len(tickets) >= 100
    assert report.base_accuracy == BASE_SHARE
    assert report.tuned_accuracy == 1.0
    assert (report.base_model, report.tuned_model) == ("pocket", TUNED)
    assert list(report.seconds) == [
        "start_platform", "upload", "data_report", "validate", "queue_wait", "train", "publish",
        "first_token", "evaluation",
    ]  # fmt: skip
    spent = sum(report.seconds[s] for s in ("validate", "queue_wait", "train", "publish"))
    assert report.creation_to_first_tuned_token_s >= spent
    assert "succeeded  step 10/10 (100%)  loss 0.500" in lines.lines
    created = next(a for a in fake.asked if a.path == "/v1/fine_tuning/jobs").json()
    assert created["training_file"] == "file-1"
    assert created["evaluation"] == {"file": "file-1"}
    assert "evaluation: in_progress (50%)" in lines.lines
    assert json.loads(json.dumps(report.as_json()))["tuned_accuracy"] == 1.0
    out = Console(width=120, file=io.StringIO(), record=True)
    show_report(out, report)
    text = out.export_text()
    for said in (
        "100.0%",
        "Verdict: better. Much more is right.",
        "much was lost.",
        "tunesmith policy --forgetting 1",
        "960 rows, 0 findings block, 1 warn",
        "warns: 3 rows contradict each other.",
        "15.6 months",
    ):
        assert said in " ".join(text.split())
    assert "from job creation to the first tuned token" in text


def test_a_failed_job_ends_the_demo_with_its_reason(client: OpenAI, fake: FakePlatform) -> None:
    error = {"code": "x", "message": "the disk is full", "param": None}
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1", _job("failed", error=error))
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/events", _list())
    with pytest.raises(DemoFailed, match="ftjob-1 failed: the disk is full"):
        travel(client, Lines(), Stages())


def _look(status: str, step: int = 0, total: int | None = 10) -> Look:
    return Look({"status": status}, Progress(status, step=step, total_steps=total), [])


def test_stages_are_what_the_client_saw() -> None:
    times = JobTimes(created=0.0)
    for moment, look in (
        (1.0, _look("validating_files", total=None)),
        (2.0, _look("queued", total=None)),
        (5.0, _look("running")),
        (9.0, _look("running", step=9)),
        (11.0, _look("running", step=10)),
        (12.0, _look("running", step=10)),
        (14.0, _look("succeeded", step=10)),
    ):
        times.see(look, moment)
    assert times.seconds() == {"validate": 2.0, "queue_wait": 3.0, "train": 6.0, "publish": 3.0}


def test_stages_that_were_over_between_two_looks_took_no_time() -> None:
    times = JobTimes(created=0.0)
    times.see(_look("succeeded", step=10), 4.0)
    assert times.seconds() == {"validate": 4.0, "queue_wait": 0.0, "train": 0.0, "publish": 0.0}


def test_an_evaluation_without_a_verdict_ends_the_demo(client: OpenAI, fake: FakePlatform) -> None:
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1", _job("succeeded", fine_tuned_model=TUNED))
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/events", _list())
    failed = EVALUATION | {"status": "failed", "error": {"code": "x", "message": "no engine"}}
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/evaluation", failed)
    with pytest.raises(DemoFailed, match="no engine"):
        travel(client, Lines(), Stages())


def test_examples_are_not_chosen_by_success() -> None:
    items = [
        {
            "input": f"t{n}",
            "reference": label,
            "baseline_answer": None,
            "candidate_answer": answer,
        }
        for n, (label, answer) in enumerate([("a", "x"), ("a", "a"), ("b", "b"), ("c", "c")])
    ]
    picked = pick_examples(items, count=2)
    assert [(p.ticket, p.tuned) for p in picked] == [("t0", "x"), ("t2", "b")]


def test_how_to_call_can_be_pasted() -> None:
    ticket = Ticket("Sort it.", 'It\'s "broken",\nsays Zoë', "bugs")
    text = how_to_call("http://127.0.0.1:8000", "sk-1", TUNED, ticket)
    curl = text[text.index("curl ") : text.index("\n\nfrom openai")].replace("\\\n", "")
    words = shlex.split(curl)
    body = json.loads(words[words.index("-d") + 1])
    assert body["messages"][-1]["content"] == 'It\'s "broken", says Zoë'
    assert "Authorization: Bearer sk-1" in words
    python = text[text.index("from openai") :]
    compile(python, "readme", "exec")
    assert len(python.splitlines()) == 6


def test_how_to_start_again() -> None:
    assert how_to_start(Path("/a b"), 8000) == "tunesmith up --home '/a b'"
    assert how_to_start(Path("/a"), 8001) == "tunesmith up --home /a --port 8001"
