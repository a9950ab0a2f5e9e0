"""A base's chat template, rendered as transformers and vLLM do, without either.

The template runs in jinja2's sandbox with the globals and filters of transformers 5
(`utils/chat_template_utils.py`); messages are rewritten first as vLLM does
(`entrypoints/chat_utils.py`), so that the text is the one that training and serving see.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

Message = dict[str, Any]


class ChatTemplate:
    """Messages to text.

    Args:
        source: the template.
        special_tokens: such as `bos_token`, which templates print.
    """

    def __init__(self, source: str, special_tokens: dict[str, str]) -> None:
        self._speaks_developer = '"developer"' in source or "'developer'" in source
        self._special_tokens = special_tokens
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        self._template = environment.from_string(source)

    def served(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as the template receives them at serve time."""
        served = [_served(message) for message in messages]
        if self._speaks_developer or all(m["role"] != "developer" for m in served):
            return served
        for message in served:
            if message["role"] == "developer":
                message["role"] = "system"
        system = [message["content"] for message in served if message["role"] == "system"]
        if len(system) == 1 and served[0]["role"] == "system":
            return served
        others = [message for message in served if message["role"] != "system"]
        return [{"role": "system", "content": "\n\n".join(filter(None, system))}, *others]

    def text(
        self, served: list[Message], tools: list[dict[str, Any]] | None, *, prompt: bool
    ) -> str:
        """The conversation as text, `prompt` with the header of an answer to come.

        Raises:
            jinja2.TemplateError: the template refuses the conversation.
        """
        return self._template.render(
            messages=served,
            tools=tools,
            documents=None,
            add_generation_prompt=prompt,
            **self._special_tokens,
        )


def served_tools(tools: Sequence[dict[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Tool definitions as the template receives them: vLLM's field order and nulls."""
    if not tools:
        return None
    served = []
    for tool in tools:
        function = tool["function"]
        fields = {name: function.get(name) for name in ("name", "description", "parameters")}
        if function.get("strict") is not None:
            fields["strict"] = function["strict"]
        served.append({"type": "function", "function": fields})
    return served


def _served(message: Message) -> Message:
    served: Message = {"role": message["role"], "content": message.get("content") or ""}
    calls = message.get("tool_calls")
    if calls and message["role"] == "assistant":
        served["tool_calls"] = [_served_call(call) for call in calls]
    if message["role"] == "tool" and "tool_call_id" in message:
        served["tool_call_id"] = message["tool_call_id"]
    if isinstance(message.get("name"), str):
        served["name"] = message["name"]
    return served


def _served_call(call: dict[str, Any]) -> dict[str, Any]:
    arguments = call["function"].get("arguments") or {}
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    served: dict[str, Any] = {"id": call["id"]} if "id" in call else {}
    served["function"] = {"arguments": arguments, "name": call["function"]["name"]}
    served["type"] = "function"
    return served


class _Generation(Extension):
    """`{% generation %}` blocks, which mark what is learned; their text is all that counts here."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The block's content alone."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise(message: str) -> None:
    raise TemplateError(message)
