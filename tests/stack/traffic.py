"""Streams of answers by the openai SDK, many at once, each to its end: who was cut, who refused."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import httpx2
import openai
from openai import OpenAI

_ENDS = 30.0


@dataclass
class Traffic:
    """Begins when entered; when left, lets every stream end.

    Attributes:
        cut: what became of streams that had begun and did not come to their end.
        refused: why others did not begin.
    """

    url: str
    key: str
    model: str
    streams: int = 4
    tokens: int = 120
    finished: int = 0
    cut: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Traffic:
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(self.streams)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_ENDS + 60)
            assert not thread.is_alive(), "a stream does not end"

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            # A client anew for each: its connection goes to any gateway that the service has.
            with OpenAI(
                base_url=f"{self.url}/v1", api_key=self.key, timeout=120, max_retries=0
            ) as client:
                self._ask(client)

    def _ask(self, client: OpenAI) -> None:
        chunks, end = 0, None
        try:
            for chunk in client.chat.completions.create(
                model=self.model,
                messages=[{"role": "user", "content": "where does ticket 3 go?"}],
                max_tokens=self.tokens,
                stream=True,
                extra_body={"min_tokens": self.tokens},
            ):
                chunks += 1
                for choice in chunk.choices:
                    end = choice.finish_reason or end
        except (openai.OpenAIError, httpx2.HTTPError) as error:
            self._note(chunks, f"{type(error).__name__}: {error}")
        else:
            self._note(chunks, "" if end else "ended without a finish_reason")

    def _note(self, chunks: int, wrong: str) -> None:
        with self._lock:
            if not wrong:
                self.finished += 1
            elif chunks:
                self.cut.append(f"after {chunks} chunks: {wrong}")
            else:
                self.refused[wrong] += 1
                self._stop.wait(0.2)
