"""Evaluations and data reports over HTTP: asked for, seen, canceled, and nobody else's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select
from tests.gateway.conftest import MakeGateway
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, examples

from tunesmith.platform import claims, data_reports
from tunesmith.platform.claims import Claim
from tunesmith.platform.database.models import DataReport, Evaluation
from tunesmith.platform.evaluations import results

ITEM = {
    "line": 3,
    "input": "question",
    "reference": "answer",
    "baseline_answer": "<b>no</b>",
    "candidate_answer": "answer",
    "baseline_score": 0.0,
    "candidate_score": 1.0,
}


def hold(gateway: Gateway, table: Any, where: Any) -> Claim:
    """An evaluator's claim on a row, whoever's turn it is."""
    with gateway.database.transaction() as session:
        row = session.scalars(select(table).where(where)).one()
        row.status, row.lease_token, row.lease_expires_at = claims.IN_PROGRESS, "token", 4e9
        return Claim(row.seq, "token")


def finish(gateway: Gateway, tenant: Tenant, evaluation_id: str, items: int = 3) -> None:
    """Do what an evaluator does."""
    claim = hold(gateway, Evaluation, Evaluation.id == evaluation_id)
    with gateway.database.transaction() as session:
        row = claims.held(session, Evaluation, claim)
        key = results.store_items(gateway.storage, row, [ITEM] * items)
        gateway.storage.put(results.report_key(tenant.id, evaluation_id), b"<html>report</html>")
        result = {"verdict": "better", "summary": "It got better.", "examples": items}
        results.complete(session, claim, result=result, items=key, error=None)


def test_a_job_has_an_evaluation_once_it_has_succeeded(gateway: Gateway, tenant: Tenant) -> None:
    job = tenant.client.fine_tuning.jobs.create(model=BASE, training_file=tenant.upload())
    early = tenant.http.get(f"/v1/fine_tuning/jobs/{job.id}/evaluation")
    assert (early.status_code, error_of(early)["code"]) == (404, "evaluation_not_found")
    name, _ = gateway.train(tenant)
    done = next(job for job in tenant.client.fine_tuning.jobs.list() if job.fine_tuned_model)
    path = f"/v1/fine_tuning/jobs/{done.id}/evaluation"
    found = tenant.http.get(path).json()
    assert (found["status"], found["model"], found["baseline"]) == ("queued", name, BASE)
    assert (found["job"], found["result"], found["progress"]) == (done.id, None, None)
    report = tenant.http.get(found["report_url"])
    assert (report.status_code, "queued" in error_of(report)["message"]) == (404, True)
    finish(gateway, tenant, found["id"])
    ended = tenant.http.get(path).json()
    assert (ended["status"], ended["result"]["verdict"]) == ("completed", "better")
    newest = tenant.client.fine_tuning.jobs.list_events(done.id, limit=1).data[0]
    assert newest.message == f"Evaluation {found['id']}: It got better."
    report = tenant.http.get(found["report_url"])
    assert report.text == "<html>report</html>"
    assert "default-src 'none'" in report.headers["content-security-policy"]


def test_output_items_come_in_pages(gateway: Gateway, tenant: Tenant) -> None:
    name, _ = gateway.train(tenant)
    asked = {"model": name, "file": tenant.upload(), "name": "again", "metadata": {"a": "b"}}
    made = tenant.http.post("/v1/evaluations", json=asked)
    assert made.status_code == 200, made.text
    path = f"/v1/evaluations/{made.json()['id']}"
    assert tenant.http.get(f"{path}/output_items").json()["data"] == []
    finish(gateway, tenant, made.json()["id"], items=5)
    first = tenant.http.get(f"{path}/output_items?limit=3").json()
    assert (len(first["data"]), first["has_more"]) == (3, True)
    assert first["data"][0] | ITEM == first["data"][0]
    rest = tenant.http.get(f"{path}/output_items?after={first['last_id']}").json()
    assert (len(rest["data"]), rest["has_more"]) == (2, False)
    assert tenant.http.get(f"{path}/output_items?after=x").status_code == 404
    assert tenant.http.get(f"{path}/output_items?limit=0").status_code == 400
    listed = tenant.http.get(f"/v1/evaluations?model={name}").json()["data"]
    assert [row["name"] for row in listed] == ["again", None]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": "ft:nothing"}, "model"),
        ({"model": BASE}, "baseline"),
        ({"file": "file-nothing"}, "file"),
        ({"minimum_relative_improvement": -1}, "minimum_relative_improvement"),
        ({"surprise": 1}, "surprise"),
        ({"testing_criteria": [{"type": "python"}]}, "testing_criteria.0.type"),
        ({"testing_criteria": [{"type": "score_model", "model": "m"}]}, "testing_criteria.0"),
        (
            {"testing_criteria": [{"type": "string_check", "operation": "maybe"}]},
            "testing_criteria.0.operation",
        ),
    ],
)
def test_bad_requests_are_refused_with_their_parameter(
    sqlite_gateway: Gateway, change: dict[str, Any], param: str
) -> None:
    tenant = sqlite_gateway.tenant()
    name, _ = sqlite_gateway.train(tenant)
    answer = tenant.http.post(
        "/v1/evaluations", json={"model": name, "file": tenant.upload()} | change
    )
    assert answer.status_code in (400, 404), answer.text
    assert error_of(answer)["param"] == param


def test_a_judge_is_taken_where_the_operator_named_one(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(judge_url="http://127.0.0.1:1/v1")
    tenant = gateway.tenant()
    grader = {"type": "score_model", "name": "j", "model": "m"}
    job = tenant.http.post(
        "/v1/fine_tuning/jobs",
        json={
            "model": BASE,
            "training_file": tenant.upload(),
            "evaluation": {"file": tenant.upload(), "grader": grader, "probes": False},
        },
    )
    assert job.status_code == 200, job.text


def test_a_jobs_own_evaluation_file_is_checked(sqlite_gateway: Gateway) -> None:
    tenant, other = sqlite_gateway.tenant(), sqlite_gateway.tenant()
    training = tenant.upload()
    for file, status in ((training, 400), (other.upload(), 404), ("file-x", 404)):
        answer = tenant.http.post(
            "/v1/fine_tuning/jobs",
            json={"model": BASE, "training_file": training, "evaluation": {"file": file}},
        )
        assert answer.status_code == status
        assert error_of(answer)["param"] == "evaluation.file"


def test_canceling_ends_it(gateway: Gateway, tenant: Tenant) -> None:
    name, _ = gateway.train(tenant)
    made = tenant.http.post("/v1/evaluations", json={"model": name, "file": tenant.upload()}).json()
    path = f"/v1/evaluations/{made['id']}"
    assert tenant.http.post(f"{path}/cancel").json()["status"] == "canceled"
    assert tenant.http.post(f"{path}/cancel").status_code == 400
    assert tenant.http.get(f"{path}/report").status_code == 404


def test_another_tenants_evaluations_and_reports_do_not_exist(
    gateway: Gateway, tenant: Tenant
) -> None:
    other = gateway.tenant()
    name, _ = gateway.train(tenant)
    file = tenant.upload()
    made = tenant.http.post("/v1/evaluations", json={"model": name, "file": file}).json()
    for method, path in (
        ("GET", f"/v1/evaluations/{made['id']}"),
        ("POST", f"/v1/evaluations/{made['id']}/cancel"),
        ("GET", f"/v1/evaluations/{made['id']}/output_items"),
        ("GET", f"/v1/evaluations/{made['id']}/report"),
        ("GET", f"/v1/evaluations?after={made['id']}"),
        ("GET", f"/v1/files/{file}/report"),
    ):
        answer = other.http.request(method, path)
        assert answer.status_code == 404, path
        unknown = other.http.request(
            method, path.replace(made["id"], "evalrun_x").replace(file, "file-x")
        )
        assert error_of(answer)["code"] == error_of(unknown)["code"]
    assert other.http.get("/v1/evaluations").json()["data"] == []


def test_a_file_has_its_data_report(gateway: Gateway, tenant: Tenant) -> None:
    file = tenant.upload(examples(12))
    path = f"/v1/files/{file}/report"
    assert tenant.http.get(path).json()["status"] == "queued"
    claim = hold(gateway, DataReport, DataReport.file_id == file)
    with gateway.database.transaction() as session:
        data_reports.complete(session, claim, gateway.storage, tenant.id, {"findings": []})
    found = tenant.http.get(path).json()
    assert (found["status"], found["report"]) == ("completed", {"findings": []})
    batch = tenant.client.files.create(file=("x.jsonl", json.dumps({}).encode()), purpose="batch")
    assert tenant.http.get(f"/v1/files/{batch.id}/report").status_code == 404
