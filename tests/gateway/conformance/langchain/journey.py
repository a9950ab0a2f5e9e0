"""A user's way with LangChain's ChatOpenAI; prints what came of it as JSON.

It runs in an environment of its own, which `environments.py` makes.
"""

from __future__ import annotations

import json
import os
from typing import Any

import openai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings  # type: ignore[import-not-found]
from pydantic import BaseModel


class Answer(BaseModel):
    """What a chat is to answer with."""

    text: str
    sure: bool


def weather(place: str, days: int) -> str:
    """Look up the weather of a place."""
    return f"{place}: rain for {days} days"


def main() -> None:
    """Do it all."""
    url, key, name = (os.environ[wanted] for wanted in ("BASE_URL", "API_KEY", "MODEL"))
    common: dict[str, Any] = {"base_url": url, "api_key": key, "max_retries": 0}
    model = ChatOpenAI(model=name, stream_usage=True, **common)
    answer = model.invoke("hi")
    chunks = list(model.stream("hi"))
    called = model.bind_tools([weather]).invoke("hi")
    structured = model.with_structured_output(Answer, method="json_schema").invoke("hi")
    by_tool = model.with_structured_output(Answer, method="function_calling").invoke("hi")
    responses = ChatOpenAI(model=name, use_responses_api=True, **common).invoke("hi")
    embeddings = OpenAIEmbeddings(model=name, check_embedding_ctx_length=False, **common)
    batch = model.batch(["one", "two", "three"])
    try:
        ChatOpenAI(model="ft:pocket:nobody::x", **common).invoke("hi")
        error = None
    except openai.NotFoundError as missing:
        error = missing.code
    found = {
        "answer": answer.content,
        "tokens": answer.usage_metadata["total_tokens"],
        "streamed": "".join(chunk.content for chunk in chunks),
        "streamed_tokens": [c.usage_metadata["total_tokens"] for c in chunks if c.usage_metadata],
        "call": [called.tool_calls[0]["name"], called.tool_calls[0]["args"]],
        "structured": structured.model_dump(),
        "by_tool": by_tool.model_dump(),
        "responses": responses.text,
        "embeddings": embeddings.embed_documents(["a", "b"]),
        "batch": len(batch),
        "error": error,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
