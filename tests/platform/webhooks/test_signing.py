"""Signatures, verified by the two libraries that receivers use."""

from __future__ import annotations

import json
import time

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import InvalidWebhookSignatureError
from standardwebhooks import Webhook, WebhookVerificationError

from tunesmith.platform.webhooks import signing
from tunesmith.platform.webhooks.events import EVENT_TYPES, event

SDK = openai.OpenAI(api_key="unused")


@given(st.sampled_from(EVENT_TYPES), st.text(max_size=30))
def test_both_libraries_verify_what_is_signed(event_type: str, object_id: str) -> None:
    secret = signing.new_secret()
    payload = event("evt_1", event_type, object_id, time.time())
    body = json.dumps(payload, ensure_ascii=False).encode("utf-8", "surrogatepass")
    headers = signing.headers([secret], "evt_1", int(time.time()), body)
    assert Webhook(secret).verify(body, headers) == payload
    unwrapped = SDK.webhooks.unwrap(body, headers, secret=secret)
    assert unwrapped.type == event_type
    assert unwrapped.object == "event"
    assert type(unwrapped).__name__ != "BaseModel"


def test_during_a_rotation_both_secrets_verify_and_no_other() -> None:
    old, new, other = (signing.new_secret() for _ in range(3))
    headers = signing.headers([new, old], "evt_1", int(time.time()), b"{}")
    for secret in (old, new):
        Webhook(secret).verify(b"{}", headers)
        SDK.webhooks.verify_signature("{}", headers, secret=secret)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(b"{}", headers)
    with pytest.raises(InvalidWebhookSignatureError):
        SDK.webhooks.verify_signature("{}", headers, secret=other)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_id_and_time_are_signed_with_the_body(name: str) -> None:
    secret, now = signing.new_secret(), int(time.time())
    others = {"webhook-id": "evt_2", "webhook-timestamp": str(now - 1)}
    headers = signing.headers([secret], "evt_1", now, b"{}") | {name: others[name]}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"{}", headers)


def test_a_hint_tells_only_the_end() -> None:
    secret = signing.new_secret()
    assert len(signing.hint(secret)) < 16
    assert secret.endswith(signing.hint(secret)[-4:])
