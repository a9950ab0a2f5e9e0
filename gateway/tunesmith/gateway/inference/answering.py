"""The way of a generation: a name resolved, limits asked, an engine asked, tokens counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus

from tunesmith.gateway.fairness.tenant_line import Priority
from tunesmith.gateway.limits.admission import Admission
from tunesmith.gateway.limits.estimate import TokenEstimates
from tunesmith.gateway.limits.in_force import CallerLimits, Rates
from tunesmith.gateway.limits.request_limits import RequestLimits
from tunesmith.gateway.metrics import Metrics
from tunesmith.gateway.models.catalogue import Catalogue, Choice
from tunesmith.gateway.usage.ledger import UsageLedger
from tunesmith.platform.domain.errors import TunesmithError
from tunesmith.platform.tenants import Caller

from .asked import Asked
from .errors import of_engine
from .exchange import Exchange
from .renaming import Relay, Renaming
from .sending import Message, Sender
from .usage import Usage, usage_in

_BYTES_PER_TOKEN = 4


class Inference:
    """What answers tenants' requests, by whichever way they come; for one event loop."""

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        sender: Sender,
        limits: RequestLimits,
        defaults: Rates,
        ledger: UsageLedger,
        metrics: Metrics,
    ) -> None:
        self.ledger = ledger
        self.pool = sender.pool
        self.metrics = metrics
        self.estimates = TokenEstimates()
        self._catalogue = catalogue
        self._sender = sender
        self._limits = limits
        self._defaults = defaults
        self._limits_of: dict[str, tuple[Caller, CallerLimits | None]] = {}

    async def begin(
        self,
        caller: Caller,
        asked: Asked,
        request_id: str,
        *,
        priority: Priority = Priority.INTERACTIVE,
        limited: bool = True,
    ) -> Generation:
        """Let a request in and have an engine answer it; the answer's head is here then.

        Args:
            limited: whether limits a minute hold for it.

        Raises:
            NotFound: no such model or alias of this tenant.
            RateLimited: a limit of the tenant or the key is reached.
            Unavailable: no engine can answer now.
        """
        assert caller.tenant_id is not None, "the administrator asks no model"
        choice = await self._catalogue.choose(caller.tenant_id, asked.name, asked.user)
        estimate = self.estimates.of(choice.model, asked.body, len(asked.raw))
        limits = self._limits_in_force(caller) if limited else None
        admission = self._limits.admit_now(limits, estimate)
        if admission is None:
            admission = await self._limits.admit(limits, estimate)
        target = choice.target
        try:
            exchange = await self._sender.send(
                Message(
                    tenant_id=caller.tenant_id,
                    target=target,
                    path=asked.path,
                    body=asked.for_engine(target.engine_name),
                    headers=b"x-request-id: %b\r\n" % request_id.encode(),
                    cost=estimate,
                    priority=priority,
                )
            )
        except BaseException:
            admission.settle(0)
            raise
        return Generation(
            self, caller, asked, choice=choice, admission=admission, exchange=exchange
        )

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
        self._usage: Usage | None = None
        self._relay: Relay | None = None
        self._answers = False

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
            Unavailable: the engine failed, or was lost.
        """
        text = await self._exchange.read()
        if self.status != HTTPStatus.OK:
            if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                self._inference.pool.failed(self._exchange.engine)
            raise self._refusal(text)
        self._came()
        self._usage = usage_in(text)
        return self._renaming(text)

    async def stream(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Give a streamed answer to `send` as it comes; raises `AnswerLost` where it is cut."""
        self._answers = True
        relay = self._relay = Relay(self._renaming, drop_usage=not self._asked.wants_usage)
        following = self._exchange.next
        while chunk := await following():
            text = relay.passed_on(chunk)
            if text:
                await send(text)
        text = relay.rest()
        if text:
            await send(text)
        self._came()

    def end(self) -> None:
        """Count what was used, and let go of the engine."""
        relay = self._relay
        usage = self._usage if relay is None else relay.usage
        tokens = (None if usage is None else usage.total) if self._answers else 0
        self._exchange.close(tokens)
        self._admission.settle(tokens)
        if not self._answers:
            return
        if usage is None and relay is not None and relay.events:
            # Cut before its end, where the engine would have said it: at least a token an event.
            usage = Usage(len(self._asked.raw) // _BYTES_PER_TOKEN, relay.events)
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
            inference.metrics.used(choice.target.base, usage.prompt, usage.completion)

    @property
    def _renaming(self) -> Renaming:
        return Renaming.of(self._choice.target, self._asked.name)

    def _refusal(self, text: bytes) -> TunesmithError:
        return of_engine(self.status, text, self._choice.target, self._asked.name)

    def _came(self) -> None:
        """The engine answers for this model."""
        self._answers = True
        target, engine = self._choice.target, self._exchange.engine
        self._inference.pool.succeeded(engine)
        if target.digest is not None:
            self._inference.pool.served(engine, target.base, target.digest)
