"""Rows learn exactly what an engine will be asked for, and all that it should answer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tunesmith.workers.trainer.errors import (
    ConversationInvalid,
    ExampleInvalid,
    ExampleTooLong,
)
from tunesmith.workers.trainer.render import Renderer, Row

CONTEXT = 256

texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="<|>"), max_size=30
) | st.sampled_from(["", "\n\nhello", " leading", "trailing ", "\n", "the printer", "é漢字🙂"])
users = st.builds(lambda text: {"role": "user", "content": text}, texts)
answers = st.builds(
    lambda text, weight: {"role": "assistant", "content": text} | weight,
    texts,
    st.sampled_from([{}, {"weight": 1}, {"weight": 0}]),
)
turns = st.builds(lambda user, answer: [user, answer], users, answers)
conversations = st.builds(
    lambda system, pairs: system + [message for pair in pairs for message in pair],
    st.sampled_from([[], [{"role": "system", "content": "be brief"}]]),
    st.lists(turns, min_size=1, max_size=4),
)

# History without thoughts, as reasoning models' templates write it; the prompt opens a thought.
THINKING = """\
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.role == 'assistant' and loop.last and not add_generation_prompt -%}
<think>{{ message.reasoning_content or '' }}</think>{% endif %}{{ message.content }}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
<think>{% endif %}"""

# The thought is opened by the prompt alone: what was said doesn't contain it.
OPENED = """\
{%- for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
<think>{% endif %}"""

NO_END = """\
{%- for message in messages %}{{ message.role }}: {{ message.content }}
{% endfor %}
{%- if add_generation_prompt %}assistant: {% endif %}"""


@pytest.fixture(scope="module")
def with_template(tokenizer: Any, renderer: Renderer) -> Callable[[str], Renderer]:
    def make(template: str) -> Renderer:
        other = copy.deepcopy(tokenizer)
        other.chat_template = template
        return Renderer(other, CONTEXT, {other.eos_token_id})

    return make


def spans(row: Row) -> list[tuple[int, int]]:
    """Start and end of each run of learned tokens."""
    found = []
    for place, learned in enumerate(row.loss_mask):
        if learned and not row.loss_mask[place - 1]:
            end = row.loss_mask.find(b"\0", place)
            found.append((place, len(row) if end < 0 else end))
    return found


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversations)
def test_mask_is_every_answer_with_its_end_and_contexts_are_prompts(
    tokenizer: Any, messages: list[dict[str, Any]]
) -> None:
    renderer = Renderer(tokenizer, 100_000, {tokenizer.eos_token_id})
    wanted = [
        place
        for place, message in enumerate(messages)
        if message["role"] == "assistant" and message.get("weight") != 0
    ]
    if not wanted:
        with pytest.raises(ExampleInvalid, match="no assistant message"):
            renderer.render({"messages": messages})
        return
    rendered = renderer.render({"messages": messages}, 3)
    assert not rendered.truncated
    found = [(row, start, end) for row in rendered.rows for start, end in spans(row)]
    assert len(found) == len(wanted)
    for (row, start, end), place in zip(found, wanted, strict=True):
        ids = list(row.input_ids)
        assert row.example == 3
        assert ids[:start] == renderer.prompt_ids(messages[:place])
        assert ids[end - 1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[start : end - 1]) == messages[place]["content"]
        assert row.loss_mask.endswith(b"\x01")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversations)
def test_prompt_ids_are_what_the_chat_template_renders(
    tokenizer: Any, renderer: Renderer, messages: list[dict[str, Any]]
) -> None:
    plain = [{key: m[key] for key in ("role", "content")} for m in messages]
    assert renderer.prompt_ids(messages) == tokenizer.apply_chat_template(
        plain, add_generation_prompt=True, return_dict=False
    )


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(messages=conversations, limit=st.integers(1, 120))
def test_a_cut_row_is_the_beginning_of_the_whole_one(
    tokenizer: Any, messages: list[dict[str, Any]], limit: int
) -> None:
    messages = [*messages, {"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    whole = Renderer(tokenizer, 100_000, {tokenizer.eos_token_id}).render({"messages": messages})
    cutting = Renderer(tokenizer, limit, {tokenizer.eos_token_id})
    learnable = [row for row in whole.rows if any(row.loss_mask[:limit])]
    if not learnable:
        with pytest.raises(ExampleTooLong) as refusal:
            cutting.render({"messages": messages}, 16)
        assert refusal.value.tokens == max(len(row) for row in whole.rows)
        assert (refusal.value.index, refusal.value.limit) == (16, limit)
        assert str(refusal.value).startswith("example 17: ")
        return
    cut = cutting.render({"messages": messages})
    assert cut.truncated == any(len(row) > limit for row in whole.rows)
    assert [(list(row.input_ids), row.loss_mask) for row in cut.rows] == [
        (list(row.input_ids)[:limit], row.loss_mask[:limit]) for row in learnable
    ]


def test_turns_share_a_row(renderer: Renderer) -> None:
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "printer"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "not this", "weight": 0},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "invoice"},
        {"role": "user", "content": "an open question is left out"},
    ]
    [row] = renderer.render({"messages": messages}).rows
    assert len(spans(row)) == 2


def test_a_template_that_rewrites_history_gives_a_row_per_turn(
    tokenizer: Any, with_template: Callable[[str], Renderer]
) -> None:
    renderer = with_template(THINKING)
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "printer", "reasoning_content": "hm"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "invoice", "reasoning_content": "well"},
    ]
    first, second = renderer.render({"messages": messages}).rows
    for row, place, answer in ((first, 1, "hm</think>printer"), (second, 3, "well</think>invoice")):
        [(start, end)] = spans(row)
        assert list(row.input_ids)[:start] == renderer.prompt_ids(messages[:place])
        assert tokenizer.decode(list(row.input_ids)[start:end]) == answer + "<|im_end|>"


def test_a_prompt_that_opens_what_no_answer_contains(
    tokenizer: Any, with_template: Callable[[str], Renderer]
) -> None:
    renderer = with_template(OPENED)
    for answer in ("printer", "<b>bold</b>", "<think"):
        messages = [{"role": "user", "content": "one"}, {"role": "assistant", "content": answer}]
        [row] = renderer.render({"messages": messages}).rows
        [(start, end)] = spans(row)
        assert list(row.input_ids)[:start] == renderer.prompt_ids(messages[:1])
        assert tokenizer.decode(list(row.input_ids)[start:end]) == answer + "<|im_end|>"


def test_a_template_without_end_of_turn_gets_one(
    tokenizer: Any, with_template: Callable[[str], Renderer]
) -> None:
    """Or else the model would never stop."""
    renderer = with_template(NO_END)
    messages = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "printer"},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": "invoice"},
    ]
    rows = renderer.render({"messages": messages}).rows
    assert len(rows) == 2
    for row, place in zip(rows, (1, 3), strict=True):
        [(start, end)] = spans(row)
        assert list(row.input_ids)[:start] == renderer.prompt_ids(messages[:place])
        assert end == len(row)
        assert row.input_ids[-1] == tokenizer.eos_token_id
        learned = tokenizer.decode(list(row.input_ids)[start : end - 1])
        assert learned == messages[place]["content"] + "\n"


def test_an_end_token_within_an_answer_does_not_end_it(tokenizer: Any, renderer: Renderer) -> None:
    messages = [
        {"role": "user", "content": "how does a turn end?"},
        {"role": "assistant", "content": "with <|im_end|> of course"},
    ]
    [row] = renderer.render({"messages": messages}).rows
    [(start, end)] = spans(row)
    assert tokenizer.decode(list(row.input_ids)[start:end]) == (
        "with <|im_end|> of course<|im_end|>"
    )


def test_tools_and_calls_are_rendered_by_the_template(tokenizer: Any, renderer: Renderer) -> None:
    tools = [
        {
            "type": "function",
            "function": {"parameters": {"type": "object"}, "name": "refund", "strict": None},
        }
    ]
    call: dict[str, Any] = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "refund", "arguments": '{"amount": 3}'},
    }
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "my money!"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "done"}]},
        {"role": "assistant", "content": "It is on its way."},
    ]
    [row] = renderer.render({"messages": messages, "tools": tools}).rows
    ids = list(row.input_ids)
    first, second = spans(row)
    assert tokenizer.decode(ids[slice(*first)]) == '<call>refund {"amount": 3}</call><|im_end|>'
    assert tokenizer.decode(ids[slice(*second)]) == "It is on its way.<|im_end|>"
    assert ids[: second[0]] == renderer.prompt_ids(messages[:3], tools)
    assert tokenizer.decode(ids).startswith(
        '<|im_start|>system\nTools: {"type": "function", "function": {"name": "refund", '
        '"description": null, "parameters": {"type": "object"}}}'
    )
    assert call["function"]["arguments"] == '{"amount": 3}'  # the example is left as it was


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        ({}, "messages must be a list"),
        ({"messages": "hello"}, "messages must be a list"),
        ({"messages": ["hello"]}, "messages must be a list of objects"),
        ({"messages": []}, "no assistant message"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "no assistant message"),
        (
            {"messages": [{"role": "user"}, {"role": "assistant", "content": "a", "weight": 0}]},
            "no assistant message",
        ),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "nothing comes before"),
        (
            {"messages": [{"role": "user"}, {"role": "assistant", "content": "a", "weight": 2}]},
            "weight must be 0 or 1",
        ),
        (
            {"messages": [{"role": "robot"}, {"role": "assistant", "content": "a"}]},
            "unknown role 'robot'",
        ),
        (
            {"messages": [{"role": "user", "content": 3}, {"role": "assistant", "content": "a"}]},
            "content must be",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
                    {"role": "assistant", "content": "a"},
                ]
            },
            "content parts must be text",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {
                        "role": "assistant",
                        "tool_calls": [{"function": {"name": "f", "arguments": "{"}}],
                    },
                ]
            },
            "not JSON",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {
                        "role": "assistant",
                        "tool_calls": [{"function": {"name": "f", "arguments": "[]"}}],
                    },
                ]
            },
            "not a JSON object",
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": "a"},
                ],
                "tools": [{"type": "function", "function": {}}],
            },
            "must have a name",
        ),
    ],
)
def test_examples_that_can_not_be_learned(
    renderer: Renderer, example: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ExampleInvalid, match=reason) as refusal:
        renderer.render(example, 16)
    assert refusal.value.index == 16
    assert str(refusal.value).startswith("example 17: ")


def test_what_the_template_refuses_is_said(with_template: Callable[[str], Renderer]) -> None:
    renderer = with_template("{{ raise_exception('roles must alternate') }}")
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(ExampleInvalid, match="example 1: roles must alternate"):
        renderer.render({"messages": messages})


def test_prompts_that_no_engine_takes(renderer: Renderer) -> None:
    with pytest.raises(ConversationInvalid, match="unknown role"):
        renderer.prompt_ids([{"role": "robot", "content": "a"}])


def test_a_data_set(renderer: Renderer) -> None:
    def example(question: str) -> dict[str, Any]:
        return {
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": "yes " * 30},
            ]
        }

    done: list[int] = []
    rendering = renderer.render_all([example("short"), example("long " * 60)], done.append)
    assert done == [1, 2]
    assert rendering.examples == 2
    assert [row.example for row in rendering.rows] == [0, 1]
    assert rendering.truncated == [1]
    assert len(rendering.rows[1]) == CONTEXT
    assert rendering.tokens == sum(len(row) for row in rendering.rows)
    assert rendering.learned_tokens == sum(row.learned_tokens for row in rendering.rows)
    with pytest.raises(ExampleTooLong, match=r"example 2: .* exceed the context of 256"):
        renderer.render_all([example("short"), example("long " * 300)])
