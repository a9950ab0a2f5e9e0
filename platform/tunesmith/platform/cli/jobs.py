"""`tunesmith jobs`: fine-tuning jobs."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from tunesmith.platform.following import looks

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import CommandFailed, one_sentence
from .files import Columns, upload_file
from .hyperparameters import hyperparameters
from .models import only_base
from .output import console, moment, plain, print_fields, print_json, print_table, until
from .watching import check_succeeded, follow, progress_line

app = typer.Typer(help="Fine-tuning jobs.", no_args_is_help=True)

JobId = Annotated[str, typer.Argument(help="The job's id, ftjob-...", metavar="JOB_ID")]
Limit = Annotated[int, typer.Option(help="How many at most.", min=1)]


def _pairs(options: list[str] | None) -> dict[str, str] | None:
    pairs: dict[str, str] = {}
    for option in options or []:
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise CommandFailed(f"--metadata is KEY=VALUE; it is {option!r}.")
        pairs[key] = value
    return pairs or None


@app.command("create")
def create_job(
    training_file: Annotated[
        str,
        typer.Argument(
            help="Examples: a file's id, or a local file that is uploaded first.",
            metavar="FILE_ID_OR_FILE",
        ),
    ],
    model: Annotated[
        str | None, typer.Option(help="A base, or a tuned model to continue from.")
    ] = None,
    suffix: Annotated[str | None, typer.Option(help="Part of the new model's name.")] = None,
    validation_file: Annotated[
        str | None, typer.Option(help="Examples to validate on: an id, or a local file.")
    ] = None,
    n_epochs: Annotated[
        str | None, typer.Option(help='Passes over the examples, or "auto".')
    ] = None,
    batch_size: Annotated[str | None, typer.Option(help='Examples a step, or "auto".')] = None,
    learning_rate_multiplier: Annotated[
        str | None, typer.Option(help='Times the automatic learning rate, or "auto".')
    ] = None,
    method: Annotated[
        str, typer.Option(help="How it learns: supervised (chats), or dpo (preferences).")
    ] = "supervised",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any hyperparameter: lora_rank=16, target_modules=q_proj,v_proj. Can be repeated.",
            metavar="NAME=VALUE",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="For the same result again.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE, can be repeated.", metavar="KEY=VALUE")
    ] = None,
    column: Columns = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Tune a model on examples."""
    tenant = Tenant(url, api_key, home)
    named = {
        "n_epochs": n_epochs,
        "batch_size": batch_size,
        "learning_rate_multiplier": learning_rate_multiplier,
    }
    given = hyperparameters(named, settings or [])
    wanted: dict[str, Any] = {
        "suffix": suffix,
        "seed": seed,
        "metadata": _pairs(metadata),
        "method": {"type": method, method: {"hyperparameters": given}}
        if given or method != "supervised"
        else None,
    }
    with one_sentence(tenant.url):
        client = tenant.client()

        def file_id(name: str) -> str:
            path = Path(name)
            if name.startswith("file-") and not path.exists():
                return name
            return cast(str, upload_file(client, path, column).id)

        if validation_file is not None:
            wanted["validation_file"] = file_id(validation_file)
        job = plain(
            client.fine_tuning.jobs.create(
                model=model or only_base(client),
                training_file=file_id(training_file),
                **{name: value for name, value in wanted.items() if value is not None},
            )
        )
    if as_json and not watch:
        print_json(job)
        return
    if not as_json:
        console().print(f"{job['id']}  {job['status']}  {job['model']}")
    if watch:
        watch_job(job["id"], as_json=as_json, url=url, api_key=api_key, home=home)
    elif not as_json:
        console().print(f"Follow it with: tunesmith jobs watch {job['id']}", style="dim")


