"""A gateway, a dispatcher and an evaluator with something to tell, and a Prometheus beside them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from pydantic import SecretStr
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateways import ADMIN_KEY, Gateway, Tenant, wait_for
from tests.observability.names import VLLM
from tests.observability.tools import RULES, tool

from tunesmith.platform import heartbeats
from tunesmith.platform.database import Database
from tunesmith.platform.domain.training import StepMetrics
from tunesmith.platform.jobs import progress
from tunesmith.platform.leadership import Leadership
from tunesmith.platform.settings import Settings
from tunesmith.platform.storage import Storage
from tunesmith.workers.dispatcher.dispatcher import Dispatcher
from tunesmith.workers.dispatcher.metrics import of_cohorts
from tunesmith.workers.evaluator.evaluator import Evaluator
from tunesmith.workers.status_server import ProcessStatus, StatusServer


@dataclass
class _Cohort:
    """A cohort as metrics see it."""

    base_name: str = "pocket"
    ready: bool = True
    jobs: frozenset[str] = frozenset({"ftjob-1"})


@dataclass(frozen=True)
class Platform:
    """The three processes' pages of metrics, and the gateway."""

    gateway: Gateway
    tenant: Tenant
    dispatcher: StatusServer
    evaluator: StatusServer
    engine: FakeEngine

    @property
    def targets(self) -> dict[str, str]:
        """Host and port by job."""
        return {
            "gateway": self.gateway.url.removeprefix("http://"),
            "dispatcher": f"127.0.0.1:{self.dispatcher.port}",
            "evaluator": f"127.0.0.1:{self.evaluator.port}",
            "engine": self.engine.url.removeprefix("http://"),
        }

    def page(self, job: str) -> str:
        """A process's /metrics."""
        return httpx.get(f"http://{self.targets[job]}/metrics").text


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """Processes that have done a little of everything."""
    engine = FakeEngine()
    engine.metrics = _vllm_page()
    engine.start()
    home = tmp_path_factory.mktemp("observed")
    settings = Settings(
        home=home,
        admin_key=SecretStr(ADMIN_KEY),
        engines=[engine.url],
        engine_wait_seconds=0.5,
        metrics_tenants=3,
    )
    gateway = Gateway(settings)
    tenant = gateway.tenant()
    database = Database(settings.database_url)
    with database.transaction() as session:
        for name in ("dispatcher", "evaluator"):
            heartbeats.beat(session, name)
    Leadership(database, "dispatcher", 3600.0).campaign()
    dispatcher = _dispatcher(settings, database)
    evaluator = Evaluator(settings, database, Storage(settings.storage_url))
    evaluator._metrics.ended("evaluations", "done", 3.0)
    first, second = servers = [
        StatusServer("127.0.0.1", 0, ProcessStatus(), registry)
        for registry in (dispatcher.metrics.registry, evaluator.registry)
    ]
    platform = Platform(gateway, tenant, first, second, engine)
    use(platform)
    yield platform
    for server in servers:
        server.close()
    gateway.stop()
    engine.kill()
    database.dispose()


def use(platform: Platform) -> None:
    """Ask, train and fail once more, so that every counter rises."""
    gateway, tenant, engine = platform.gateway, platform.tenant, platform.engine
    wait_for(lambda: gateway.metric("tunesmith_engines_serving", base="pocket") == 1)
    chat = tenant.client.chat.completions
    hello: Any = [{"role": "user", "content": "Hi"}]
    list(chat.create(model="pocket", messages=hello, stream=True))
    chat.create(model="pocket", messages=hello)
    served, digest = gateway.train(tenant)
    engine.adapters.add(digest)
    chat.create(model=served, messages=hello)
    unknown, _ = gateway.train(tenant)
    with pytest.raises(openai.APIStatusError):  # the engine does not find its adapter
        chat.create(model=unknown, messages=hello)
    job = tenant.client.fine_tuning.jobs.create(model="pocket", training_file=tenant.upload())
    lease = gateway.lease(job.id)
    with gateway.database.transaction() as session:
        progress.fail(session, lease, "internal_error", "It broke.")
    tenant.client.fine_tuning.jobs.create(model="pocket", training_file=tenant.upload())
    wait_for(lambda: gateway.metric("tunesmith_usage_ledger_rows") == 0)


def _dispatcher(settings: Settings, database: Database) -> Dispatcher:
    dispatcher = Dispatcher(settings, database, Storage(settings.storage_url))
    metrics = dispatcher.metrics
    metrics.started("pocket", 4.0)
    metrics.stepped(
        "pocket",
        StepMetrics(1, 9, 1.0, 0.5, tokens=70, tokens_per_second=100.0, padding_share=0.2),
    )
    metrics.progressed("pocket")
    metrics.published("pocket", 1.0)
    metrics.cohort_lost("pocket")
    metrics.collect_from(lambda: of_cohorts([_Cohort()], 4))  # type: ignore[list-item]
    return dispatcher


def _vllm_page() -> str:
    lines = []
    for name in sorted(VLLM):
        labels = 'model_name="pocket",engine="0"'
        if name.endswith("_bucket"):
            labels += ',le="+Inf"'
        if "success" in name:
            labels += ',finished_reason="stop"'
        lines.append(f"{name}{{{labels}}} 1.0")
    return "\n".join(lines) + "\n"


class Prometheus:
    """A server of Debian's that scrapes each second, with our rules."""

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        rules = folder / "rules"
        rules.mkdir()
        for path in RULES:
            content = yaml.safe_load(path.read_text())
            for group in content["groups"]:
                group["interval"] = "1s"
            (rules / path.name).write_text(yaml.safe_dump(content))
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules / "*.yaml")],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": [target]}]}
                for job, target in targets.items()
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stderr=self._log,
        )
        self._folder = folder
        self.url = ""
        wait_for(self._listens)
        wait_for(lambda: httpx.get(f"{self.url}/-/ready", timeout=30).status_code == 200, 120)

    def _listens(self) -> bool:
        import psutil

        assert self._process.poll() is None, (self._folder / "log").read_text()
        for connection in psutil.Process(self._process.pid).net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN:
                self.url = f"http://127.0.0.1:{connection.laddr.port}"
                return True
        return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query; fails on one that Prometheus refuses."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expression}, timeout=30)
        assert answer.status_code == 200, f"{expression}\n{answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()
        shutil.rmtree(self._folder / "data", ignore_errors=True)


@pytest.fixture(scope="session")
def prometheus(
    platform: Platform, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A real one, which has seen the platform for some seconds."""
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), platform.targets)
    try:
        wait_for(lambda: bool(server.query("sum(up) == 4")), 120)
        # What is rare is counted once more, so that all counters have risen.
        use(platform)
        wait_for(lambda: bool(server.query("min(count_over_time(up[1m])) >= 6")), 120)
        yield server
    finally:
        server.stop()
