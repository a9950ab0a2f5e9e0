"""How fast one GPU trains and serves a base, and what fits into its memory: a roofline.

Figures of the calibration times what the base and the workload are; every formula is here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tunesmith.platform.domain.errors import InvalidRequest

from .bases import STATE_BYTES, Shape
from .calibration import Calibration
from .workload import Workload

GIB = 2**30
_QUANTIZED = 0.55 / 2
"""NF4 with its constants and the embeddings in bfloat16, over bfloat16 throughout."""
_QUANTIZED_SPEED = 0.7
"""Of the speed in bfloat16: weights are expanded in every product (an assumption)."""
_ACTIVATION_BYTES = 34
"""Per token, layer and hidden unit that a pass keeps (Korthikanti et al. 2022, without scores)."""
_PARALLEL = (1, 2, 4, 8)


@dataclass(frozen=True)
class Cohort:
    """One GPU that trains.

    Attributes:
        slots: jobs that fit beside the base, at most what the setting allows.
        start_seconds: from a running worker to a resident base.
        quantized: whether the base is held in NF4, as it does not fit otherwise.
    """

    slots: int
    start_seconds: float
    quantized: bool
    batch_tokens: float
    pass_tokens: float
    pass_seconds: float
    token_seconds: float

    def tokens_per_second(self, jobs: int) -> float:
        """Of all jobs together, when so many train side by side.

        A pass has a fixed cost, which jobs share; it ends where a job's batch is complete, so one
        job alone fills no more than its batch.
        """
        tokens = min(self.pass_tokens, max(1, jobs) * self.batch_tokens)
        return tokens / (self.pass_seconds + tokens * self.token_seconds)

    def job_speed(self, jobs: int) -> float:
        """Tokens/s of each of so many jobs."""
        return self.tokens_per_second(jobs) / max(1, jobs)


@dataclass(frozen=True)
class Engine:
    """One vLLM server.

    Attributes:
        gpus: of one engine (tensor parallel).
        prompt_seconds: to compute a request's prompt.
        step_seconds, sequence_seconds: of a decoding step, and more for each request in it.
        max_running: requests in a batch, by --max-num-seqs or by the KV cache, whichever is less.
        kv_requests: requests that the KV cache holds.
        max_loras: adapters in one batch; max_cpu_loras: adapters in host memory.
        load_seconds: until an adapter that is not there can be used; stall_seconds: of these, how
            long the batch stands still.
    """

    gpus: int
    prompt_seconds: float
    step_seconds: float
    sequence_seconds: float
    max_running: int
    kv_requests: int
    max_loras: int
    max_cpu_loras: int
    load_seconds: float
    stall_seconds: float

    def step(self, running: int) -> float:
        """Seconds in which each of so many requests gets a token."""
        return self.step_seconds + running * self.sequence_seconds

    def token_speed(self, running: int) -> float:
        """Tokens/s of each of so many requests."""
        return 1 / self.step(running)


def cohort_on(
    hardware: str, shape: Shape, workload: Workload, calibration: Calibration, slots: int
) -> Cohort:
    """A trainer of this base on one GPU.

    Raises:
        InvalidRequest: the base does not fit, even in NF4.
    """
    own = f"hardware.{hardware}"
    memory = calibration[f"{own}.memory_gib"] * GIB * 0.9
    tokens = calibration.first(f"{own}.tokens_per_pass", "training.tokens_per_pass")
    layer = calibration.first(f"{own}.layer_seconds", "training.layer_seconds")
    state = STATE_BYTES * shape.lora_parameters(workload.rank)
    # Where a pass would not fit, the trainer recomputes activations: one layer's are held.
    activations = tokens * shape.hidden * _ACTIVATION_BYTES
    weights, quantized = float(shape.weights_bytes), False
    if weights + state + activations > memory:
        weights, quantized = weights * _QUANTIZED, True
    free = memory - weights - activations
    if free < state:
        raise InvalidRequest(
            f"A {shape.name} base does not fit on one {hardware} to train, even in 4 bit: it needs"
            f" {(weights + activations + state) / GIB:.0f} of {memory / GIB:.0f} GiB, and a cohort"
            f" has one GPU. Try {_larger(hardware, calibration) or 'a smaller base'}.",
            param="gpu",
        )
    recomputes = state + activations * shape.layers > memory - weights
    flops = shape.training_flops(workload.rank, workload.learned_share)
    peak = calibration[f"{own}.teraflops"] * 1e12
    speed = calibration[f"{own}.training_efficiency"]
    speed *= _QUANTIZED_SPEED if quantized else 1.0
    speed *= 2 / 3 if recomputes else 1.0  # a third forward pass beside the two halves
    return Cohort(
        slots=max(1, min(slots, int(free // state))),
        start_seconds=calibration["training.start_seconds"]
        + shape.weights_bytes / calibration["training.read_bytes_per_second"],
        quantized=quantized,
        batch_tokens=workload.batch * workload.example_tokens,
        pass_tokens=tokens,
        pass_seconds=shape.layers * layer,
        token_seconds=flops / (peak * speed),
    )


def engine_on(hardware: str, shape: Shape, workload: Workload, calibration: Calibration) -> Engine:
    """An engine of this base, on as few GPUs as hold it with room for some requests.

    Raises:
        InvalidRequest: eight GPUs do not hold it.
    """
    memory = calibration[f"hardware.{hardware}.memory_gib"] * GIB
    memory *= calibration["engine.memory_share"]
    adapter = shape.adapter_bytes(workload.rank)
    request = (workload.prompt_tokens + workload.completion_tokens) * shape.kv_bytes
    in_batch = adapter / 2  # in memory, vLLM has them in the base's type
    for gpus in _PARALLEL:
        free = memory * gpus - shape.weights_bytes - GIB * gpus  # activations, CUDA graphs
        if free > 8 * request + 4 * in_batch:
            break
    else:
        raise InvalidRequest(
            f"A {shape.name} base does not fit into {_PARALLEL[-1]} GPUs {hardware} to be served:"
            f" its weights alone are {shape.weights_bytes / GIB:.0f} GiB.",
            param="gpu",
        )
    # As many adapters as requests where memory is scarce: each may be for another model.
    models = math.ceil(workload.models / workload.bases)
    max_loras = int(max(4, min(64, models, free // (in_batch + request))))
    places = min(calibration["engine.host_bytes"] // in_batch, 1.2 * models + 16)
    kv_requests = int((free - max_loras * in_batch) // request)
    factor = calibration["engine.lora_factor"]
    bandwidth = calibration[f"hardware.{hardware}.bandwidth_gb"] * 1e9 * gpus
    bandwidth *= calibration["engine.bandwidth_efficiency"]
    flops = calibration[f"hardware.{hardware}.teraflops"] * 1e12 * gpus
    flops *= calibration["engine.compute_efficiency"]
    per_token = 2.0 * (shape.linear_weights + shape.embedding_weights) / flops
    prompt = workload.prompt_tokens * 2.0 * shape.linear_weights / flops
    context = workload.prompt_tokens + workload.completion_tokens / 2
    stall = adapter / 2 / calibration["engine.copy_bytes_per_second"]
    return Engine(
        gpus=gpus,
        prompt_seconds=factor * prompt,
        step_seconds=factor
        * (calibration["engine.step_seconds"] + shape.weights_bytes / bandwidth),
        sequence_seconds=factor * (context * shape.kv_bytes / bandwidth + per_token),
        max_running=max(1, min(int(calibration["engine.max_running"]), kv_requests)),
        kv_requests=kv_requests,
        max_loras=max_loras,
        max_cpu_loras=int(max(max_loras, places)),
        load_seconds=calibration["engine.load_seconds"]
        + adapter / calibration["engine.fetch_bytes_per_second"]
        + stall,
        stall_seconds=stall,
    )


def _larger(hardware: str, calibration: Calibration) -> str:
    memory = {
        figure.name.split(".")[1]: figure.value
        for figure in calibration.figures
        if figure.name.endswith(".memory_gib")
    }
    return " or ".join(
        name for name, size in memory.items() if name != "cpu" and size > memory[hardware]
    )
