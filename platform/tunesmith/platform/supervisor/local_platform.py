"""The whole platform on one machine: which parts it has, and what is done before they start.

Parts are other packages' processes, known by their module's name and talked to over HTTP.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import structlog

from tunesmith.platform.domain.errors import Unavailable
from tunesmith.platform.settings import Settings

from .errors import CannotStart, PartFailed
from .home import Home, read_json, write_json
from .launch import last_line
from .part import Part, PartState, PartStatus, accepts, answers
from .ports import LOOPBACK, check_port, free_port
from .running import announce, withdraw
from .supervisor import OnChange, Supervisor, kill_leftovers

log = structlog.get_logger(__name__)

BASE, RAY, ENGINE, DISPATCHER, GATEWAY = "base", "ray", "engine", "dispatcher", "gateway"
EVALUATOR = "evaluator"
_ALIVE_WITHIN = 30.0  # seconds: a machine that has too much to do is slow, not dead
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def local_url(host: str, port: int, *, tls: bool = False) -> str:
    """Where this machine reaches a server that listens on `host`."""
    scheme = "https" if tls else "http"
    host = LOOPBACK if host in ("", "0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def gateway_url(settings: Settings) -> str:
    """Where this machine reaches its gateway."""
    return local_url(settings.host, settings.port, tls=settings.tls_certificate_file is not None)


def with_ports(settings: Settings) -> tuple[Settings, bool, bool]:
    """The settings with the ports of the parts that run here.

    Returns:
        the settings; whether Ray is started here; whether an engine is.
    """
    own_ray, own_engine = not settings.ray_address, not settings.engines
    changes: dict[str, object] = {}
    if own_ray:
        changes["ray_address"] = f"{LOOPBACK}:{free_port()}"
        if settings.prewarm is None:
            changes["prewarm"] = True
    if own_engine:
        port = settings.engine_port or free_port()
        changes |= {"engine_port": port, "engines": [f"http://{LOOPBACK}:{port}"]}
    if own_ray and own_engine and settings.engine_gpu_memory < 1:  # both on this machine's GPU
        left = 1 - settings.engine_gpu_memory
        changes["trainer_gpu_memory"] = min(settings.trainer_gpu_memory, left)
    return settings.model_copy(update=changes), own_ray, own_engine


def parts(settings: Settings) -> list[Part]:
    """The platform's processes.

    All start as soon as what they need is there: an engine and Ray take the longest.
    """
    settings, own_ray, own_engine = with_ports(settings)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TUNESMITH_")}
    environment |= settings.as_environment()
    judge_key = environment["TUNESMITH_JUDGE_KEY"]
    environment["TUNESMITH_JUDGE_KEY"] = ""
    environment.pop("TUNESMITH_ADMIN_KEY", None)  # its hash is in the database by now

    def module(name: str) -> tuple[str, ...]:
        return (sys.executable, "-m", name)

    chosen = [Part(BASE, module("tunesmith.workers.bases"), environment, once=True)]
    ray_environment = environment
    if own_ray:
        # Ray listens on all addresses whatever it is told, and runs the code that it is sent: only
        # whoever has this run's token is listened to.
        # https://docs.ray.io/en/latest/ray-security/token-auth.html
        ray_environment = environment | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
        }
        host, _, port = str(settings.ray_address).rpartition(":")
        chosen.append(
            Part(
                RAY,
                module("tunesmith.workers.ray_head"),
                ray_environment,
                ready=accepts(host, int(port)),
                stops_late=True,
            )
        )
    if own_engine:
        health = f"{settings.engines[0]}/health"
        chosen.append(
            Part(
                ENGINE,
                module("tunesmith.workers.engine"),
                environment,
                ready=answers(health),
                alive=answers(health, within=_ALIVE_WITHIN),
                needs=(BASE,),
                stops_late=True,
            )
        )
    chosen.append(
        Part(
            DISPATCHER,
            module("tunesmith.workers.dispatcher"),
            ray_environment,
            needs=(BASE, RAY) if own_ray else (BASE,),
        )
    )
    chosen.append(
        Part(
            EVALUATOR,
            module("tunesmith.workers.evaluator"),
            environment | {"TUNESMITH_JUDGE_KEY": judge_key},  # nobody else asks the judge
            needs=(BASE,),
        )
    )
    gateway = gateway_url(settings)
    chosen.append(
        Part(
            GATEWAY,
            module("tunesmith.gateway"),
            environment,
            # Alive comes before.
            ready=answers(f"{gateway}/readyz?part=database", of_any_name=True),
            alive=answers(f"{gateway}/healthz", within=_ALIVE_WITHIN, of_any_name=True),
            needs=(BASE,),
        )
    )
    return chosen


class LocalPlatform:
    """One platform on this machine, from its preparation to its end."""

    def __init__(self, settings: Settings, *, on_change: OnChange | None = None) -> None:
        self.home = Home(settings.home)
        self.settings = settings
        self.url = gateway_url(settings)
        self.new_admin_key: str | None = None
        """Set where this start made the key, or was given another one: shown once."""
        self.on_change = on_change
        """Told of every change of a part."""
        self.dispatcher_metrics_url: str | None = None
        """Where Prometheus finds the dispatcher's figures, while it runs."""
        self.evaluator_metrics_url: str | None = None
        """The same of the evaluator."""
        self._supervisor: Supervisor | None = None

    @property
    def supervisor(self) -> Supervisor:
        """The running supervisor."""
        if self._supervisor is None:
            raise RuntimeError("The platform is not running.")
        return self._supervisor

    @property
    def base_name(self) -> str:
        """The base's name in the API, once the base is found."""
        found = last_line(self.supervisor.log_file(BASE))
        try:
            return str(json.loads(found)["name"])
        except (ValueError, KeyError, TypeError):
            return self.settings.base_name or self.settings.base

    @contextmanager
    def prepared(self) -> Iterator[None]:
        """Own the home, clean up after an earlier run, and bring the database up to date.

        Raises:
            CannotStart: nothing was started; the message says why.
        """
        self.home.prepare()
        with self.home.locked():
            kill_leftovers(read_json(self.home.record_file))
            self.home.platform_file.unlink(missing_ok=True)
            check_port(self.settings.host, self.settings.port)
            self._prepare_database()
            try:
                yield
            finally:
                self.home.platform_file.unlink(missing_ok=True)
                withdraw()

    def _prepare_database(self) -> None:
        # Not needed by a command that only reads where the platform is.
        from tunesmith.platform.database import Database, migrate
        from tunesmith.platform.tenants import ensure_admin_key

        given = self.settings.admin_key
        key = given.get_secret_value() if given else None
        database = Database(self.settings.database_url)
        try:
            database.ping()
            migrate(database)
            with database.transaction() as session:
                self.new_admin_key = ensure_admin_key(
                    session, key, overlap_seconds=self.settings.admin_key_overlap_seconds
                )
        except Unavailable as error:
            raise CannotStart(error.message) from error
        finally:
            database.dispose()
        if (key or self.new_admin_key) and self.home.admin_key != (key or self.new_admin_key):
            self.home.keep_admin_key(str(key or self.new_admin_key))

    async def run(self, body: Callable[[], Awaitable[None]]) -> bool:
        """Run the parts beside `body`, until it ends or a signal says stop.

        A second signal kills at once what is still stopping.

        Returns:
            Whether a signal ended it.

        Raises:
            PartFailed: a part that the others need has failed for good.
        """
        settings = self.settings
        ports = {
            name: getattr(settings, name) or free_port()
            for name in ("dispatcher_metrics_port", "evaluator_metrics_port")
        }
        settings = settings.model_copy(update=ports)
        self.dispatcher_metrics_url, self.evaluator_metrics_url = (
            f"{local_url(settings.metrics_host, port)}/metrics" for port in ports.values()
        )
        supervisor = Supervisor(
            parts(settings), self.home, run_id=uuid.uuid4().hex, on_change=self._changed
        )
        self._supervisor = supervisor
        stop, interrupted = asyncio.Event(), False

        def on_signal() -> None:
            nonlocal interrupted
            if interrupted:
                supervisor.hurry()
            interrupted = True
            stop.set()

        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)
        supervising = asyncio.create_task(supervisor.run(stop))
        working = asyncio.ensure_future(body())
        try:
            await asyncio.wait({supervising, working}, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            working_ended = working.done()
            if not working_ended:
                working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            try:
                await supervising
            except OSError as error:
                raise CannotStart(self.home.explain(error)) from error
            if working_ended and not interrupted:
                working.result()
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
        return interrupted

    async def wait_until_ready(self, *, give_up_after_deaths: int | None = None) -> None:
        """Return when every part is ready and the gateway says that all is.

        Args:
            give_up_after_deaths: raise when a part dies so often before it was ever ready.

        Raises:
            PartFailed: see above, or a part that runs once has failed.
        """
        everything = asyncio.ensure_future(self._everything_ready())
        try:
            while not everything.done():
                await asyncio.wait({everything}, timeout=0.5)
                for name, status in self.supervisor.status.items():
                    if give_up_after_deaths and status.deaths_in_a_row >= give_up_after_deaths:
                        raise PartFailed(
                            f"The {name} does not start: {status.note}",
                            log=self.supervisor.log_file(name),
                        )
            everything.result()
        finally:
            everything.cancel()

    async def _everything_ready(self) -> None:
        await self.supervisor.wait_until_ready()
        ready = answers(f"{self.url}/readyz", of_any_name=True)
        while not await ready():  # noqa: ASYNC110 - it is another process that knows
            await asyncio.sleep(0.25)

    def _tell_where(self) -> None:
        """Write down where this machine's CLI finds the platform."""
        content = {
            "url": self.url,
            "pid": os.getpid(),
            "base": self.base_name,
            "dispatcher_metrics": self.dispatcher_metrics_url,
            "evaluator_metrics": self.evaluator_metrics_url,
            "started_at": int(time.time()),
        }
        try:
            write_json(self.home.platform_file, content)
        except OSError as error:  # a disk that is full for now must not end the platform
            log.error("platform.json cannot be written", error=str(error))

    def _changed(self, name: str, status: PartStatus) -> None:
        if name == GATEWAY and status.state == PartState.READY:
            self._tell_where()
            announce(self.home)
        if self.on_change is not None:
            self.on_change(name, status)
