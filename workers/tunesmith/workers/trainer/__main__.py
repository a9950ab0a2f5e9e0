"""Train one slot by itself: `python -m tunesmith.workers.trainer --base DIR --data FILE ...`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from .base import Base, load_base
from .cohort import Cohort
from .errors import TrainerError
from .recipe import DataSize, resolve
from .render import Renderer, Rendering
from .report import SlotFailed, StepReport
from .spec import SlotSpec

_SLOT = "solo"


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, write; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _train(options)
    except (TrainerError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tunesmith.workers.trainer",
        description="Fine-tune a base on chat examples with LoRA, one slot by itself.",
    )
    parser.add_argument("--base", type=Path, required=True, help="model directory")
    parser.add_argument("--data", type=Path, required=True, help="chat examples, JSONL")
    parser.add_argument("--output", type=Path, required=True, help="directory of the adapter")
    parser.add_argument("--validation", type=Path, help="held-out chat examples, JSONL")
    parser.add_argument("--epochs", type=_auto(int), default="auto", metavar="N|auto")
    parser.add_argument("--batch-size", type=_auto(int), default="auto", metavar="N|auto")
    parser.add_argument(
        "--learning-rate-multiplier", type=_auto(float), default="auto", metavar="X|auto"
    )
    parser.add_argument("--max-rank", type=int, default=32, help="largest rank of the engines")
    parser.add_argument("--dropout", type=float, default=0.0, help="on LoRA's input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, help="CPU threads; fix them for equal results")
    parser.add_argument(
        "--state", type=Path, help="file to keep the state in; a run found there is continued"
    )
    parser.add_argument("--stop-after", type=int, metavar="STEPS", help="stop at this step")
    return parser


def _auto(kind: type[int] | type[float]) -> Any:
    def parse(text: str) -> int | float | str:
        return text if text == "auto" else kind(text)

    parse.__name__ = kind.__name__  # argparse names it in its error
    return parse


def _train(options: argparse.Namespace) -> int:
    base = load_base(options.base, options.device, threads=options.threads)
    renderer = Renderer.of(base)
    training = _render(renderer, options.data)
    validation = _render(renderer, options.validation) if options.validation else Rendering()
    recipe = resolve(
        DataSize(len(training.rows), training.tokens, training.learned_tokens),
        base.shape,
        n_epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate_multiplier=options.learning_rate_multiplier,
        lora_dropout=options.dropout,
        max_rank=options.max_rank,
        validated=bool(validation.rows),
    )
    print(recipe.explanation, file=sys.stderr)
    spec = SlotSpec.of(recipe.spec, name=_SLOT, seed=options.seed)
    cohort = Cohort(base)
    state = None
    if options.state and options.state.is_file():
        state = options.state.read_bytes()
    cohort.join(spec, training.rows, validation.rows, state=state)
    started = time.perf_counter()
    reports: list[StepReport] = []
    while not cohort.idle:
        if options.stop_after and cohort.progress(_SLOT).step >= options.stop_after:
            break
        for report in cohort.step():
            if isinstance(report, SlotFailed):
                print(f"\nerror: {report.reason}", file=sys.stderr)
                return 1
            reports.append(report)
            _show(report)
    seconds = time.perf_counter() - started
    print(file=sys.stderr)
    if options.state:
        _replace(options.state, cohort.state(_SLOT).to_bytes())
    _summarise(base, cohort, reports, seconds, options.output)
    return 0


def _render(renderer: Renderer, path: Path) -> Rendering:
    examples = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                examples.append(json.loads(line))
            except ValueError as error:
                raise TrainerError(f"{path}, line {number}: not JSON: {error}") from error
    rendering = renderer.render_all(examples)
    if rendering.truncated:
        print(f"{path}: {len(rendering.truncated)} examples were cut", file=sys.stderr)
    return rendering


def _show(report: StepReport) -> None:
    line = (
        f"step {report.step}/{report.total_steps}  epoch {report.epoch}  "
        f"loss {report.loss:.4f}  accuracy {report.mean_token_accuracy:.3f}  "
        f"rate {report.learning_rate:.2e}"
    )
    if report.validation is not None:
        line += (
            f"  validation loss {report.validation.loss:.4f}"
            f"  accuracy {report.validation.mean_token_accuracy:.3f}"
        )
    if sys.stderr.isatty():
        end = "\n" if report.validation is not None else ""
        print(f"\r\x1b[2K{line}", end=end, file=sys.stderr, flush=True)
    elif report.epoch_ended:
        print(line, file=sys.stderr, flush=True)


def _summarise(
    base: Base, cohort: Cohort, reports: list[StepReport], seconds: float, output: Path
) -> None:
    """Write the adapter, and what the run was to standard output as one JSON object."""
    adapter = cohort.adapter(_SLOT, best=True)
    adapter.write(output)
    progress = cohort.progress(_SLOT)
    tokens = sum(report.tokens for report in reports)
    padded = sum(report.padded_tokens for report in reports)
    summary = {
        "adapter": str(output),
        "digest": adapter.digest,
        "step": progress.step,
        "total_steps": progress.total_steps,
        "trained_tokens": progress.trained_tokens,
        "loss": reports[-1].loss if reports else None,
        "seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / seconds, 1) if tokens else None,
        "padding_share": round(1 - tokens / padded, 4) if padded else None,
        "environment": base.environment,
    }
    print(json.dumps(summary, indent=2))


def _replace(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(content)
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
