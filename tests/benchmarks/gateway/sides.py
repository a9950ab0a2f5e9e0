"""What is compared: the engine alone, nginx and LiteLLM as proxies before it, and the gateway."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from tests.benchmarks.machine import ROOT

from tunesmith.platform import bases
from tunesmith.platform.database import Database

from .processes import OTHER_CORE, SERVER_CORE, free_port, running, tool

MODEL = "pocket"
ADMIN_KEY = "sk-admin-of-the-benchmark"
LITELLM_LOCK = Path(__file__).with_name("litellm-lock.txt")
MANY = 1_000_000_000
"""A limit that is counted and never reached."""

ANSWER = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion",
    "created": 1764000000,
    "model": MODEL,
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The parcel was handed over yesterday."},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 42, "total_tokens": 50, "completion_tokens": 8},
}
BODY = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "You are a helpful assistant of a small web shop."},
        {"role": "user", "content": "Where is my parcel? It should have been here on Monday."},
    ],
    "temperature": 0,
    "max_tokens": 64,
}


@dataclass(frozen=True)
class Side:
    """A server that answers chat completions: where, with which key, and its process."""

    url: str
    key: str
    process: psutil.Process


@contextmanager
def stub_engine(folder: Path) -> Iterator[Side]:
    """Nginx with one fixed answer: an engine that is no bottleneck."""
    port = free_port()
    card = {"id": MODEL, "object": "model", "max_model_len": 4096, "parent": None}
    models = json.dumps({"object": "list", "data": [card]})
    locations = f"""
      location = /health {{ return 200 ''; }}
      location = /metrics {{ return 200 ''; }}
      location = /v1/models {{ return 200 '{models}'; }}
      location / {{ return 200 '{json.dumps(ANSWER, separators=(",", ":"))}'; }}"""
    with _nginx(folder, "engine", port, "", locations, on=OTHER_CORE) as process:
        yield Side(f"http://127.0.0.1:{port}", "none", process)


@contextmanager
def nginx_proxy(folder: Path, engine: str) -> Iterator[Side]:
    """Nginx passing everything on, with connections kept: the floor."""
    port = free_port()
    upstream = f"""upstream engine {{ server {engine.removeprefix("http://")};
      keepalive 64; keepalive_requests 1000000000; }}"""
    locations = """
      location / { proxy_pass http://engine; proxy_http_version 1.1;
        proxy_set_header Connection ""; }"""
    with _nginx(folder, "proxy", port, upstream, locations, on=SERVER_CORE) as process:
        yield Side(f"http://127.0.0.1:{port}", "none", process)


@contextmanager
def gateway(folder: Path, *engines: str, model: str = MODEL) -> Iterator[Side]:
    """The gateway, one worker, with keys, limits a minute, usage and its request log on."""
    port = free_port()
    home = folder / "home"
    url = f"http://127.0.0.1:{port}"
    environment = {
        "TUNESMITH_HOME": str(home),
        "TUNESMITH_PORT": str(port),
        "TUNESMITH_ADMIN_KEY": ADMIN_KEY,
        "TUNESMITH_ENGINES": ",".join(engines),
        "TUNESMITH_LOG_FORMAT": "json",
    }
    home.mkdir(parents=True, exist_ok=True)
    with running(
        [sys.executable, "-m", "tunesmith.gateway"],
        log=folder / "gateway.log",
        on=SERVER_CORE,
        environment=environment,
        ready=f"{url}/healthz",
    ) as process:
        with Database(f"sqlite:///{home / 'tunesmith.db'}").transaction() as session:
            bases.register_base(
                session,
                name=model,
                source="-",
                digest="0" * 64,
                context_length=4096,
                max_rank=64,
                config={},
            )
        admin = httpx.Client(base_url=url, headers={"authorization": f"Bearer {ADMIN_KEY}"})
        tenant = admin.post("/v1/tenants", json={"name": "acme"}).raise_for_status().json()
        limits = {"requests_per_minute": MANY, "tokens_per_minute": MANY}
        admin.patch(f"/v1/tenants/{tenant['id']}", json={"limits": limits}).raise_for_status()
        yield Side(url, tenant["key"], process)


@contextmanager
def litellm(folder: Path, engine: str) -> Iterator[Side]:
    """LiteLLM's proxy, one worker, with a master key, in an environment of its own."""
    python = _litellm_environment()
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(
        json.dumps(
            {
                "model_list": [
                    {
                        "model_name": MODEL,
                        "litellm_params": {
                            "model": f"hosted_vllm/{MODEL}",
                            "api_base": f"{engine}/v1",
                            "api_key": "none",
                        },
                    }
                ],
                "general_settings": {"master_key": "sk-master"},
                "litellm_settings": {"telemetry": False},
            }
        )
    )
    with running(
        [python.parent / "litellm", "--config", config, "--port", str(port), "--host", "127.0.0.1"],
        log=folder / "litellm.log",
        on=SERVER_CORE,
        environment={"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        ready=f"http://127.0.0.1:{port}/health/liveliness",
    ) as process:
        yield Side(f"http://127.0.0.1:{port}", "sk-master", process)


def _litellm_environment() -> Path:
    folder = ROOT / "build" / "bench" / "litellm-env"
    stamp = folder / ".lock"
    python = folder / "bin" / "python"
    lock = LITELLM_LOCK.read_text()
    if stamp.exists() and stamp.read_text() == lock:
        return python
    print("bench: installing LiteLLM into build/bench/litellm-env (a minute, once)", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    install: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "-r",
        LITELLM_LOCK,
    ]
    subprocess.run(install, check=True)
    stamp.write_text(lock)
    return python


@contextmanager
def _nginx(
    folder: Path, name: str, port: int, upstream: str, locations: str, *, on: int
) -> Iterator[psutil.Process]:
    work = folder / name
    work.mkdir()
    config = work / "nginx.conf"
    config.write_text(
        f"""
  worker_processes 1; daemon off; pid {work}/pid; error_log {work}/error.log;
  events {{ worker_connections 4096; }}
  http {{ access_log off; keepalive_requests 1000000000; default_type application/json;
    client_body_buffer_size 64k; client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/f; uwsgi_temp_path {work}/u;
    scgi_temp_path {work}/s;
    {upstream}
    server {{ listen 127.0.0.1:{port};{locations}
    }}
  }}"""
    )
    with running(
        [tool("nginx"), "-c", config],
        log=work / "out.log",
        on=on,
        ready=f"http://127.0.0.1:{port}/health",
    ) as process:
        yield process
