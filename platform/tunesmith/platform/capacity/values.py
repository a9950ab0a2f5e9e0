"""A plan as values of the Helm chart."""

from __future__ import annotations

import math

from .bases import WEIGHT_BYTES
from .plan import Plan

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""That vLLM has for --max-lora-rank."""
GIB = 2**30


def chart_values(plan: Plan, gpu_memory_gib: float) -> str:
    """Values for charts/tunesmith, to be merged into one's own (YAML)."""
    engine, training = plan.engine, plan.training
    rank = next((rank for rank in _RANKS if rank >= plan.workload.rank), _RANKS[-1])
    adapters = engine.max_cpu_loras * plan.shape.lora_parameters(plan.workload.rank)
    host = math.ceil(adapters * WEIGHT_BYTES / GIB) + 24
    several = f" # for each of {plan.workload.bases} bases" if plan.workload.bases > 1 else ""
    memory = math.floor(gpu_memory_gib)
    quantized = "\n  base_quantization: 4bit" if plan.cohort.quantized else ""
    return f"""\
# tunesmith plan: tenants: {plan.workload.tenants}, jobs a day: {plan.workload.jobs_per_day:g}, \
requests/s: {plan.workload.requests_per_second:g}, {plan.shape.name} on {plan.hardware}
gateway:
  replicas: {plan.gateways}
ray:
  workerGroups:
    {plan.hardware}:
      minReplicas: {training.least}
      maxReplicas: {training.most}
      gpus: 1
      gpuMemoryGiB: {memory}
bases:
  my-base:{several} # its source and name as in the chart's README
    engine:
      replicas: {plan.serving.engines}
      gpus: {engine.gpus}
      gpuMemoryGiB: {memory}
      maxLoras: {engine.max_loras}
      maxCpuLoras: {engine.max_cpu_loras}
      maxLoraRank: {rank}
      resources:
        requests: {{memory: {host}Gi}}
        limits: {{memory: {host + 16}Gi}}
settings:
  slots_per_cohort: {plan.cohort.slots}{quantized}
"""
