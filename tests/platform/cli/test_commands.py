"""Commands against a small HTTP server: what they send, and what they print."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import FakePlatform, Run


def _job(status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "created_at": 1_700_000_000,
        "finished_at": None,
        "model": "pocket",
        "fine_tuned_model": "ft:pocket:acme::1" if status == "succeeded" else None,
        "organization_id": "org-1",
        "status": status,
        "hyperparameters": {"n_epochs": 3},
        "training_file": "file-1",
        "validation_file": None,
        "result_files": [],
        "trained_tokens": None,
        "seed": 1,
        "error": None,
    } | more


def _event(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"ftevent-{number}",
        "object": "fine_tuning.job.event",
        "created_at": 1_700_000_000 + number,
        "level": "info",
        "message": f"message {number}",
        "type": "message",
        "data": None,
    } | more


def _list(*data: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(data), "has_more": False}


_FILE = {
    "id": "file-1",
    "object": "file",
    "bytes": 3400,
    "created_at": 1_700_000_000,
    "filename": "tickets.csv",
    "purpose": "fine-tune",
    "status": "processed",
}


def test_upload_renames_columns_and_says_the_id(
    run: Run, fake: FakePlatform, tmp_path: Path
) -> None:
    fake.on("POST", "/v1/files", _FILE)
    csv = tmp_path / "tickets.csv"
    csv.write_text("ticket,queue\nwhere is it,shipping\n")
    result = run(
        "files", "upload", str(csv), "--column", "ticket=prompt", "--column", "queue=completion"
    )
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("file-1")
    sent = fake.last("POST")
    assert sent.key == "sk-tenant"
    assert b'filename="tickets.csv"' in sent.body
    assert b"prompt,completion\nwhere is it,shipping\n" in sent.body


@pytest.mark.parametrize(
    ("column", "says"), [("ticket", "OLD=NEW"), ("absent=prompt", "no column 'absent'")]
)
def test_upload_with_a_wrong_column_sends_nothing(
    run: Run, fake: FakePlatform, tmp_path: Path, column: str, says: str
) -> None:
    csv = tmp_path / "tickets.csv"
    csv.write_text("ticket,queue\nwhere is it,shipping\n")
    result = run("files", "upload", str(csv), "--column", column)
    assert result.code == 1
    assert says in result.err
    assert fake.asked == []


def test_upload_of_a_missing_file_is_one_sentence(run: Run) -> None:
    result = run("files", "upload", "nowhere.csv")
    assert result.code == 1
    assert result.err.strip() == "Error: nowhere.csv cannot be read: No such file or directory."


def test_lists_print_a_table_or_json(run: Run, fake: FakePlatform) -> None:
    fake.on("GET", "/v1/files", _list(_FILE))
    table = run("files", "list")
    assert table.out.splitlines()[0].split("\t")[:2] == ["id", "name"]
    assert table.out.splitlines()[1].split("\t")[:4] == [
        "file-1",
        "tickets.csv",
        "fine-tune",
        "3.4 kB",
    ]
    as_json = run("files", "list", "--json").json()
    assert [file["id"] for file in as_json] == ["file-1"]


def test_an_empty_list_says_what_to_do_and_is_an_empty_array_in_json(
    run: Run, fake: FakePlatform
) -> None:
    fake.on("GET", "/v1/fine_tuning/jobs", _list())
    assert "tunesmith jobs create" in run("jobs", "list").err
    assert run("jobs", "list", "--json").json() == []


def test_content_is_written_byte_for_byte(run: Run, fake: FakePlatform, tmp_path: Path) -> None:
    fake.on("GET", "/v1/files/file-1/content", b"a,b\r\n1,\xc3\xa9\r\n")
    assert run("files", "content", "file-1").out == "a,b\r\n1,é\r\n"
    saved = tmp_path / "saved.csv"
    assert run("files", "content", "file-1", "-o", str(saved)).code == 0
    assert saved.read_bytes() == b"a,b\r\n1,\xc3\xa9\r\n"


def test_create_uploads_a_local_file_and_uses_the_only_base(
    run: Run, fake: FakePlatform, tmp_path: Path
) -> None:
    model = {"id": "pocket", "object": "model", "created": 1, "owned_by": "tunesmith"}
    fake.on("GET", "/v1/models", _list(model, {**model, "id": "ft:pocket:acme::0"}))
    fake.on("POST", "/v1/files", _FILE)
    fake.on("POST", "/v1/fine_tuning/jobs", _job("queued"))
    examples = tmp_path / "examples.jsonl"
    examples.write_text("{}\n")
    result = run(
        "jobs", "create", str(examples), "--suffix", "tickets", "--n-epochs", "3",
        "--learning-rate-multiplier", "0.5", "--batch-size", "auto", "--metadata", "team=a=b",
        "--json",
    )  # fmt: skip
    assert result.json()["id"] == "ftjob-1"
    assert fake.last("POST").json() == {
        "model": "pocket",
        "training_file": "file-1",
        "suffix": "tickets",
        "metadata": {"team": "a=b"},
        "method": {
            "type": "supervised",
            "supervised": {
                "hyperparameters": {
                    "n_epochs": 3,
                    "batch_size": "auto",
                    "learning_rate_multiplier": 0.5,
                }
            },
        },
    }


def test_create_takes_a_method_and_any_hyperparameter(run: Run, fake: FakePlatform) -> None:
    fake.on("POST", "/v1/fine_tuning/jobs", _job("queued"))
    run(
        "jobs", "create", "file-1", "--model", "pocket", "--method", "dpo", "--n-epochs", "2",
        "--set", "beta=0.2", "--set", "lora_rank=16", "--set", "target_modules=q_proj, v_proj",
        "--set", "lr_scheduler_type=cosine", "--set", "batch_size=auto", "--set", "new_one=a=b",
        "--json",
    )  # fmt: skip
    given = {
        "n_epochs": 2,
        "beta": 0.2,
        "lora_rank": 16,
        "target_modules": ["q_proj", "v_proj"],
        "lr_scheduler_type": "cosine",
        "batch_size": "auto",
        "new_one": "a=b",
    }
    method = fake.last("POST").json()["method"]
    assert method == {"type": "dpo", "dpo": {"hyperparameters": given}}


def test_create_with_a_method_alone(run: Run, fake: FakePlatform) -> None:
    fake.on("POST", "/v1/fine_tuning/jobs", _job("queued"))
    run("jobs", "create", "file-1", "--model", "pocket", "--method", "dpo", "--json")
    assert fake.last("POST").json()["method"] == {"type": "dpo", "dpo": {"hyperparameters": {}}}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--set", "lora_rank"], "--set is NAME=VALUE; it is 'lora_rank'"),
        (["--set", "lora_rank=many"], "--set lora_rank is a number or \"auto\"; it is 'many'"),
        (["--set", "beta=nan"], "--set beta is a number"),
        (["--n-epochs", "few"], '--n-epochs is a number or "auto"'),
        (["--n-epochs", "3", "--set", "n_epochs=4"], "n_epochs is given twice"),
    ],
)
def test_a_setting_of_the_wrong_form_is_refused(run: Run, options: list[str], says: str) -> None:
    result = run("jobs", "create", "file-1", "--model", "pocket", *options)
    assert result.code == 1
    assert says in " ".join(result.err.split())


def test_a_dpo_job_is_shown_with_what_it_trains_with(run: Run, fake: FakePlatform) -> None:
    options = {"hyperparameters": {"beta": 0.2, "target_modules": ["q_proj"]}}
    job = _job("queued", hyperparameters=None, method={"type": "dpo", "dpo": options})
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1", job)
    result = run("jobs", "get", "ftjob-1")
    assert result.code == 0
    assert "dpo" in result.out
    assert "beta" in result.out
    assert "q_proj" in result.out


def test_create_with_several_bases_asks_which(run: Run, fake: FakePlatform) -> None:
    model = {"id": "small", "object": "model", "created": 1, "owned_by": "tunesmith"}
    fake.on("GET", "/v1/models", _list(model, {**model, "id": "large"}))
    result = run("jobs", "create", "file-1")
    assert result.code == 1
    assert "--model" in result.err
    assert "small, large" in result.err


def test_watch_follows_to_the_end(
    run: Run, fake: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.platform.following.POLL_SECONDS", 0.0)
    states = iter([_job("queued"), _job("running"), _job("succeeded")])
    metrics = {"step": 5, "total_steps": 10, "train_loss": 1.25}
    events = [_event(1), _event(2, type="metrics", message="Step 5/10", data=metrics), _event(3)]
    shown = iter([events[:1], events[:2], events])
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1", lambda: next(states))
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/events", lambda: _list(*reversed(next(shown))))
    result = run("jobs", "watch", "ftjob-1")
    assert result.code == 0
    lines = result.out.splitlines()
    assert [line for line in lines if line.startswith("message")] == ["message 1", "message 3"]
    assert lines[-1] == "Tuned model: ft:pocket:acme::1"


@pytest.mark.parametrize("as_json", [False, True])
def test_watching_a_job_that_fails_ends_with_its_reason(
    run: Run, fake: FakePlatform, as_json: bool
) -> None:
    error = {"code": "bad", "message": "line 17 is not JSON", "param": None}
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1", _job("failed", error=error))
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/events", _list(_event(1)))
    result = run("jobs", "watch", "ftjob-1", *(["--json"] if as_json else []))
    assert result.code == 1
    assert "The job ftjob-1 failed: line 17 is not JSON" in result.err
    if as_json:
        assert result.json()["status"] == "failed"


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
def test_control_calls_the_route(run: Run, fake: FakePlatform, action: str) -> None:
    fake.on("POST", f"/v1/fine_tuning/jobs/ftjob-1/{action}", _job("cancelled"))
    assert run("jobs", action, "ftjob-1").out == "ftjob-1  cancelled\n"


def test_a_limit_cuts_the_pages(run: Run, fake: FakePlatform) -> None:
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/events", _list(*(_event(n) for n in range(9))))
    assert len(run("jobs", "events", "ftjob-1", "--limit", "4", "--json").json()) == 4


def test_checkpoints(run: Run, fake: FakePlatform) -> None:
    checkpoint = {
        "id": "ftckpt_1",
        "object": "fine_tuning.job.checkpoint",
        "created_at": 1,
        "fine_tuning_job_id": "ftjob-1",
        "fine_tuned_model_checkpoint": "ft:pocket:acme::1:ckpt-step-10",
        "step_number": 10,
        "metrics": {"valid_loss": 0.5},
    }
    fake.on("GET", "/v1/fine_tuning/jobs/ftjob-1/checkpoints", _list(checkpoint))
    row = run("jobs", "checkpoints", "ftjob-1").out.splitlines()[1].split("\t")
    assert row[:3] == ["10", "ft:pocket:acme::1:ckpt-step-10", "0.5"]


def test_a_model_with_colons_reaches_its_route(run: Run, fake: FakePlatform) -> None:
    name = "ft:pocket:acme:tickets:1"
    answer = {"id": name, "object": "model", "deleted": True}
    fake.on("DELETE", f"/v1/models/{name}", answer)
    assert run("models", "delete", name).out == f"{name} is deleted.\n"


def _chunks(*texts: str) -> bytes:
    lines = [
        "data: "
        + json.dumps(
            {
                "id": "c",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m",
                "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
            }
        )
        for text in texts
    ]
    return ("\n\n".join([*lines, "data: [DONE]"]) + "\n\n").encode()


def test_chat_streams_the_answer(run: Run, fake: FakePlatform) -> None:
    fake.on("POST", "/v1/chat/completions", _chunks("ship", "ping"))
    result = run("chat", "m", "where is it?", "--system", "Sort.", "--temperature", "0")
    assert result.out == "shipping\n"
    assert fake.last("POST").json() == {
        "model": "m",
        "temperature": 0.0,
        "stream": True,
        "messages": [
            {"role": "system", "content": "Sort."},
            {"role": "user", "content": "where is it?"},
        ],
    }


def test_a_conversation_keeps_what_was_said(
    run: Run, fake: FakePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.on("POST", "/v1/chat/completions", _chunks("shipping"))
    said = iter(["where is it?", "and mine?"])

    def listen(_prompt: str) -> str:
        try:
            return next(said)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", listen)
    assert run("chat", "m").out == "shipping\nshipping\n"
    roles = [message["role"] for message in fake.last("POST").json()["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_tenants_and_keys_use_the_admin_key(run: Run, fake: FakePlatform) -> None:
    tenant = {"id": "tenant-1", "object": "tenant", "name": "acme", "created_at": 1}
    fake.on("POST", "/v1/tenants", {**tenant, "key": "sk-new", "key_id": "key-1"})
    fake.on("GET", "/v1/tenants", _list(tenant))
    created = run("tenants", "create", "acme", "--json").json()
    assert (created["id"], created["key"]) == ("tenant-1", "sk-new")
    assert fake.last("POST").json() == {"name": "acme"}
    assert fake.last("POST").key == "sk-admin"
    key = {"id": "key-2", "name": "ci", "hint": "sk-ts...", "created_at": 1, "revoked_at": None}
    fake.on("POST", "/v1/tenants/tenant-1/keys", {**key, "key": "sk-other"})
    fake.on("GET", "/v1/tenants/tenant-1/keys", _list(key))
    fake.on("DELETE", "/v1/tenants/tenant-1/keys/key-2", {**key, "revoked_at": 2})
    assert run("keys", "create", "ci", "--tenant", "acme", "--json").json()["key"] == "sk-other"
    assert [k["id"] for k in run("keys", "list", "--tenant", "acme", "--json").json()] == ["key-2"]
    assert run("keys", "revoke", "key-2", "--tenant", "tenant-1").out == "key-2 is revoked.\n"
    assert fake.last("DELETE").key == "sk-admin"


def test_an_unknown_tenant_is_one_sentence(run: Run, fake: FakePlatform) -> None:
    fake.on("GET", "/v1/tenants", _list())
    result = run("keys", "list", "--tenant", "nobody")
    assert result.code == 1
    assert "There is no tenant 'nobody'" in result.err


def test_the_platforms_message_is_the_error(run: Run, fake: FakePlatform) -> None:
    error = {"error": {"message": "`n_epochs` must be 1 to 50.", "type": "x", "code": None}}
    fake.on("POST", "/v1/fine_tuning/jobs", error, 400)
    result = run("jobs", "create", "file-1", "--model", "pocket", "--n-epochs", "99")
    assert (result.code, result.err.strip()) == (1, "Error: `n_epochs` must be 1 to 50.")


def test_a_wrong_key_says_how_to_give_another(run: Run, fake: FakePlatform) -> None:
    error = {"error": {"message": "Incorrect API key.", "type": "x", "code": "invalid_api_key"}}
    fake.on("GET", "/v1/models", error, 401)
    result = run("models", "list")
    assert result.code == 1
    assert re.search(r"Incorrect API key\. Give .*--api-key", result.err)


def test_another_server_is_recognised_as_such(run: Run, fake: FakePlatform) -> None:
    fake.on("GET", "/v1/models", b"<html>", 403)
    result = run("models", "list")
    assert result.code == 1
    assert "is it a Tunesmith?" in result.err
