"""TRL's side of a plan: SFTTrainer with PEFT, jobs one after another on one base (see plan.py).

`python trl_process.py PLAN ACCOUNT`, in the environment of trl-lock.txt. TRL at its best for short
rows on a CPU:

- rows are tokenised already, with labels on the completion alone;
- mode "padding_free" lays a batch out as one row without padding. transformers then reads the
  restarting position ids and masks attention between examples (find_packed_sequence_indices), so
  it is right under SDPA too. Mode "padded" pads each batch to its own longest row, with rows of
  like length in a batch. `packing=True` would fill rows to max_length: other batches and fewer
  steps, so not the same training;
- float32, no gradient checkpointing (TRL's default is on), no logging, no reports, no
  checkpoints but the adapter at the end, no loader processes, no progress bars, fused AdamW;
- the base is loaded once and freed of its adapter between jobs.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

STARTED = time.time()

import accelerate  # type: ignore[import-untyped,unused-ignore]  # noqa: E402
import datasets  # type: ignore[import-not-found,unused-ignore]  # noqa: E402
import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # type: ignore[import-not-found,unused-ignore]  # noqa: E402


class Clock(transformers.TrainerCallback):  # type: ignore[misc,unused-ignore]
    """When the training loop began and ended."""

    began = ended = 0.0

    def on_train_begin(self, *_args: Any, **_others: Any) -> None:
        self.began = time.time()

    def on_train_end(self, *_args: Any, **_others: Any) -> None:
        self.ended = time.time()


def main(plan_path: str, account_path: str) -> None:
    imported = time.time()
    plan = json.loads(Path(plan_path).read_text())
    torch.set_num_threads(plan["threads"])
    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    model = transformers.AutoModelForCausalLM.from_pretrained(plan["model"], dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(plan["model"])
    loaded = time.time()
    jobs = []
    for job in plan["jobs"]:
        model, account = train(model, tokenizer, job, plan.get("mode", "padding_free"))
        jobs.append({"submitted": loaded, **account})
    result = {
        "imported": imported,
        "loaded": loaded,
        "ended": time.time(),
        "peak_rss_bytes": peak_rss(),
        "versions": {
            library.__name__: library.__version__
            for library in (torch, transformers, peft, accelerate, trl, datasets)
        },
        "jobs": jobs,
    }
    Path(account_path).write_text(json.dumps(result))


def train(model: Any, tokenizer: Any, job: dict[str, Any], mode: str) -> tuple[Any, dict[str, Any]]:
    """One job; returns the base without its adapter, and the job's account."""
    started = time.time()
    rows = json.loads(Path(job["rows"]).read_text())
    lora = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=job["rank"],
        lora_alpha=job["alpha"],
        lora_dropout=0.0,
        target_modules="all-linear",
    )
    settings = trl.SFTConfig(
        output_dir=job["output"],
        num_train_epochs=job["n_epochs"],
        per_device_train_batch_size=job["batch_size"],
        gradient_accumulation_steps=1,
        learning_rate=job["learning_rate"],
        lr_scheduler_type="linear",
        warmup_steps=0,
        weight_decay=0.0,
        max_grad_norm=1.0,
        optim="adamw_torch_fused",
        seed=job["seed"],
        max_length=None,
        packing=False,
        padding_free=mode == "padding_free",
        train_sampling_strategy="random" if mode == "padding_free" else "group_by_length",
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        eval_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    clock = Clock()
    trainer = trl.SFTTrainer(
        model=model,
        args=settings,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[clock],
    )
    outcome = trainer.train()
    trained = time.time()
    trainer.model.save_pretrained(job["output"])
    written = time.time()
    account = {
        "name": job["name"],
        "started": started,
        "trained": trained,
        "written": written,
        "loop_seconds": clock.ended - clock.began,
        "steps": outcome.global_step,
        "tokens": sum(len(row["input_ids"]) for row in rows) * job["n_epochs"],
        "last_loss": outcome.training_loss,
    }
    return trainer.model.unload(), account


def peak_rss() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")


if __name__ == "__main__":
    main(*sys.argv[1:])
