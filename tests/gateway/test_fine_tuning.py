"""/v1/fine_tuning/jobs with the official client, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, examples, preferences

from tunesmith.platform.domain.training import StepMetrics
from tunesmith.platform.jobs import progress


def create(tenant: Tenant, **fields: Any) -> Any:
    file = fields.pop("training_file", None) or tenant.upload()
    return tenant.client.fine_tuning.jobs.create(
        model=fields.pop("model", BASE), training_file=file, **fields
    )


def test_a_job_is_created_prepared_and_trained(gateway: Gateway, tenant: Tenant) -> None:
    validation = tenant.upload()
    job = create(
        tenant,
        validation_file=validation,
        suffix="tickets",
        seed=7,
        metadata={"team": "support"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
    )
    assert job.object == "fine_tuning.job"
    assert job.status == "validating_files"
    assert (job.model, job.organization_id, job.seed) == (BASE, tenant.id, 7)
    assert job.validation_file == validation
    assert job.metadata == {"team": "support"}
    assert job.method.supervised.hyperparameters.n_epochs == 2
    assert job.method.supervised.hyperparameters.batch_size == "auto"
    assert job.hyperparameters.learning_rate_multiplier == "auto"
    assert isinstance(job.created_at, int)
    assert job.result_files == []
    for name in ("finished_at", "fine_tuned_model", "trained_tokens", "estimated_finish", "error"):
        assert getattr(job, name) is None

    gateway.prepare(job.id)
    queued = tenant.client.fine_tuning.jobs.retrieve(job.id)
    assert queued.status == "queued"
    assert queued.method is not None
    assert queued.method.supervised is not None
    assert queued.method.supervised.hyperparameters is not None
    assert queued.method.supervised.hyperparameters.learning_rate_multiplier == 1.5
    assert queued.hyperparameters.n_epochs == 3


def test_a_dpo_job_with_every_kind_of_hyperparameter(gateway: Gateway, tenant: Tenant) -> None:
    given: dict[str, Any] = {
        "beta": 0.2,
        "n_epochs": 2,
        "lora_rank": 8,
        "target_modules": ["q_proj", "v_proj"],
        "lr_scheduler_type": "cosine",
        "lora_dropout": "auto",
    }
    job = create(
        tenant,
        training_file=tenant.upload(preferences()),
        validation_file=tenant.upload(preferences()),
        method={"type": "dpo", "dpo": {"hyperparameters": given}},
    )
    assert (job.method.type, job.method.supervised) == ("dpo", None)
    shown = job.method.dpo.hyperparameters
    assert (shown.beta, shown.n_epochs, shown.batch_size) == (0.2, 2, "auto")
    open_ones = {"batch_size": "auto", "learning_rate_multiplier": "auto"}
    del given["lora_dropout"]  # an extension that is still open is not shown
    assert shown.to_dict() == given | open_ones
    assert tenant.client.fine_tuning.jobs.retrieve(job.id).method == job.method
    raw = tenant.http.get(f"/v1/fine_tuning/jobs/{job.id}").json()
    assert raw["hyperparameters"] is None
    assert raw["method"].keys() == {"type", "dpo"}


def test_extensions_are_shown_as_given_and_as_resolved(gateway: Gateway, tenant: Tenant) -> None:
    job = create(tenant, hyperparameters={"n_epochs": 2, "lora_rank": 4, "weight_decay": 0.5})
    assert job.hyperparameters.to_dict() == {
        "n_epochs": 2,
        "batch_size": "auto",
        "learning_rate_multiplier": "auto",
        "lora_rank": 4,
        "weight_decay": 0.5,
    }
    assert job.method.supervised.hyperparameters.lora_rank == 4
    resolved: dict[str, Any] = {
        "n_epochs": 2,
        "batch_size": 4,
        "learning_rate_multiplier": 1.5,
        "lora_rank": 4,
    }
    resolved |= {"lora_alpha": 32.0, "target_modules": ["q_proj"], "max_grad_norm": 1.0}
    gateway.prepare(job.id, resolved)
    shown = tenant.client.fine_tuning.jobs.retrieve(job.id)
    assert shown.hyperparameters.to_dict() == resolved


def test_a_finished_job_names_its_model_and_its_result_file(
    gateway: Gateway, tenant: Tenant
) -> None:
    name, _ = gateway.train(tenant, checkpoints=[3, 6, 9])
    (job,) = tenant.client.fine_tuning.jobs.list()
    assert (job.status, job.fine_tuned_model, job.trained_tokens) == ("succeeded", name, 1234)
    assert isinstance(job.finished_at, int)
    table = tenant.client.files.content(job.result_files[0]).text
    assert table.startswith("step,train_loss,train_accuracy,valid_loss,")

    checkpoints = tenant.client.fine_tuning.jobs.checkpoints.list(job.id)
    assert [c.step_number for c in checkpoints] == [9, 6, 3]
    assert checkpoints.data[0].fine_tuned_model_checkpoint == f"{name}:ckpt-step-9"
    assert checkpoints.data[0].metrics.step == 9
    raw = tenant.http.get(f"/v1/fine_tuning/jobs/{job.id}/checkpoints?limit=2").json()
    assert raw["has_more"] is True
    assert [raw["first_id"], raw["last_id"]] == [item["id"] for item in raw["data"]]

    events = tenant.client.fine_tuning.jobs.list_events(job.id, limit=3)
    assert events.data[0].message == "The job has successfully completed"
    assert events.has_more
    everything = list(events)
    assert everything[-1].message == f"Created fine-tuning job: {job.id}"
    assert len({event.id for event in everything}) == len(everything)


def test_metrics_are_events(gateway: Gateway, tenant: Tenant) -> None:
    job = create(tenant)
    gateway.prepare(job.id)
    lease = gateway.begin(job.id)
    with gateway.database.transaction() as session:
        progress.record_metrics(
            session, lease, [StepMetrics(1, 9, 0.5, 0.25)], estimated_finish=2e9
        )
    (event,) = [
        event
        for event in tenant.client.fine_tuning.jobs.list_events(job.id)
        if event.type == "metrics"
    ]
    assert event.message == "Step 1/9: training loss=0.50"
    assert isinstance(event.data, dict)
    assert event.data["train_loss"] == 0.5
    assert tenant.client.fine_tuning.jobs.retrieve(job.id).estimated_finish == 2_000_000_000


def test_jobs_are_paged_and_found_by_metadata(tenant: Tenant) -> None:
    file = tenant.upload()
    plain = create(tenant, training_file=file).id
    red = [create(tenant, training_file=file, metadata={"colour": "red"}).id for _ in range(3)]
    blank = create(tenant, training_file=file, metadata={"colour": ""}).id
    jobs = tenant.client.fine_tuning.jobs
    page = jobs.list(limit=2)
    assert page.has_more
    assert [job.id for job in page] == [blank, *red[::-1], plain]
    assert [job.id for job in jobs.list(metadata={"colour": "red"})] == red[::-1]
    assert [job.id for job in jobs.list(metadata={"colour": ""})] == [blank]
    without = tenant.http.get("/v1/fine_tuning/jobs", params={"metadata": "null"}).json()
    assert [job["id"] for job in without["data"]] == [plain]
    both = tenant.http.get("/v1/fine_tuning/jobs?metadata=null&metadata[colour]=red")
    assert both.status_code == 400
    assert error_of(both)["param"] == "metadata"


def test_a_job_is_paused_resumed_and_cancelled_once(gateway: Gateway, tenant: Tenant) -> None:
    job = create(tenant)
    gateway.prepare(job.id)
    jobs = tenant.client.fine_tuning.jobs
    assert jobs.pause(job.id).status == "paused"  # type: ignore[comparison-overlap]
    with pytest.raises(openai.BadRequestError):
        jobs.pause(job.id)
    assert jobs.resume(job.id).status == "queued"
    with pytest.raises(openai.BadRequestError):
        jobs.resume(job.id)
    cancelled = jobs.cancel(job.id)
    assert cancelled.status == "cancelled"
    assert isinstance(cancelled.finished_at, int)
    for again in (jobs.cancel, jobs.pause, jobs.resume):
        with pytest.raises(openai.BadRequestError) as refused:
            again(job.id)
        assert refused.value.code == "invalid_job_state"


def supervised(**hyperparameters: Any) -> dict[str, Any]:
    return {"method": {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}}


BAD_JOBS: dict[str, tuple[dict[str, Any], int, str | None, str]] = {
    "unknown model": ({"model": "gpt-4"}, 404, "model", "does not exist"),
    "unknown file": ({"training_file": "file-nothing"}, 404, "training_file", "file-nothing"),
    "unknown validation file": (
        {"validation_file": "file-nothing"},
        404,
        "validation_file",
        "file-nothing",
    ),
    "epochs out of range": (
        supervised(n_epochs=0),
        400,
        "method.supervised.hyperparameters.n_epochs",
        "from 1 to 50",
    ),
    "epochs as text": (
        supervised(n_epochs="3"),
        400,
        "method.supervised.hyperparameters.n_epochs",
        "from 1 to 50",
    ),
    "batch out of range": (
        {"hyperparameters": {"batch_size": 1000}},
        400,
        "hyperparameters.batch_size",
        "from 1 to 256",
    ),
    "unknown hyperparameter": ({"hyperparameters": {"beta": 1}}, 400, "hyperparameters.beta", ""),
    "both hyperparameters": (
        {"hyperparameters": {"n_epochs": 1}, **supervised(n_epochs=1)},
        400,
        "hyperparameters",
        "deprecated",
    ),
    "beta of supervised": (
        supervised(beta=0.1),
        400,
        "method.supervised.hyperparameters.beta",
        "a hyperparameter of dpo alone",
    ),
    "rank above the engines'": (
        supervised(lora_rank=128),
        400,
        "method.supervised.hyperparameters.lora_rank",
        "at most rank 64",
    ),
    "dpo on chats": (
        {"method": {"type": "dpo", "dpo": {}}},
        400,
        "training_file",
        "learns from preferences",
    ),
    "dpo out of range": (
        {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}},
        400,
        "method.dpo.hyperparameters.beta",
        "above 0 to 2",
    ),
    "dpo with the deprecated hyperparameters": (
        {"method": {"type": "dpo"}, "hyperparameters": {"n_epochs": 1}},
        400,
        "hyperparameters",
        "method.dpo.hyperparameters",
    ),
    "another method's options": (
        {"method": {"type": "dpo", "supervised": {}}},
        400,
        "method.supervised",
        "Name one method",
    ),
    "reinforcement": (
        {"method": {"type": "reinforcement"}},
        400,
        "method.type",
        "available are supervised and dpo",
    ),
    "unknown method": ({"method": {"type": "magic"}}, 400, "method.type", "supervised"),
    "wandb": (
        {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
        400,
        "integrations.0.type",
        "has not enabled 'wandb'",
    ),
    "wandb without a project": (
        {"integrations": [{"type": "wandb", "wandb": {"tags": ["a"]}}]},
        400,
        "integrations.0.wandb.project",
        "project",
    ),
    "six integrations": (
        {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}] * 6},
        400,
        "integrations",
        "5",
    ),
    "suffix": ({"suffix": "a:b"}, 400, "suffix", "letters"),
    "long suffix": ({"suffix": "a" * 65}, 400, "suffix", "64"),
    "seed": ({"seed": -1}, 400, "seed", "2147483647"),
    "seed as text": ({"seed": "1"}, 400, "seed", "integer"),
    "metadata": ({"metadata": {"k": 1}}, 400, "metadata.k", "string"),
    "much metadata": ({"metadata": {str(n): "" for n in range(17)}}, 400, "metadata", "16"),
    "unknown field": ({"flavour": "mint"}, 400, "flavour", "Unknown parameter"),
    "model as number": ({"model": 5}, 400, "model", "string"),
    "NUL": ({"suffix": "a\0b"}, 400, None, "NUL"),
}


@pytest.mark.parametrize("name", BAD_JOBS)
def test_what_cannot_succeed_is_refused_at_once(
    gateway: Gateway, tenant: Tenant, name: str
) -> None:
    fields, status, param, says = BAD_JOBS[name]
    body = {"model": BASE, "training_file": tenant.upload()} | fields
    answer = tenant.http.post("/v1/fine_tuning/jobs", json=body)
    assert answer.status_code == status, answer.text
    error = error_of(answer)
    assert error["param"] == param
    assert says in error["message"]
    assert list(tenant.client.fine_tuning.jobs.list()) == []


@pytest.mark.parametrize("missing", ["model", "training_file"])
def test_a_missing_field_is_named(sqlite_gateway: Gateway, missing: str) -> None:
    tenant = sqlite_gateway.tenant()
    body = {"model": BASE, "training_file": "file-x"}
    del body[missing]
    answer = tenant.http.post("/v1/fine_tuning/jobs", json=body)
    assert answer.status_code == 400
    assert error_of(answer)["param"] == missing
    assert error_of(answer)["code"] == "missing_required_parameter"


def test_files_must_fit(tenant: Tenant) -> None:
    nine = tenant.upload(examples(9))
    with pytest.raises(openai.BadRequestError, match="at least 10"):
        create(tenant, training_file=nine)
    other = tenant.client.files.create(file=("x.jsonl", examples()), purpose="batch").id
    with pytest.raises(openai.BadRequestError, match="purpose 'batch'"):
        create(tenant, training_file=other)
    same = tenant.upload()
    with pytest.raises(openai.BadRequestError, match="memory, not learning"):
        create(tenant, training_file=same, validation_file=same)
    tenant.client.files.delete(same)
    with pytest.raises(openai.NotFoundError):
        create(tenant, training_file=same)


def test_an_integration_that_the_operator_enabled_is_kept(make_gateway: MakeGateway) -> None:
    tenant = make_gateway(trackers=["wandb"]).tenant()
    wanted: list[Any] = [
        {"type": "wandb", "wandb": {"project": "tickets", "name": "first", "tags": ["a", "b"]}},
        {"type": "wandb", "wandb": {"project": "tickets", "entity": None}},
    ]
    job = create(tenant, integrations=wanted)
    shown = tenant.client.fine_tuning.jobs.retrieve(job.id).integrations
    assert shown is not None
    assert [integration.wandb.project for integration in shown] == ["tickets", "tickets"]
    assert (shown[0].wandb.name, shown[0].wandb.tags) == ("first", ["a", "b"])
    assert shown[1].wandb.to_dict() == {"project": "tickets"}
    assert create(tenant).integrations == []


def test_an_integration_that_the_operator_enabled_not_is_refused(
    make_gateway: MakeGateway,
) -> None:
    tenant = make_gateway(trackers=["mlflow"]).tenant()
    with pytest.raises(openai.BadRequestError, match="not enabled 'wandb'"):
        create(tenant, integrations=[{"type": "wandb", "wandb": {"project": "p"}}])


def test_empty_integrations_and_nulls_are_nothing(tenant: Tenant) -> None:
    body: dict[str, Any] = {
        "model": BASE,
        "training_file": tenant.upload(),
        "integrations": [],
        "suffix": None,
        "metadata": None,
        "seed": None,
        "validation_file": None,
        "hyperparameters": {"n_epochs": "auto"},
        "method": None,
    }
    answer = tenant.http.post("/v1/fine_tuning/jobs", json=body)
    assert answer.status_code == 200, answer.text


def test_a_tuned_model_can_be_continued(gateway: Gateway, tenant: Tenant) -> None:
    name, _ = gateway.train(tenant)
    assert create(tenant, model=name).model == name
    assert create(tenant, model=name, **supervised(lora_rank=16)).model == name
    with pytest.raises(openai.BadRequestError, match="must be that of") as refused:
        create(tenant, model=name, **supervised(lora_rank=8))
    assert refused.value.code == "differs_from_parent"


def test_a_supervised_job_does_not_learn_from_preferences(tenant: Tenant) -> None:
    file = tenant.upload(preferences())
    with pytest.raises(openai.BadRequestError, match="Use the method dpo") as refused:
        create(tenant, validation_file=file)
    assert (refused.value.code, refused.value.param) == ("invalid_file_kind", "validation_file")


def test_an_idempotency_key_covers_method_and_hyperparameters(tenant: Tenant) -> None:
    file = tenant.upload()
    headers = {"Idempotency-Key": "k"}
    first = create(tenant, training_file=file, extra_headers=headers, **supervised(lora_rank=4))
    again = create(tenant, training_file=file, extra_headers=headers, **supervised(lora_rank=4))
    assert first.id == again.id
    for other in (supervised(lora_rank=8), {"method": {"type": "dpo"}}):
        with pytest.raises(openai.BadRequestError) as refused:
            create(tenant, training_file=file, extra_headers=headers, **other)
        assert refused.value.code == "idempotency_key_reused"


def test_an_idempotency_key_finds_the_first_job(tenant: Tenant) -> None:
    file = tenant.upload()
    headers = {"Idempotency-Key": "order-66"}

    def once(_: int) -> str:
        return str(create(tenant, training_file=file, extra_headers=headers).id)

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(once, range(6)))) == 1
    assert len(list(tenant.client.fine_tuning.jobs.list())) == 1
    with pytest.raises(openai.BadRequestError) as refused:
        create(tenant, training_file=file, suffix="other", extra_headers=headers)
    assert refused.value.code == "idempotency_key_reused"
    with pytest.raises(openai.BadRequestError, match="255"):
        create(tenant, training_file=file, extra_headers={"Idempotency-Key": "k" * 256})


class LosesTheFirstAnswer(httpx2.BaseTransport):
    """A network that brings the request to the gateway and loses what comes back, once."""

    def __init__(self) -> None:
        self._inner = httpx2.HTTPTransport()
        self.requests = 0

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = self._inner.handle_request(request)
        answer.read()
        self.requests += 1
        if self.requests == 1:
            raise httpx2.ReadError("the answer was lost")
        return answer

    def close(self) -> None:
        self._inner.close()


def test_the_official_clients_retry_starts_no_second_training(tenant: Tenant) -> None:
    file = tenant.upload()
    network = LosesTheFirstAnswer()
    with openai.DefaultHttpxClient(transport=network) as http:
        client = tenant.client.with_options(http_client=http, max_retries=2)
        job = client.fine_tuning.jobs.create(model=BASE, training_file=file)
    assert network.requests == 2
    assert [found.id for found in tenant.client.fine_tuning.jobs.list()] == [job.id]
    again = create(tenant, training_file=file)
    assert again.id != job.id, "asked for again on purpose, not as a retry"
