"""The demo's way through the API: upload, tune, first token, evaluation; every stage timed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from tunesmith.platform.following import Look, looks

from .report import Report, pick_examples
from .ticket import Ticket, read_tickets
from .tickets import held_out_path, train_path

if TYPE_CHECKING:
    from openai import OpenAI

SUFFIX = "tickets"
SEED = 7
MAX_TOKENS = 16  # the labels have at most a few tokens
_POLL_SECONDS = 0.25  # the stages' seconds are as exact as this

# The example that the break-even is worked out for: an API at 3 cents a query, and what data,
# training and serving may cost a small business. Amounts in dollars.
BREAK_EVEN: dict[str, Any] = {
    "queries_per_month": 10_000,
    "price_per_query": 0.03,
    "upfront_cost": [2_000, 5_000],
    "monthly_cost": [50, 100],
}


class DemoFailed(Exception):
    """The demo cannot go on; its message says why."""


class Shown(Protocol):
    """Where the demo shows how it goes."""

    def update(self, line: str) -> None:
        """Show `line` instead of the line before."""

    def say(self, line: str) -> None:
        """Print `line` to stay."""


@dataclass
class Stages:
    """The seconds of each stage, in the order in which they came."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Measure a block as the stage `name`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - began, 3)


@dataclass
class JobTimes:
    """When a job reached each stage, on the monotonic clock, as its client saw it."""

    created: float
    validated: float | None = None
    running: float | None = None
    trained: float | None = None
    ended: float | None = None

    def see(self, look: Look, moment: float) -> None:
        """Note what this look sees for the first time."""
        status, progress = look.job["status"], look.progress
        if status != "validating_files":
            self.validated = self.validated or moment
        if status not in ("validating_files", "queued"):
            self.running = self.running or moment
        if progress.total_steps and progress.step >= progress.total_steps:
            self.trained = self.trained or moment
        if status in ("succeeded", "failed", "cancelled"):
            self.trained = self.trained or moment
            self.ended = moment

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage of an ended job."""
        marks = [self.created, self.validated, self.running, self.trained, self.ended]
        names = ("validate", "queue_wait", "train", "publish")
        result: dict[str, float] = {}
        for name, before, after in zip(names, marks[:-1], marks[1:], strict=True):
            if before is None or after is None:
                raise ValueError("The job has not ended.")
            result[name] = round(after - before, 3)
        return result


def travel(client: OpenAI, shown: Shown, stages: Stages) -> Report:
    """Tune the platform's base on the demo's tickets and measure both.

    Raises:
        DemoFailed: the job did not succeed.
        openai.OpenAIError: the platform refused, or went away.
    """
    base = _base_model(client)
    tickets = read_tickets(held_out_path())
    training = train_path()
    with stages.timed("upload"):
        file, test = (_upload(client, path) for path in (training, held_out_path()))
    examples = len(read_tickets(training))
    shown.say(f"Uploaded {examples} tickets to train on and {len(tickets)} to measure on.")
    with stages.timed("data_report"):
        data_report = _wait(client, f"/files/{file}/report", ("completed", "failed"), shown)
    created = time.monotonic()
    # The tickets to measure on are neither trained nor validated on, so all others are trained on.
    hyperparameters: Any = {"validation_split": 0}
    job = client.fine_tuning.jobs.create(
        model=base,
        training_file=file,
        suffix=SUFFIX,
        seed=SEED,
        hyperparameters=hyperparameters,
        extra_body={"evaluation": {"file": test}},
    )
    ended = _follow(client, job.id, JobTimes(created), shown, stages)
    tuned = str(ended["fine_tuned_model"])
    with stages.timed("first_token"):
        _first_token(client, tuned, tickets[0])
    creation_to_first_token = time.monotonic() - created
    shown.say(f"The tuned model answers: {tuned}")
    with stages.timed("evaluation"):
        evaluation = _evaluation(client, job.id, shown)
    result = evaluation["result"]
    items = _get(client, f"/evaluations/{evaluation['id']}/output_items?limit=10000")["data"]
    method = ended.get("method") or {}
    return Report(
        base_accuracy=result["baseline"]["value"],
        tuned_accuracy=result["candidate"]["value"],
        held_out=result["candidate"]["n"],
        seconds=stages.seconds,
        creation_to_first_tuned_token_s=round(creation_to_first_token, 3),
        base_model=base,
        tuned_model=tuned,
        job=job.id,
        training_examples=examples,
        trained_tokens=ended.get("trained_tokens"),
        hyperparameters=(method.get("supervised") or {}).get("hyperparameters") or {},
        examples=pick_examples(items),
        data_report=data_report.get("report"),
        evaluation=evaluation,
        break_even=_post(client, "/advice", BREAK_EVEN),
    )


def _base_model(client: OpenAI) -> str:
    bases = [model.id for model in client.models.list() if model.owned_by == "tunesmith"]
    if not bases:
        raise DemoFailed("The platform lists no base model.")
    return bases[0]


def _follow(
    client: OpenAI, job_id: str, times: JobTimes, shown: Shown, stages: Stages
) -> dict[str, Any]:
    for look in looks(client, job_id, pause=_POLL_SECONDS):
        times.see(look, time.monotonic())
        for event in look.messages:
            shown.say(event["message"])
        shown.update(look.progress.line(time.time()))
    job = look.job
    if job["status"] != "succeeded":
        error = job.get("error") or {}
        raise DemoFailed(f"The job {job_id} {job['status']}: {error.get('message', 'no reason')}")
    stages.seconds |= times.seconds()
    return job


def _first_token(client: OpenAI, model: str, ticket: Ticket) -> None:
    """Wait for the first token of a streamed answer."""
    untyped: Any = client
    with untyped.chat.completions.create(
        model=model, messages=ticket.messages(), temperature=0, max_tokens=MAX_TOKENS, stream=True
    ) as chunks:
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                return
    raise DemoFailed(f"{model} answered without a token.")


def _upload(client: OpenAI, path: Path) -> str:
    with path.open("rb") as content:
        return client.files.create(file=(path.name, content), purpose="fine-tune").id


def _evaluation(client: OpenAI, job_id: str, shown: Shown) -> dict[str, Any]:
    """The job's evaluation, once there is a verdict.

    Raises:
        DemoFailed: it ended without one.
    """
    ended = ("completed", "incomplete", "failed", "canceled")
    evaluation = _wait(client, f"/fine_tuning/jobs/{job_id}/evaluation", ended, shown)
    if evaluation["status"] != "completed":
        why = (evaluation.get("error") or {}).get("message", "no reason")
        raise DemoFailed(f"The evaluation of {job_id} {evaluation['status']}: {why}")
    return evaluation


def _wait(client: OpenAI, path: str, ended: tuple[str, ...], shown: Shown) -> dict[str, Any]:
    """What is at `path`, once its status is one of `ended`."""
    while True:
        found = _get(client, path)
        if found["status"] in ended:
            return found
        share = found.get("progress")
        what = path.rpartition("/")[2]
        shown.update(f"{what}: {found['status']}" + (f" ({share:.0%})" if share else ""))
        time.sleep(_POLL_SECONDS)


def _get(client: OpenAI, path: str) -> dict[str, Any]:
    return cast("dict[str, Any]", client.get(path, cast_to=object))


def _post(client: OpenAI, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", client.post(path, body=body, cast_to=object))
