"""Quotas through the API: what is refused, in which words, and that nothing of it is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import update
from tests.gateway.conftest import MakeGateway
from tests.gateway.gateways import BASE, Gateway, Tenant, error_of, examples

from tunesmith.platform.database.models import Tenant as TenantRow


def give(gateway: Gateway, tenant: Tenant, **own: int) -> None:
    limits: Any = own
    with gateway.database.transaction() as session:
        session.execute(update(TenantRow).where(TenantRow.id == tenant.id).values(limits=limits))


def test_a_job_too_many_says_which_limit_and_what_to_do(gateway: Gateway, tenant: Tenant) -> None:
    give(gateway, tenant, queued_jobs=1)
    file = tenant.upload()
    tenant.client.fine_tuning.jobs.create(model=BASE, training_file=file)
    with pytest.raises(openai.RateLimitError) as refused:
        tenant.client.fine_tuning.jobs.create(model=BASE, training_file=file)
    assert refused.value.code == "job_limit_exceeded"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert "queued_jobs" in refused.value.message
    assert "cancel" in refused.value.message


def test_the_settings_are_the_limits_of_who_has_none(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(queued_jobs=1)
    tenant = gateway.tenant()
    file = tenant.upload()
    tenant.client.fine_tuning.jobs.create(model=BASE, training_file=file)
    with pytest.raises(openai.RateLimitError):
        tenant.client.fine_tuning.jobs.create(model=BASE, training_file=file)
    give(gateway, tenant, queued_jobs=2)
    tenant.client.fine_tuning.jobs.create(model=BASE, training_file=file)


def test_a_file_that_does_not_fit_is_refused_and_not_kept(gateway: Gateway, tenant: Tenant) -> None:
    data = examples(seed=tenant.id)
    give(gateway, tenant, stored_bytes=len(data) + 100)
    tenant.upload(data)
    with pytest.raises(openai.RateLimitError) as refused:
        tenant.upload(data)
    assert refused.value.code == "storage_limit_exceeded"
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert len(tenant.client.files.list().data) == 1
    tenant.client.files.delete(tenant.client.files.list().data[0].id)
    tenant.upload(data)


def test_a_file_that_says_its_length_is_refused_before_it_is_sent(
    gateway: Gateway, tenant: Tenant
) -> None:
    give(gateway, tenant, stored_bytes=1000)
    sent: list[int] = []

    def body() -> Any:
        for _ in range(100):
            sent.append(1)
            yield b"x" * 10_000

    head = {
        "authorization": f"Bearer {tenant.key}",
        "content-type": "multipart/form-data; boundary=b",
        "content-length": str(1_000_000),
    }
    try:
        answer = httpx.post(f"{gateway.url}/v1/files", content=body(), headers=head)
    except httpx.TransportError:  # it closed the connection while we wrote
        return
    assert answer.status_code == 429
    assert error_of(answer)["code"] == "storage_limit_exceeded"


def test_uploads_at_once_do_not_get_past_the_limit_together(
    gateway: Gateway, tenant: Tenant
) -> None:
    data = examples(seed=tenant.id)
    give(gateway, tenant, stored_bytes=3 * len(data) + 1)

    def one(_: int) -> bool:
        try:
            tenant.upload(data)
        except openai.RateLimitError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(one, range(8))) == 3
    assert sum(file.bytes for file in tenant.client.files.list()) == 3 * len(data)


def test_limits_and_what_is_used_of_them(gateway: Gateway, tenant: Tenant) -> None:
    give(gateway, tenant, queued_jobs=3, stored_bytes=10**6, requests_per_minute=1000)
    tenant.client.fine_tuning.jobs.create(model=BASE, training_file=tenant.upload())
    gateway.train(tenant)
    found = tenant.http.get("/v1/organization/limits").json()
    assert found["queued_jobs"] == {"limit": 3, "used": 1}
    assert found["running_jobs"] == {"limit": None, "used": 0}
    assert found["adapters"] == {"limit": None, "used": 2}
    assert found["requests_per_minute"] == {"limit": 1000}
    files = sum(file.bytes for file in tenant.client.files.list())
    assert found["stored_bytes"] == {"limit": 10**6, "used": files + 10}
