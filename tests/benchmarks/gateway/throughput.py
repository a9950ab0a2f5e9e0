"""How many requests one worker takes, and what a request costs it."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tests.benchmarks.figures import Figure, Section, alternate, ratios

from .load import Run, flat_out
from .sides import gateway, litellm, nginx_proxy, stub_engine

CONNECTIONS = 32
OVER_LITELLM, OF_NGINX = 20.0, 0.1


def measure(folder: Path, *, repeats: int, seconds: int) -> Section:
    """Requests a second and CPU time of gateway, LiteLLM and nginx before the same stub."""
    with ExitStack() as parts:
        engine = parts.enter_context(stub_engine(folder))
        sides = {
            "gateway": parts.enter_context(gateway(folder, engine.url)),
            "LiteLLM": parts.enter_context(litellm(folder, engine.url)),
            "nginx": parts.enter_context(nginx_proxy(folder, engine.url)),
            "engine alone": engine,
        }
        load = partial(flat_out, folder=folder, connections=CONNECTIONS)
        for side in sides.values():
            load(side, seconds=2)  # warm
        runs = alternate(
            repeats,
            {name: partial(_run, load, side, seconds) for name, side in sides.items()},
        )
    rate = {name: [run.requests_per_second for run in found] for name, found in runs.items()}
    cpu = {name: [run.cpu_seconds_per_thousand for run in found] for name, found in runs.items()}
    figures = [
        Figure.of(
            "requests/s, gateway over LiteLLM",
            ratios(rate["gateway"], rate["LiteLLM"]),
            "x",
            target=OVER_LITELLM,
        ),
        Figure.of(
            "requests/s, gateway over nginx",
            ratios(rate["gateway"], rate["nginx"]),
            "x",
            target=OF_NGINX,
        ),
        Figure.of(
            "CPU time of a request, LiteLLM over gateway",
            ratios(cpu["LiteLLM"], cpu["gateway"]),
            "x",
        ),
    ]
    for name in runs:
        figures.append(Figure.of(f"{name}: requests/s", rate[name], "/s"))
        figures.append(Figure.of(f"{name}: CPU seconds per 1,000 requests", cpu[name], "s"))
    return Section(
        1,
        "non-streaming requests on one worker",
        figures,
        held_equal={"connections": CONNECTIONS, "seconds a run": seconds, "model": "a base"},
        method=[
            "Each server alone on the first core; stub engine (nginx, one fixed answer) and wrk on"
            " the last.",
            "Gateway: key, limits of requests and tokens a minute, usage and a line of log for each"
            " request. LiteLLM: a master key, no database.",
        ],
        runs={name: [run.as_json() for run in found] for name, found in runs.items()},
    )


def _run(load: partial[Run], side: object, seconds: int, _: int) -> Run:
    return load(side, seconds=seconds)
