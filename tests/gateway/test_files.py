"""/v1/files with the official client, on both databases."""

from __future__ import annotations

import errno
import http.client
import json
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import openai
import polars as pl
import pytest
from tests.gateway.conftest import MakeGateway
from tests.gateway.gateways import Gateway, Tenant, error_of, examples, wait_for
from tests.platform.examples.workbooks import sheet_data, workbook


def stored(gateway: Gateway, tenant: Tenant) -> list[str]:
    return gateway.storage.list(f"tenants/{tenant.id}")


def test_a_file_is_uploaded_listed_read_and_deleted(gateway: Gateway, tenant: Tenant) -> None:
    data = examples(15)
    made = tenant.client.files.create(file=("tickets ü.jsonl", data), purpose="fine-tune")
    assert (made.bytes, made.filename, made.purpose) == (
        len(data),
        "tickets ü.jsonl",
        "fine-tune",
    )
    assert made.status == "processed"
    assert made.expires_at is None
    assert made.object == "file"
    assert tenant.client.files.retrieve(made.id) == made
    assert [file.id for file in tenant.client.files.list()] == [made.id]
    content = tenant.client.files.content(made.id)
    assert content.read() == data
    assert "tickets%20%C3%BC.jsonl" in content.response.headers["content-disposition"]
    assert len(stored(gateway, tenant)) == 2

    deleted = tenant.client.files.delete(made.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (made.id, True, "file")
    with pytest.raises(openai.NotFoundError):
        tenant.client.files.retrieve(made.id)
    assert list(tenant.client.files.list()) == []
    assert stored(gateway, tenant) == []


def test_files_are_paged_in_both_orders_and_by_purpose(tenant: Tenant) -> None:
    ids = [
        tenant.client.files.create(file=(f"{n}.txt", b"x"), purpose="user_data").id
        for n in range(5)
    ]
    other = tenant.client.files.create(file=("b.jsonl", b"{}"), purpose="batch").id
    page = tenant.client.files.list(limit=2, purpose="user_data")
    assert [file.id for file in page.data] == [ids[4], ids[3]]
    assert page.has_more
    assert [file.id for file in page] == ids[::-1]  # all pages
    up = tenant.client.files.list(limit=2, order="asc")
    assert [file.id for file in up] == [*ids, other]
    with pytest.raises(openai.BadRequestError, match="between 1 and"):
        tenant.client.files.list(limit=0)


def test_equal_bytes_are_two_files(gateway: Gateway, tenant: Tenant) -> None:
    data = examples()
    first, second = tenant.upload(data), tenant.upload(data)
    tenant.client.files.delete(first)
    assert tenant.client.files.content(second).read() == data
    assert len(stored(gateway, tenant)) == 2


def test_a_file_may_expire(tenant: Tenant) -> None:
    made = tenant.client.files.create(
        file=("a.txt", b"x"),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert made.expires_at == made.created_at + 3600
    for bad in ({"anchor": "created_at", "seconds": 3599}, {"anchor": "now", "seconds": 4000}):
        with pytest.raises(openai.BadRequestError) as refused:
            tenant.client.files.create(
                file=("a.txt", b"x"),
                purpose="user_data",
                expires_after=bad,  # type: ignore[arg-type]
            )
        assert str(refused.value.param).startswith("expires_after.")


GOOD = json.loads(examples(1))
BAD_FILES = {
    "empty": (b"", "tickets.jsonl: the file is empty"),
    "not UTF-8": (examples(3) + b'{"messages": "\xff"}', "line 4: not UTF-8"),
    "broken JSON": (examples(16) + b'{"messages": [\n' + examples(3), "line 17: broken JSON"),
    "no assistant": (
        examples(2) + b'{"messages": [{"role": "user", "content": "hi"}]}',
        "line 3: there is no assistant message",
    ),
    "unknown role": (
        b'{"messages": [{"role": "robot", "content": "hi"}]}\n' + examples(2),
        "line 1: message 1 has the unknown role 'robot'",
    ),
    "ragged CSV": (b"prompt,completion\na,b\nc,d,e\n", "line 3"),
    "CSV without its column": (b"prompt,answr\na,b\n", "completion"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_examples_are_refused_with_their_line_and_nothing_is_kept(
    gateway: Gateway, tenant: Tenant, name: str
) -> None:
    data, says = BAD_FILES[name]
    filename = "tickets.csv" if "CSV" in name else "tickets.jsonl"
    with pytest.raises(openai.BadRequestError) as refused:
        tenant.client.files.create(file=(filename, data), purpose="fine-tune")
    assert says in str(refused.value)
    assert refused.value.code == "invalid_examples"
    assert refused.value.type == "invalid_request_error"
    assert stored(gateway, tenant) == []
    assert list(tenant.client.files.list()) == []


def test_csv_cells_may_have_quotes_and_newlines(tenant: Tenant) -> None:
    rows = "".join(f'"q ""{n}""\nsecond line",answer {n}\r\n' for n in range(10))
    data = b"\xef\xbb\xbf" + f"prompt,completion\r\n{rows}".encode()
    assert tenant.client.files.retrieve(tenant.upload(data, "t.csv")).bytes == len(data)


def test_parquet_and_sheets_are_files_of_examples(gateway: Gateway, tenant: Tenant) -> None:
    parquet = BytesIO()
    pl.DataFrame(
        {"prompt": [f"q {n}" for n in range(12)], "completion": ["yes", "no"] * 6}
    ).write_parquet(parquet)
    sheet = workbook(sheet_data([["question", "answer"], *([f"q {n}", n] for n in range(12))]))
    for name, data in (("t.parquet", parquet.getvalue()), ("t.xlsx", sheet)):
        made = tenant.client.files.create(file=(name, data), purpose="fine-tune")
        assert (made.bytes, made.status) == (len(data), "processed")
        assert tenant.client.files.content(made.id).read() == data
    assert len(stored(gateway, tenant)) == 4
    bad = workbook(sheet_data([["question", "answer"], ["a", "b"], ["c", ""]]))
    for name, data, says in (
        ("t.xlsx", bad, "line 3: the answer is empty"),
        ("t.parquet", parquet.getvalue()[:-20], "damaged Parquet"),
    ):
        with pytest.raises(openai.BadRequestError, match=says) as refused:
            tenant.client.files.create(file=(name, data), purpose="fine-tune")
        assert refused.value.code == "invalid_examples"
    assert len(stored(gateway, tenant)) == 4


def form(*parts: tuple[str, str, bytes], boundary: str = "XX") -> tuple[dict[str, str], bytes]:
    """Headers and body of a form; each part is (name, filename or "", content)."""
    body = b""
    for name, filename, content in parts:
        extra = f'; filename="{filename}"' if filename else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n'.encode()
        body += b"\r\n" + content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, body


@pytest.mark.parametrize("file_first", [True, False])
def test_fields_come_in_any_order(tenant: Tenant, file_first: bool) -> None:
    parts = [("file", "a.txt", b"one\r\n--X\r\ntwo"), ("purpose", "", b"user_data")]
    headers, body = form(*(parts if file_first else parts[::-1]))
    made = tenant.http.post("/v1/files", headers=headers, content=body).json()
    assert tenant.client.files.content(made["id"]).read() == b"one\r\n--X\r\ntwo"


FILE = ("file", "a.txt", b"data")
PURPOSE = ("purpose", "", b"user_data")
BAD_FORMS = {
    "no file": ([PURPOSE], "file", "missing_required_parameter"),
    "no purpose": ([FILE], "purpose", "missing_required_parameter"),
    "unknown purpose": ([FILE, ("purpose", "", b"fun")], "purpose", "invalid_value"),
    "two files": ([FILE, PURPOSE, FILE], "file", None),
    "a field twice": ([FILE, PURPOSE, PURPOSE], "purpose", None),
    "unknown field": ([FILE, PURPOSE, ("mode", "", b"x")], "mode", "unknown_parameter"),
    "long field": ([FILE, ("purpose", "", b"x" * 2000)], "purpose", None),
}


@pytest.mark.parametrize("name", BAD_FORMS)
def test_a_bad_form_is_a_400_and_nothing_is_kept(sqlite_gateway: Gateway, name: str) -> None:
    tenant = sqlite_gateway.tenant()
    parts, param, code = BAD_FORMS[name]
    headers, body = form(*parts)
    answer = tenant.http.post("/v1/files", headers=headers, content=body)
    assert answer.status_code == 400, answer.text
    error = error_of(answer)
    assert (error["param"], error["code"]) == (param, code)
    assert stored(sqlite_gateway, tenant) == []


def test_what_is_no_form_or_is_cut_off_is_a_400(sqlite_gateway: Gateway) -> None:
    tenant = sqlite_gateway.tenant()
    headers, body = form(FILE, PURPOSE)
    for given, content in (
        (headers, body[:-6]),
        (headers, b"garbage"),
        ({"content-type": "multipart/form-data"}, body),
        ({"content-type": "application/json"}, b"{}"),
        ({}, b""),
    ):
        answer = tenant.http.post("/v1/files", headers=given, content=content)
        assert answer.status_code == 400, answer.text
        error_of(answer)
    assert stored(sqlite_gateway, tenant) == []


def test_an_upload_whose_client_goes_away_leaves_nothing(make_gateway: MakeGateway) -> None:
    gateway = make_gateway()
    tenant = gateway.tenant()
    headers, body = form(("file", "a.bin", b"x" * 1_500_000), PURPOSE)
    head = (
        "POST /v1/files HTTP/1.1\r\nHost: gateway\r\n"
        f"Authorization: Bearer {tenant.key}\r\n"
        f"Content-Type: {headers['content-type']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", gateway.served.port), 10) as connection:
        connection.sendall(head.encode() + body[:1_200_000])
        wait_for(lambda: gateway.metric("tunesmith_requests_in_flight") >= 2)  # the scrape is one
    wait_for(
        lambda: gateway.metric("tunesmith_requests_total", route="/v1/files", status="499") == 1
    )
    kept = [path for path in (gateway.settings.home / "storage").rglob("*") if path.is_file()]
    assert kept == []
    assert list(tenant.client.files.list()) == []


def test_a_file_that_says_it_is_too_large_is_refused_unread(sqlite_gateway: Gateway) -> None:
    tenant = sqlite_gateway.tenant()
    head = (
        "POST /v1/files HTTP/1.1\r\nHost: gateway\r\n"
        f"Authorization: Bearer {tenant.key}\r\n"
        "Content-Type: multipart/form-data; boundary=XX\r\nContent-Length: 513000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", sqlite_gateway.served.port), 10) as connection:
        connection.sendall(head.encode())  # and not a byte of the body
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 413
        assert answer.headers["x-should-retry"] == "false"
        assert json.loads(answer.read())["error"]["code"] == "file_too_large"
    assert stored(sqlite_gateway, tenant) == []


def test_a_file_that_turns_out_too_large_is_refused_and_not_kept(sqlite_gateway: Gateway) -> None:
    limit = sqlite_gateway.settings.max_file_bytes
    tenant = sqlite_gateway.tenant()
    headers, body = form(("file", "a.bin", b"x" * (limit + 1)), PURPOSE)
    pieces = (body[start : start + 65536] for start in range(0, len(body), 65536))
    answer = tenant.http.post("/v1/files", headers=headers, content=pieces)  # chunked: no length
    assert answer.status_code == 413
    assert "2 MB" in error_of(answer)["message"]
    assert stored(sqlite_gateway, tenant) == []
    headers, body = form(("file", "a.bin", b"x" * limit), PURPOSE)
    assert tenant.http.post("/v1/files", headers=headers, content=body).status_code == 200


def test_the_official_client_gets_413_once(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(max_file_bytes=100_000)
    client = gateway.tenant().client.with_options(max_retries=2)
    with pytest.raises(openai.APIStatusError) as refused:
        client.files.create(file=("big.jsonl", b"x" * 8_000_000), purpose="fine-tune")
    assert refused.value.status_code == 413
    assert gateway.metric("tunesmith_requests_total", route="/v1/files", status="413") == 1


def test_a_full_disk_is_said_and_nothing_is_kept(
    make_gateway: MakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = make_gateway()
    tenant = gateway.tenant()
    headers, body = form(("file", "a.bin", b"x" * 1_500_000), PURPOSE)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        answer = tenant.http.post("/v1/files", headers=headers, content=body)
    assert answer.status_code == 507
    assert answer.headers["x-should-retry"] == "false"
    assert error_of(answer)["code"] == "storage_full"
    assert gateway.storage.list() == []
    assert tenant.http.post("/v1/files", headers=headers, content=body).status_code == 200


def test_many_uploads_at_once_all_arrive(gateway: Gateway, tenant: Tenant) -> None:
    def upload(number: int) -> str:
        made = tenant.upload(examples(20, seed=str(number)))
        tenant.client.files.list(limit=5)
        return made

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(upload, range(24)))
    assert {file.id for file in tenant.client.files.list()} == ids
    assert len(stored(gateway, tenant)) == 48
