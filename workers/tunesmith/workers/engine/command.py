"""The command line and environment of vLLM's server for one base."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from tunesmith.platform.database.models import BaseModel
from tunesmith.platform.settings import Settings

_PLUGIN = "tunesmith_adapters"
_CPU_KV_CACHE_GIB = 1
# vLLM allocates adapters for one of these ranks.
# https://docs.vllm.ai/en/stable/api/vllm/config/lora/
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def served_rank(wanted: int) -> int:
    """The smallest rank of vLLM's that serves adapters of rank `wanted`.

    Raises:
        ValueError: vLLM serves no rank as high.
    """
    for rank in _RANKS:
        if wanted <= rank:
            return rank
    raise ValueError(f"vLLM serves LoRA ranks up to {_RANKS[-1]}, not {wanted}.")


def engine_command(settings: Settings, base: BaseModel, *, on_gpu: bool) -> list[str]:
    """VLLM's OpenAI server for `base`, listening on loopback: only the gateway may reach it."""
    return [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server",
        "--model", base.source,
        "--host", "127.0.0.1",
        "--port", str(settings.engine_port),
        *engine_flags(settings, base.name, base.context_length, on_gpu=on_gpu),
    ]  # fmt: skip


def engine_flags(
    settings: Settings, base_name: str, context_length: int, *, on_gpu: bool
) -> list[str]:
    """Arguments of vLLM's server wherever it runs: after the model, and where it listens.

    The chart renders the same for `vllm serve MODEL`, and a test of it compares.
    """
    flags = [
        "--served-model-name", base_name,
        "--max-model-len", str(context_length),
        "--enable-lora",
        "--max-loras", str(settings.engine_max_loras),
        "--max-cpu-loras", str(max(settings.engine_max_cpu_loras, settings.engine_max_loras)),
        "--max-lora-rank", str(served_rank(settings.engine_max_lora_rank)),
        # As training renders; "auto" looks at the template and may choose another way.
        "--chat-template-content-format", "string",
        "--enable-prompt-tokens-details",
        "--disable-uvicorn-access-log",
    ]  # fmt: skip
    if settings.otlp_endpoint:
        flags += ["--otlp-traces-endpoint", f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"]
    if on_gpu:
        flags += ["--gpu-memory-utilization", str(settings.engine_gpu_memory)]
    else:
        flags += ["--dtype", "float32", "--enforce-eager"]
    return flags + settings.engine_args


def engine_environment(
    settings: Settings, environment: Mapping[str, str], *, on_gpu: bool
) -> dict[str, str]:
    """The server's environment, on top of `environment`."""
    result = dict(environment)
    result |= {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_PLUGINS": _PLUGIN,
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TUNESMITH_STORAGE_URL": settings.storage_url,
        "TUNESMITH_HOME": str(settings.home),
    }
    if settings.otlp_endpoint:
        result |= {
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
            # The gateway says which requests are traced; there are no traces beside those.
            "OTEL_TRACES_SAMPLER": "parentbased_always_off",
            "OTEL_SERVICE_NAME": "tunesmith-engine",
        }
    if not on_gpu:
        result.setdefault("VLLM_CPU_KVCACHE_SPACE", str(_CPU_KV_CACHE_GIB))
        # Pinning threads to cores would starve the trainer beside it.
        result.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        result.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    return result
