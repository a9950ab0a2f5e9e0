"""`tunesmith smoke`: the whole journey against a platform that runs, and nothing left behind."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunesmith.platform.demo.ticket import Ticket, read_tickets
from tunesmith.platform.demo.tickets import held_out_path, train_path
from tunesmith.platform.following import duration, looks

from .connection import Admin, AdminKey, HomeFolder, Tenant, Url
from .errors import CommandFailed, one_sentence
from .output import console

if TYPE_CHECKING:
    from openai import OpenAI

TENANT = "smoke-test"
EXAMPLES = 32
_PAUSE_SECONDS = 2.0
_MAX_TOKENS = 16


def smoke(
    base: Annotated[
        str | None, typer.Option(help="Base to tune.", show_default="the first one listed")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds to wait for readiness and for the job.")
    ] = 3600.0,
    url: Url = None,
    admin_key: AdminKey = None,
    home: HomeFolder = None,
) -> None:
    """Upload examples, tune a base, ask the tuned model, delete all of it.

    Runs as a tenant of its own, `smoke-test`, with a key that is revoked at the end. Exit code 1,
    and a sentence, where a step fails.
    """
    admin = Admin(url, admin_key, home)
    out = console()
    ends = time.monotonic() + timeout
    with one_sentence(admin.url):
        tenant_id, key_id, key = _fresh_key(admin, ends)
        client = Tenant(admin.url, key, None).client()
        try:
            _journey(client, _base(client, base), ends)
        finally:
            admin.call("DELETE", f"/tenants/{tenant_id}/keys/{key_id}")
    out.print(f"The platform at {admin.url} works.", style="green")


def _fresh_key(admin: Admin, ends: float) -> tuple[str, str, str]:
    """A key of the smoke test's tenant, who is made at the first time; its and the key's id first.

    A gateway that is being started may not answer yet, so it is asked until `ends`.
    """
    while True:
        try:
            found = admin.call("GET", f"/tenants?name={TENANT}")["data"]
            break
        except CommandFailed:
            if time.monotonic() > ends:
                raise
            time.sleep(_PAUSE_SECONDS)
    tenant = found[0] if found else admin.call("POST", "/tenants", {"name": TENANT})
    name = time.strftime("smoke test of %Y-%m-%d %H:%M:%S")
    made = admin.call("POST", f"/tenants/{tenant['id']}/keys", {"name": name})
    return str(tenant["id"]), str(made["id"]), str(made["key"])


def _base(client: OpenAI, wanted: str | None) -> str:
    bases = [model.id for model in client.models.list() if model.owned_by == "tunesmith"]
    if not bases:
        raise CommandFailed("The platform lists no base model: is one registered?")
    if wanted is not None and wanted not in bases:
        raise CommandFailed(f"There is no base {wanted!r}; the bases are {', '.join(bases)}.")
    return wanted or bases[0]


def _journey(client: OpenAI, base: str, ends: float) -> None:
    out = console()
    tickets = read_tickets(train_path())[:EXAMPLES]
    lines = "\n".join(_line(ticket) for ticket in tickets)
    file = client.files.create(file=("smoke.jsonl", lines.encode()), purpose="fine-tune")
    out.print(f"Uploaded {len(tickets)} examples.")
    job: dict[str, Any] = {}
    try:
        job = _tuned(client, base, file.id, ends)
        model = str(job["fine_tuned_model"])
        out.print(f"Tuned {base}: {model}.")
        answer = _ask(client, model, read_tickets(held_out_path())[0])
        out.print(f"It answers: {answer!r}.", markup=False)
    finally:
        if job.get("fine_tuned_model"):
            client.models.delete(str(job["fine_tuned_model"]))
        client.files.delete(file.id)


def _line(ticket: Ticket) -> str:
    answer = {"role": "assistant", "content": ticket.label}
    return json.dumps({"messages": [*ticket.messages(), answer]})


def _tuned(client: OpenAI, base: str, file: str, ends: float) -> dict[str, Any]:
    """The job, once it has succeeded.

    Raises:
        CommandFailed: it failed, or had not ended in time; it is cancelled then.
    """
    import openai

    out = console()
    hyperparameters: Any = {"n_epochs": 1}
    job = client.fine_tuning.jobs.create(
        model=base, training_file=file, suffix="smoke", hyperparameters=hyperparameters, seed=0
    )
    started = time.monotonic()
    for look in looks(client, job.id, pause=_PAUSE_SECONDS):
        for event in look.messages:
            out.print(f"  {event['message']}", markup=False)
        status = look.job["status"]
        if status == "succeeded":
            out.print(f"  {duration(time.monotonic() - started)} from creation to success")
            return look.job
        if status in ("failed", "cancelled"):
            why = (look.job.get("error") or {}).get("message", "no reason given")
            raise CommandFailed(f"The job {job.id} {status}: {why}")
        if time.monotonic() > ends:
            with suppress(openai.OpenAIError):
                client.fine_tuning.jobs.cancel(job.id)
            raise CommandFailed(
                f"The job {job.id} is still {status.replace('_', ' ')} after"
                f" {duration(time.monotonic() - started)}; its events above say what it waits for."
            )
    raise CommandFailed(f"The job {job.id} was lost sight of.")


def _ask(client: OpenAI, model: str, ticket: Ticket) -> str:
    """A streamed answer of the model."""
    untyped: Any = client
    words: list[str] = []
    with untyped.chat.completions.create(
        model=model, messages=ticket.messages(), temperature=0, max_tokens=_MAX_TOKENS, stream=True
    ) as chunks:
        for chunk in chunks:
            if chunk.choices and chunk.choices[0].delta.content:
                words.append(chunk.choices[0].delta.content)
    if not words:
        raise CommandFailed(f"{model} answered without a token.")
    return "".join(words)
