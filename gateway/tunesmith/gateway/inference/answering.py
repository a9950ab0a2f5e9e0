"""The way of a generation: a name resolved, limits asked, an engine asked, tokens counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from time import perf_counter

from tunesmith.gateway.engines.answer import AnswerLost
from tunesmith.gateway.fairness.tenant_line import Priority
from tunesmith.gateway.limits.admission import Admission
from tunesmith.gateway.limits.estimate import TokenEstimates
from tunesmith.gateway.limits.in_force import CallerLimits, Rates
from tunesmith.gateway.limits.request_limits import RequestLimits
from tunesmith.gateway.metrics import Metrics
from tunesmith.gateway.models.catalogue import Catalogue, Choice
from tunesmith.gateway.usage.ledger import UsageLedger
from tunesmith.platform.domain.errors import InvalidRequest, Unavailable
from tunesmith.platform.tenants import Caller
from tunesmith.platform.tracing import Span

from .asked import Asked
from .errors import is_fault, of_engine
from .exchange import Exchange
from .renaming import Relay, Renaming
from .sending import Message, Sender
from .usage import Usage, usage_in, usage_in_response

_MOST_TOKENS = 2**31
"""What a request counts for at most: a client may ask for 10**400 tokens, which no float holds."""

_WITHOUT_TOKENS = ("/tokenize", "/detokenize")
"""Paths whose requests are no work for a model."""


class Inference:
    """What answers tenants' requests, by whichever way they come; for one event loop.

    Args:
        shares_cache: whether tenants share an engine's cache of prompts.
        fetches_urls: whether requests may name files by URL, which the engine fetches.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        sender: Sender,
        limits: RequestLimits,
        defaults: Rates,
        ledger: UsageLedger,
        metrics: Metrics,
        shares_cache: bool = False,
        fetches_urls: bool = False,
    ) -> None:
        self.ledger = ledger
        self.pool = sender.pool
        self.metrics = metrics
        self.estimates = TokenEstimates()
        self._catalogue = catalogue
        self._sender = sender
        self._limits = limits
        self._defaults = defaults
        self._shares_cache = shares_cache
        self._fetches_urls = fetches_urls
        self._limits_of: dict[str, tuple[Caller, CallerLimits | None]] = {}

    async def begin(
        self,
        caller: Caller,
        asked: Asked,
        request_id: str,
        *,
        priority: Priority = Priority.INTERACTIVE,
        limited: bool = True,
        received: float | None = None,
        span: Span | None = None,
    ) -> Generation:
        """Let a request in and have an engine answer it; the answer's head is here then.

        Args:
            limited: whether limits a minute hold for it.
            received: when its first byte came (`perf_counter`), where its time is to be kept.
            span: of the request, where it is traced.

        Raises:
            NotFound: no such model or alias of this tenant.
            RateLimited: a limit of the tenant or the key is reached.
            Unavailable: no engine can answer now.
        """
        tenant_id = caller.tenant_id
        assert tenant_id is not None, "the administrator asks no model"
        if not self._fetches_urls:
            asked.check_urls()
        choice = await self._catalogue.choose(tenant_id, asked.name, asked.user)
        estimate = self._estimate(choice, asked)
        limits = self._limits_in_force(caller) if limited else None
        admission = self._limits.admit_now(limits, estimate)
        if admission is None:
            admission = await self._limits.admit(limits, estimate)
        message: Message | None = None
        target = choice.target
        headers = b"x-request-id: %b\r\n" % request_id.encode()
        if span is not None:
            span = _engine_span(span, choice, asked)
            headers += b"traceparent: %b\r\n" % span.traceparent.encode()
        try:
            message = Message(
                tenant_id=tenant_id,
                target=target,
                path=asked.path,
                body=asked.for_engine(
                    target.engine_name, None if self._shares_cache else tenant_id
                ),
                headers=headers,
                cost=estimate,
                priority=priority,
            )
            exchange = await self._sender.send(message)
        except asyncio.CancelledError:
            # An answer that nobody waited for costs its prompt: what more it was is not known.
            admission.settle(asked.prompt_tokens if message and message.reached else 0)
            if span is not None:
                span.end("the client did not wait")
            raise
        except BaseException as error:
            admission.settle(0)
            if span is not None:
                span.end(str(error))
            raise
        return Generation(
            self,
            caller,
            asked,
            choice=choice,
            admission=admission,
            exchange=exchange,
            received=received,
            span=span,
        )

    def _estimate(self, choice: Choice, asked: Asked) -> int:
        if asked.path in _WITHOUT_TOKENS:
            return 1
        return min(self.estimates.of(choice.model, asked.body, len(asked.raw)), _MOST_TOKENS)

    def _limits_in_force(self, caller: Caller) -> CallerLimits | None:
        known = self._limits_of.get(caller.key_id)
        if known is not None and known[0] is caller:
            return known[1]
        assert caller.tenant_id is not None
        limits = CallerLimits.in_force(
            caller.tenant_id,
            caller.key_id,
            self._defaults,
            caller.tenant_limits,
            caller.key_limits,
        )
        if len(self._limits_of) >= 10_000:
            self._limits_of.clear()
        self._limits_of[caller.key_id] = caller, limits
        return limits


def _engine_span(request: Span, choice: Choice, asked: Asked) -> Span:
    """The span of waiting for an engine and of its answer."""
    attributes = {"tunesmith.base": choice.target.base, "gen_ai.request.model": choice.model}
    if choice.target.digest is not None:
        attributes["tunesmith.adapter"] = choice.target.digest
    return request.child(f"engine {asked.path}", attributes, kind="client")


