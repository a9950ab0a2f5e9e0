"""Uploads over HTTP: parts put together into a file like any other, and nobody else's."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import openai
import pytest
from sqlalchemy import select, update
from tests.gateway.conftest import MakeGateway
from tests.gateway.gateways import Gateway, Tenant, error_of, examples, wait_for

from tunesmith.platform.database.models import Upload, UploadPart
from tunesmith.platform.uploads.sweeping import sweep
from tunesmith.platform.uploads.uploads import folder

ASKED = {"filename": "a.jsonl", "purpose": "user_data", "bytes": 6, "mime_type": "text/plain"}


def begin(tenant: Tenant, **change: Any) -> str:
    """Id of a new upload."""
    answer = tenant.http.post("/v1/uploads", json=ASKED | change)
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["id"]
    return found


def send(tenant: Tenant, upload: str, data: bytes) -> str:
    """Id of a new part."""
    return tenant.client.uploads.parts.create(upload, data=data).id


def complete(tenant: Tenant, upload: str, parts: list[str], **more: Any) -> Any:
    return tenant.http.post(f"/v1/uploads/{upload}/complete", json={"part_ids": parts} | more)


def expire(gateway: Gateway, upload: str, ago: float) -> None:
    with gateway.database.transaction() as session:
        session.execute(
            update(Upload).where(Upload.id == upload).values(expires_at=Upload.expires_at - ago)
        )


def test_the_official_client_uploads_in_chunks(
    gateway: Gateway, tenant: Tenant, tmp_path: Path
) -> None:
    data = examples(40)
    path = tmp_path / "tickets.jsonl"
    path.write_bytes(data)
    upload = tenant.client.uploads.upload_file_chunked(
        file=path,
        mime_type="application/jsonl",
        purpose="fine-tune",
        part_size=1000,
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
    )
    assert (upload.status, upload.bytes) == ("completed", len(data))
    assert upload.file is not None
    assert (upload.file.filename, upload.file.purpose) == ("tickets.jsonl", "fine-tune")
    assert tenant.client.files.content(upload.file.id).content == data
    report = tenant.http.get(f"/v1/files/{upload.file.id}/report").json()
    assert report["status"] == "queued"  # it was read as examples, as any training file
    assert gateway.storage.list(folder(upload.id)) == []
    with gateway.database.reading() as session:
        query = select(UploadPart).where(UploadPart.upload_id == upload.id)
        assert session.scalars(query).all() == []


def test_parts_are_put_together_in_the_order_of_their_ids(tenant: Tenant) -> None:
    upload = begin(tenant, expires_after={"anchor": "created_at", "seconds": 7200})
    last, first, _unused = (send(tenant, upload, data) for data in (b"def", b"abc", b"xyz"))
    done = complete(tenant, upload, [first, last]).json()
    assert tenant.client.files.content(done["file"]["id"]).content == b"abcdef"
    assert done["file"]["expires_at"] == done["file"]["created_at"] + 7200
    again = complete(tenant, upload, [first, last]).json()  # the first answer was lost
    assert again == done
    late = tenant.http.post(f"/v1/uploads/{upload}/parts", files={"data": b"x"})
    assert (late.status_code, error_of(late)["code"]) == (400, "invalid_upload_state")
    assert tenant.http.post(f"/v1/uploads/{upload}/cancel").status_code == 400


def test_what_does_not_add_up_is_refused_and_the_upload_goes_on(tenant: Tenant) -> None:
    upload = begin(tenant)
    one, two = send(tenant, upload, b"abc"), send(tenant, upload, b"def")
    for parts, more, code in (
        ([one], {}, "bytes_mismatch"),
        ([one, one], {}, None),
        ([one, "part_x"], {}, "part_not_found"),
        ([one, two], {"md5": "0" * 32}, "checksum_mismatch"),
    ):
        answer = complete(tenant, upload, parts, **more)
        assert (answer.status_code, error_of(answer)["code"]) == (400, code)
    assert complete(tenant, upload, [one, two]).status_code == 200


def test_bad_examples_are_refused_with_their_lines(gateway: Gateway, tenant: Tenant) -> None:
    data = examples(11) + b'{"messages": 1}\n'
    upload = begin(tenant, purpose="fine-tune", bytes=len(data))
    answer = complete(tenant, upload, [send(tenant, upload, data)])
    assert answer.status_code == 400
    assert "12" in error_of(answer)["message"]
    assert len(gateway.storage.list(folder(upload))) == 1
    assert tenant.client.files.list().data == []


def test_canceling_deletes_the_parts(gateway: Gateway, tenant: Tenant) -> None:
    upload = begin(tenant)
    send(tenant, upload, b"abc")
    assert tenant.client.uploads.cancel(upload).status == "cancelled"
    assert tenant.client.uploads.cancel(upload).status == "cancelled"
    assert gateway.storage.list(folder(upload)) == []
    with pytest.raises(openai.BadRequestError, match="cancelled already"):
        send(tenant, upload, b"def")


def test_an_expired_upload_takes_nothing_and_is_swept(gateway: Gateway, tenant: Tenant) -> None:
    upload, living = begin(tenant), begin(tenant)
    part = send(tenant, upload, b"abcdef")
    send(tenant, living, b"abc")
    expire(gateway, upload, 3601)
    with pytest.raises(openai.BadRequestError, match="expired"):
        send(tenant, upload, b"def")
    assert error_of(complete(tenant, upload, [part]))["code"] == "upload_expired"
    assert sweep(gateway.database, gateway.storage) == 0  # completing may have begun in time
    expire(gateway, upload, 3600)
    assert sweep(gateway.database, gateway.storage) == 1
    assert gateway.storage.list(folder(upload)) == []
    assert len(gateway.storage.list(folder(living))) == 1
    assert tenant.http.post(f"/v1/uploads/{upload}/cancel").status_code == 400


def test_a_gateway_sweeps_by_itself(make_gateway: MakeGateway, tmp_path: Path) -> None:
    first = make_gateway()
    upload = begin(first.tenant())
    first.storage.put(f"{folder(upload)}/part_of_no_row", b"abc")
    expire(first, upload, 8000)
    shared = {"database_url": first.settings.database_url}
    second = make_gateway(storage_url=first.settings.storage_url, **shared)
    wait_for(lambda: second.storage.list(folder(upload)) == [])


@pytest.mark.parametrize(
    ("change", "param", "status"),
    [
        ({"bytes": 0}, "bytes", 400),
        ({"bytes": "6"}, "bytes", 400),
        ({"bytes": 10**12}, "bytes", 413),
        ({"purpose": "batch_output"}, "purpose", 400),
        ({"filename": ""}, "filename", 400),
        ({"filename": "x" * 600}, "filename", 400),
        ({"mime_type": None}, "mime_type", 400),
        ({"surprise": 1}, "surprise", 400),
        ({"expires_after": {"anchor": "now", "seconds": 7200}}, "expires_after.anchor", 400),
    ],
)
def test_bad_creates_are_refused(
    sqlite_gateway: Gateway, change: dict[str, Any], param: str, status: int
) -> None:
    answer = sqlite_gateway.tenant().http.post("/v1/uploads", json=ASKED | change)
    assert (answer.status_code, error_of(answer)["param"]) == (status, param)


def test_parts_beyond_the_upload_are_refused(sqlite_gateway: Gateway) -> None:
    tenant = sqlite_gateway.tenant()
    upload = begin(tenant)
    path = f"/v1/uploads/{upload}/parts"
    large = tenant.http.post(path, files={"data": b"x" * (64 * 1024 * 1024 + 1)})
    assert (large.status_code, error_of(large)["param"]) == (413, "data")
    assert tenant.http.post(path, files={"file": b"x"}).status_code == 400
    other = tenant.http.post(path, files={"data": b"x"}, data={"more": "y"})
    assert (other.status_code, error_of(other)["param"]) == (400, "more")
    assert sqlite_gateway.storage.list(folder(upload)) == []


def test_another_tenants_upload_does_not_exist(gateway: Gateway, tenant: Tenant) -> None:
    other = gateway.tenant()
    upload = begin(tenant)
    part = send(tenant, upload, b"abcdef")
    for path, body in (
        ("parts", {"files": {"data": b"x"}}),
        ("complete", {"json": {"part_ids": [part]}}),
        ("cancel", {}),
    ):
        refused = other.http.post(f"/v1/uploads/{upload}/{path}", **body)
        unknown = other.http.post(f"/v1/uploads/upload_x/{path}", **body)
        assert (refused.status_code, unknown.status_code) == (404, 404)
        expected = error_of(unknown)
        expected["message"] = expected["message"].replace("upload_x", upload)
        assert error_of(refused) == expected
    mine = begin(other)
    foreign = complete(other, mine, [part])
    assert error_of(foreign)["code"] == "part_not_found"
