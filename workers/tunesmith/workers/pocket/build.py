"""Makes the pocket base: corpus, tokenizer, pre-training, and a Hugging Face directory.

`python -m tunesmith.workers.pocket.build --output DIR [--steps N] [--manifest FILE]`
"""

import argparse
import ctypes
import hashlib
import itertools
import json
import platform
import sys
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path

import torch

from tunesmith.workers.pocket.corpus import documents
from tunesmith.workers.pocket.pretraining import Recipe, configuration, pretrain
from tunesmith.workers.pocket.tokenization import save_tokenizer, train_tokenizer

_TOKENIZER_DOCUMENTS = 40_000


def build(output: Path, recipe: Recipe, tokenizer_documents: int = _TOKENIZER_DOCUMENTS) -> None:
    """Write the base into `output`: config, weights (bfloat16), tokenizer and chat template.

    The same bytes come out on the same kind of machine with the same versions and
    `torch.get_num_threads()`.
    """
    output.mkdir(parents=True, exist_ok=True)
    sample = itertools.islice(documents(recipe.seed + 1), tokenizer_documents)
    tokenizer = train_tokenizer(sample, recipe.vocabulary)
    recipe = replace(recipe, vocabulary=tokenizer.get_vocab_size())
    save_tokenizer(tokenizer, recipe.context, output)

    def report(step: int, loss: float, seconds: float) -> None:
        if step % 10 and step != recipe.steps:
            return
        left = seconds / step * (recipe.steps - step)
        line = f"step {step}/{recipe.steps}  loss {loss:.3f}  {seconds:.0f} s, {left:.0f} s left"
        end = "\r" if sys.stderr.isatty() and step != recipe.steps else "\n"
        print(f"{line:<64}", end=end, file=sys.stderr, flush=True)

    model = pretrain(recipe, tokenizer, report)
    model = model.to(torch.bfloat16)
    config = configuration(recipe, tokenizer)
    config.dtype = "bfloat16"
    model.config.dtype = torch.bfloat16
    model.generation_config.do_sample = False
    model.generation_config.eos_token_id = config.eos_token_id
    model.generation_config.pad_token_id = config.pad_token_id
    model.save_pretrained(output)


def manifest(output: Path, recipe: Recipe, seconds: float) -> dict[str, object]:
    """How the base in `output` was made, and the SHA-256 of each of its files."""
    return {
        "recipe": asdict(recipe),
        "machine": {"cpu": platform.machine(), "threads": torch.get_num_threads()},
        "versions": {name: version(name) for name in ("tokenizers", "torch", "transformers")},
        "seconds": round(seconds),
        "sha256": {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(output.iterdir())
        },
    }


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed; handing the logits' pages back costs a third of each step."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # the names M_* of malloc.h
    libc.mallopt(mmap_max, 0)
    libc.mallopt(top_pad, 256 << 20)
    libc.mallopt(trim_threshold, 2**31 - 1)


def main(arguments: list[str] | None = None) -> None:
    """Command line of the build."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="optimizer steps")
    parser.add_argument("--threads", type=int, default=2, help="torch threads; part of the result")
    parser.add_argument("--manifest", type=Path, help="file to write the manifest to")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    _keep_freed_memory()
    recipe = Recipe(steps=options.steps)
    start = time.monotonic()
    build(options.output, recipe)
    if options.manifest is not None:
        record = manifest(options.output, recipe, time.monotonic() - start)
        options.manifest.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
