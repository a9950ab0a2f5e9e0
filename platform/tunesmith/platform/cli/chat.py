"""`tunesmith chat`: talk to a model."""

# ruff: noqa: PLR0917 - a command has as many options as it needs

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from .connection import ApiKey, AsJson, HomeFolder, Tenant, Url
from .errors import CommandFailed, one_sentence
from .output import error_console, plain, print_json


def chat(
    model: Annotated[str, typer.Argument(help="The model's name, from `tunesmith models list`.")],
    message: Annotated[
        str | None, typer.Argument(help="What to say; without it, a conversation begins.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="The system message.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 for the likeliest answer.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer.", min=1)] = None,
    as_json: AsJson = False,
    url: Url = None,
    api_key: ApiKey = None,
    home: HomeFolder = None,
) -> None:
    """Talk to a model: one message, or a conversation."""
    tenant = Tenant(url, api_key, home)
    if as_json and message is None:
        raise CommandFailed("--json needs a message.")
    options: dict[str, Any] = {"model": model}
    if temperature is not None:
        options["temperature"] = temperature
    if max_tokens is not None:
        options["max_tokens"] = max_tokens
    messages: list[dict[str, str]] = [{"role": "system", "content": system}] if system else []
    with one_sentence(tenant.url):
        client: Any = tenant.client()  # its overloads want literal roles
        if message is None:
            _converse(client, options, messages)
            return
        messages.append({"role": "user", "content": message})
        if as_json:
            print_json(plain(client.chat.completions.create(messages=messages, **options)))
            return
        _stream(client, options, messages)


def _stream(client: Any, options: dict[str, Any], messages: list[dict[str, str]]) -> str:
    """Print the answer as it comes; the whole of it."""
    answer: list[str] = []
    with client.chat.completions.create(messages=messages, stream=True, **options) as chunks:
        for chunk in chunks:
            text = chunk.choices[0].delta.content if chunk.choices else None
            if text:
                answer.append(text)
                sys.stdout.write(text)
                sys.stdout.flush()
    print()
    return "".join(answer)


def _converse(client: Any, options: dict[str, Any], messages: list[dict[str, str]]) -> None:
    if sys.stdin.isatty():
        error_console().print("An empty line or Ctrl-D ends the conversation.", style="dim")
    while True:
        try:
            said = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if not said:
            return
        messages.append({"role": "user", "content": said})
        messages.append({"role": "assistant", "content": _stream(client, options, messages)})
