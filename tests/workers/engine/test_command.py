"""vLLM's command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunesmith.platform.database.models import BaseModel
from tunesmith.platform.settings import Settings
from tunesmith.workers.engine.command import engine_command, engine_environment, served_rank

BASE = BaseModel(name="base", source="/models/base", context_length=1024)


def settings(home: Path, **values: object) -> Settings:
    return Settings(home=home, engine_port=7001, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(("wanted", "served"), [(1, 8), (8, 8), (9, 16), (32, 32), (500, 512)])
def test_a_rank_is_served_by_the_next_that_vllm_has(wanted: int, served: int) -> None:
    assert served_rank(wanted) == served


def test_a_rank_that_vllm_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="up to 512"):
        served_rank(513)


def test_the_engine_listens_on_loopback_alone(tmp_path: Path) -> None:
    command = engine_command(settings(tmp_path, host="0.0.0.0"), BASE, on_gpu=False)
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--served-model-name") + 1] == "base"


def test_given_arguments_come_last_and_so_win(tmp_path: Path) -> None:
    chosen = settings(tmp_path, engine_args=["--max-loras", "9"])
    assert engine_command(chosen, BASE, on_gpu=True)[-2:] == ["--max-loras", "9"]


def test_host_memory_holds_at_least_one_batch_of_adapters(tmp_path: Path) -> None:
    chosen = settings(tmp_path, engine_max_loras=16, engine_max_cpu_loras=2)
    command = engine_command(chosen, BASE, on_gpu=True)
    assert command[command.index("--max-cpu-loras") + 1] == "16"


def test_adapters_may_be_pulled_and_only_by_our_plugin(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    environment = engine_environment(chosen, {"PATH": "/bin"}, on_gpu=False)
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"
    assert environment["VLLM_PLUGINS"] == "tunesmith_adapters"
    assert environment["TUNESMITH_STORAGE_URL"] == chosen.storage_url
    assert environment["PATH"] == "/bin"


def test_a_persons_own_choice_of_threads_is_kept(tmp_path: Path) -> None:
    given = {"OMP_NUM_THREADS": "7", "VLLM_CPU_KVCACHE_SPACE": "4"}
    environment = engine_environment(settings(tmp_path), given, on_gpu=False)
    assert given.items() <= environment.items()


def test_an_engine_sends_spans_where_the_platform_does_and_begins_no_trace(tmp_path: Path) -> None:
    traced = settings(tmp_path, otlp_endpoint="http://collector:4318/")
    command = engine_command(traced, BASE, on_gpu=False)
    place = command.index("--otlp-traces-endpoint")
    assert command[place + 1] == "http://collector:4318/v1/traces"
    environment = engine_environment(traced, {}, on_gpu=False)
    assert environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "http/protobuf"
    assert environment["OTEL_TRACES_SAMPLER"] == "parentbased_always_off"
    off = settings(tmp_path)
    assert "--otlp-traces-endpoint" not in engine_command(off, BASE, on_gpu=False)
    assert not [name for name in engine_environment(off, {}, on_gpu=False) if "OTEL" in name]
