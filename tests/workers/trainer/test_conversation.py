"""The request that training renders is the one that vLLM renders: compared with vLLM's own code."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from typing import Any

import pytest

from tunesmith.workers.trainer.conversation import served_messages, served_tools

REQUESTS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "plain"}]},
    {
        "messages": [
            {
                "role": "system",
                "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
            },
            {"role": "user", "content": [{"type": "text", "text": "a"}], "name": "ada"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {"name": "f", "arguments": '{"b": [1, "é"], "a": null}'},
                    },
                    {"id": "c2", "type": "function", "function": {"name": "g", "arguments": ""}},
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "x"}]},
            {"role": "tool", "tool_call_id": "c2", "content": "y"},
            {"role": "assistant", "content": "done", "tool_calls": []},
            {"role": "user", "content": ""},
        ],
        "tools": [
            {"type": "function", "function": {"parameters": {"z": 1, "a": 2}, "name": "f"}},
            {"type": "function", "function": {"name": "g", "description": "d", "strict": True}},
        ],
    },
    {
        "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a", "reasoning": "because"},
            {"role": "user", "content": "q"},
        ]
    },
]  # fmt: skip

ASK_VLLM = """
import json, sys
from types import SimpleNamespace
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.renderers.chat_utils import parse_chat_messages

model = SimpleNamespace(enable_prompt_embeds=False, multimodal_config=None)
answers = []
for request in json.load(sys.stdin):
    request = ChatCompletionRequest(model="m", **request)
    messages, *_ = parse_chat_messages(request.messages, model, "string")
    tools = [tool.model_dump() for tool in request.tools] if request.tools else None
    answers.append({"messages": messages, "tools": tools})
print("\\n" + json.dumps(answers))
"""


def test_messages_and_tools_reach_the_template_as_vllm_hands_them_over() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed: pip install 'tunesmith[engine-cpu]'")
    done = subprocess.run(
        [sys.executable, "-c", ASK_VLLM],
        input=json.dumps(REQUESTS), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    for request, answer in zip(REQUESTS, theirs, strict=True):
        ours = served_messages(request["messages"], chat_template="")
        assert json.dumps(ours, sort_keys=True) == json.dumps(answer["messages"], sort_keys=True)
        # `tojson` in a template keeps the order of keys, so the order counts.
        assert json.dumps(served_tools(request.get("tools"))) == json.dumps(answer["tools"])
        for mine, yours in zip(ours, answer["messages"], strict=True):
            assert json.dumps(mine.get("tool_calls")) == json.dumps(yours.get("tool_calls"))


def test_developer_messages_become_one_system_message_unless_the_template_knows_them() -> None:
    messages = [
        {"role": "system", "content": "first"},
        {"role": "user", "content": "q"},
        {"role": "developer", "content": "second"},
    ]
    assert served_messages(messages, "{{ messages }}") == [
        {"role": "system", "content": "first\n\nsecond"},
        {"role": "user", "content": "q"},
    ]
    known = served_messages(messages, "{% if message.role == 'developer' %}")
    assert [message["role"] for message in known] == ["system", "user", "developer"]
    only = [{"role": "developer", "content": "rule"}, {"role": "user", "content": "q"}]
    assert served_messages(only, "")[0] == {"role": "system", "content": "rule"}


def test_training_only_keys_are_dropped() -> None:
    [served] = served_messages([{"role": "assistant", "content": "a", "weight": 1, "x": 2}], "")
    assert served == {"role": "assistant", "content": "a"}