@app.command("list")
def list_jobs(
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List your jobs, newest first."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        listed = _first(tenant.client().fine_tuning.jobs.list(limit=min(limit, 100)), limit)
    if as_json:
        print_json(listed)
        return
    print_table(
        ("id", "status", "model", "tuned model", "created"),
        (
            (j["id"], j["status"], j["model"], j.get("fine_tuned_model"), moment(j["created_at"]))
            for j in listed
        ),
        empty="No jobs yet: `tunesmith jobs create FILE` makes one.",
    )


def _first(pages: Any, limit: int) -> list[dict[str, Any]]:
    """The first `limit` items of a paged answer."""
    items: list[dict[str, Any]] = []
    for item in pages:
        if len(items) == limit:
            break
        items.append(plain(item))
    return items


def _show(job: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(job)
        return
    method = job.get("method") or {"type": "supervised"}
    options = method.get(method["type"]) or {}
    error = job.get("error") or {}
    print_fields(
        {
            "job": job["id"],
            "status": job["status"],
            "model": job["model"],
            "method": method["type"],
            "tuned model": job.get("fine_tuned_model"),
            "created": moment(job["created_at"]),
            "finished": moment(job.get("finished_at")),
            "time left": until(job.get("estimated_finish")) if job["status"] == "running" else "",
            "training file": job.get("training_file"),
            "validation file": job.get("validation_file"),
            "result files": job.get("result_files"),
            "hyperparameters": options.get("hyperparameters") or job.get("hyperparameters"),
            "trained tokens": job.get("trained_tokens"),
            "seed": job.get("seed"),
            "metadata": job.get("metadata"),
            "error": error.get("message"),
        }
    )


@app.command("get")
def get_job(
    job_id: JobId,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Show a job."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        job = plain(tenant.client().fine_tuning.jobs.retrieve(job_id))
    _show(job, as_json)


@app.command("watch")
def watch_job(
    job_id: JobId,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Follow a job to its end; exit code 1 if it does not succeed."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        client = tenant.client()
        if as_json:
            job = [look.job for look in looks(client, job_id)][-1]
            print_json(job)
            check_succeeded(job)
            return
        with progress_line() as shown:
            job = follow(client, job_id, shown)
    check_succeeded(job)
    console().print(f"Tuned model: {job['fine_tuned_model']}", style="green")


def _control(action: str, job_id: str, tenant: Tenant, as_json: bool) -> None:
    with one_sentence(tenant.url):
        job = plain(getattr(tenant.client().fine_tuning.jobs, action)(job_id))
    if as_json:
        print_json(job)
        return
    console().print(f"{job['id']}  {job['status']}")


@app.command("cancel")
def cancel_job(
    job_id: JobId,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Cancel a job for good."""
    _control("cancel", job_id, Tenant(url, api_key, home), as_json)


@app.command("pause")
def pause_job(
    job_id: JobId,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Pause a job; `resume` goes on from where it was."""
    _control("pause", job_id, Tenant(url, api_key, home), as_json)


@app.command("resume")
def resume_job(
    job_id: JobId,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Let a paused job go on."""
    _control("resume", job_id, Tenant(url, api_key, home), as_json)


@app.command("events")
def list_events(
    job_id: JobId,
    limit: Limit = 20,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List what happened to a job, newest first."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        pages = tenant.client().fine_tuning.jobs.list_events(job_id, limit=min(limit, 100))
        listed = _first(pages, limit)
    if as_json:
        print_json(listed)
        return
    print_table(
        ("time", "level", "message"),
        ((moment(e["created_at"]), e["level"], e["message"]) for e in listed),
        empty="Nothing has happened yet.",
    )


@app.command("checkpoints")
def list_checkpoints(
    job_id: JobId,
    limit: Limit = 10,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """List a job's checkpoints; each can be used as a model."""
    tenant = Tenant(url, api_key, home)
    with one_sentence(tenant.url):
        pages = tenant.client().fine_tuning.jobs.checkpoints.list(job_id, limit=min(limit, 100))
        listed = _first(pages, limit)
    if as_json:
        print_json(listed)
        return
    print_table(
        ("step", "model", "validation loss", "created"),
        (
            (
                c["step_number"],
                c["fine_tuned_model_checkpoint"],
                (c.get("metrics") or {}).get("valid_loss"),
                moment(c["created_at"]),
            )
            for c in listed
        ),
        empty="No checkpoints yet.",
    )