class Generation:
    """An engine's answer to a request; to be ended."""

    def __init__(
        self,
        inference: Inference,
        caller: Caller,
        asked: Asked,
        *,
        choice: Choice,
        admission: Admission,
        exchange: Exchange,
        received: float | None = None,
        span: Span | None = None,
    ) -> None:
        self.status = exchange.status
        self.content_type = exchange.content_type
        self.streamed = (
            exchange.status == HTTPStatus.OK and exchange.content_type == "text/event-stream"
        )
        self._inference = inference
        self._caller = caller
        self._asked = asked
        self._choice = choice
        self._admission = admission
        self._exchange = exchange
        self._received = received
        self._span = span
        self._usage: Usage | None = None
        self._relay: Relay | None = None
        self._answers = False
        self._abandoned = False
        self._cut = False

    @property
    def headers(self) -> dict[str, str]:
        """Which model answers, which revision of which alias chose it, what is left of limits."""
        headers = {"x-tunesmith-model": self._choice.model}
        if self._choice.alias is not None:
            headers["x-tunesmith-alias"] = self._choice.alias
            headers["x-tunesmith-alias-revision"] = str(self._choice.revision)
        return headers | self._admission.headers

    async def read(self) -> bytes:
        """All of the answer.

        Raises:
            RefusedByEngine: the engine says what is wrong with the request.
            InvalidRequest: the answer is too large to be kept.
            Unavailable: the engine failed, or was lost.
        """
        pool, engine = self._inference.pool, self._exchange.engine
        try:
            text = await self._exchange.read()
        except (asyncio.CancelledError, InvalidRequest):
            self._abandoned = True
            raise
        except Unavailable:
            pool.failed(engine)
            raise
        if self.status != HTTPStatus.OK:
            if is_fault(self.status):
                pool.failed(engine)
            else:
                pool.succeeded(engine)
            raise of_engine(self.status, text, self._choice.target, self._asked)
        self._came()
        if self._received is not None and self._asked.path not in _WITHOUT_TOKENS:
            figures = self._inference.metrics.base(self._choice.target.base)
            figures.whole_answer.observe(perf_counter() - self._received)
        self._usage = self._usage_in(text)
        return self._renaming(text)

    async def stream(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Give a streamed answer to `send` as it comes; raises `AnswerLost` where it is cut."""
        self._answers = True
        relay = self._relay = Relay(
            self._renaming, drop_usage=not self._asked.wants_usage, usage_in=self._usage_in
        )
        following = self._exchange.next
        try:
            chunk = await following()
            self._came()
            if chunk and self._received is not None:
                figures = self._inference.metrics.base(self._choice.target.base)
                figures.first_token.observe(perf_counter() - self._received)
                if self._span is not None:
                    self._span.event("first token")
            while chunk:
                text = relay.passed_on(chunk)
                if text:
                    await send(text)
                chunk = await following()
        except AnswerLost:
            self._inference.pool.failed(self._exchange.engine)
            self._inference.metrics.base(self._choice.target.base).cut.inc()
            self._cut = True
            raise
        text = relay.rest()
        if text:
            await send(text)

    def end(self) -> None:
        """Count what was used, and let go of the engine."""
        asked, relay = self._asked, self._relay
        usage = self._usage if relay is None else relay.usage
        if self._span is not None:
            self._end_span(self._span, usage)
        if usage is None and relay is not None and relay.events:
            # Cut before its end, where the engine would have said it: at least a token an event.
            usage = Usage(asked.prompt_tokens, relay.events * asked.tokens_an_event)
        if not self._answers:
            # Abandoned: its prompt counts against limits; for turns, the estimate stands.
            self._exchange.close(None if self._abandoned else 0)
            self._admission.settle(asked.prompt_tokens if self._abandoned else 0)
            return
        tokens: int | None = None
        if usage is not None:
            tokens = usage.total
        elif asked.path in _WITHOUT_TOKENS:
            tokens = 0
        elif relay is not None:  # cut before its first event
            tokens = asked.prompt_tokens
        self._exchange.close(tokens)
        self._admission.settle(tokens)
        choice, inference = self._choice, self._inference
        assert self._caller.tenant_id is not None
        inference.ledger.record(
            self._caller.tenant_id,
            self._caller.key_id,
            choice.model,
            choice.alias or "",
            usage.prompt if usage else 0,
            usage.completion if usage else 0,
            usage.cached if usage else 0,
        )
        if usage is not None:
            inference.estimates.learn(choice.model, usage.completion)
            figures = inference.metrics.base(choice.target.base)
            figures.prompt.inc(usage.prompt)
            figures.completion.inc(usage.completion)

    def _end_span(self, span: Span, usage: Usage | None) -> None:
        span.set(
            {
                "server.address": self._exchange.engine.url,
                "http.response.status_code": self.status,
            }
        )
        if usage is not None:
            span.set(
                {
                    "gen_ai.usage.input_tokens": usage.prompt,
                    "gen_ai.usage.output_tokens": usage.completion,
                }
            )
        answered = self.status == HTTPStatus.OK or not is_fault(self.status)
        failed = self._cut or self._abandoned or not answered
        span.end("all of its answer was not had" if failed else None)

    @property
    def _usage_in(self) -> Callable[[bytes], Usage | None]:
        return usage_in_response if self._asked.path == "/v1/responses" else usage_in

    @property
    def _renaming(self) -> Renaming:
        return Renaming.of(self._choice.target, self._asked.name)

    def _came(self) -> None:
        """The engine answers for this model."""
        self._answers = True
        target, engine = self._choice.target, self._exchange.engine
        self._inference.pool.succeeded(engine)
        if target.digest is not None:
            self._inference.pool.served(engine, target.base, target.digest)
