"""What reading the files finds out, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunesmith.platform.domain.hyperparameters import AUTO, METHODS
from tunesmith.platform.domain.training import Prepared
from tunesmith.platform.examples import read_normalised
from tunesmith.platform.storage import Storage
from tunesmith.workers.training.cohort_worker import CohortWorker
from tunesmith.workers.training.preparation import prepare
from tunesmith.workers.training.work import (
    Finished,
    PreparationWork,
    Refusal,
    TrainingWork,
)

from .conftest import ended, gather, pairs

Prepare = Callable[..., Prepared | Refusal]
ALL_AUTO = dict.fromkeys(METHODS["supervised"], AUTO)


@pytest.fixture
def prepared(base_directory: Path, tmp_path: Path) -> Prepare:
    def run(training_key: str, **fields: Any) -> Prepared | Refusal:
        values: dict[str, Any] = {
            "job_id": "ftjob-a",
            "base_directory": str(base_directory),
            "context_length": 64,
            "storage_url": str(tmp_path / "storage"),
            "training_key": training_key,
            "validation_key": None,
            "hyperparameters": ALL_AUTO,
            "max_rank": 32,
            "parent_digest": None,
        }
        return prepare(PreparationWork(**(values | fields)))

    return run


def test_auto_becomes_numbers(prepared: Prepare, put_examples: Callable[..., str]) -> None:
    result = prepared(put_examples(pairs(100)))
    assert isinstance(result, Prepared)
    assert set(result.hyperparameters) == set(METHODS["supervised"])
    assert AUTO not in result.hyperparameters.values()
    epochs, batch = result.hyperparameters["n_epochs"], result.hyperparameters["batch_size"]
    assert result.hyperparameters["validation_split"] == 0.2
    assert result.total_steps == epochs * -(-80 // batch)
    assert result.recipe["rank"] <= 32
    assert result.recipe["keep_best"]
    assert "100 examples" in result.notes[0]
    assert "20 of the 100 training examples are held out" in result.notes[1]
    assert "80 rows" in result.notes[2]
    assert not result.warnings


def test_given_values_are_kept(prepared: Prepare, put_examples: Callable[..., str]) -> None:
    given = {"n_epochs": 2, "batch_size": 5, "learning_rate_multiplier": 0.5}
    one = prepared(put_examples(pairs(20)), hyperparameters=given)
    auto = prepared(
        "examples/a.jsonl", hyperparameters=given | {"learning_rate_multiplier": "auto"}
    )
    assert isinstance(one, Prepared)
    assert isinstance(auto, Prepared)
    assert one.hyperparameters.items() >= given.items()
    assert "too few to hold some out" in one.notes[1]
    assert not one.recipe["keep_best"]
    assert one.total_steps == 8
    assert one.recipe["learning_rate"] == pytest.approx(auto.recipe["learning_rate"] / 2)


def test_an_example_that_is_cut_is_said_with_its_line(
    prepared: Prepare, put_examples: Callable[..., str]
) -> None:
    long = ("short", "an answer that goes on and on " * 20)
    result = prepared(put_examples([*pairs(11), long]))
    assert isinstance(result, Prepared)
    assert result.warnings == (
        "1 training example(s) are longer than the context and were cut at its end: line 12.",
    )


def test_an_example_of_which_nothing_remains_is_refused_with_its_line(
    prepared: Prepare, put_examples: Callable[..., str]
) -> None:
    result = prepared(put_examples([*pairs(11), ("a question without an end " * 40, "yes")]))
    assert isinstance(result, Refusal)
    assert result.code == "invalid_training_file"
    assert result.param == "training_file"
    assert "line 12" in result.message
    assert "context of 64" in result.message


def test_the_validation_file_is_read_too(
    prepared: Prepare, put_examples: Callable[..., str]
) -> None:
    validation = put_examples([("a question without an end " * 40, "yes")], "examples/v.jsonl")
    result = prepared(put_examples(pairs()), validation_key=validation)
    assert isinstance(result, Refusal)
    assert result.param == "validation_file"


def test_a_deleted_file_is_a_refusal(prepared: Prepare) -> None:
    result = prepared("examples/gone.jsonl")
    assert isinstance(result, Refusal)
    assert result.code == "file_deleted"


def test_damaged_examples_are_a_refusal(
    prepared: Prepare, put_examples: Callable[..., str], storage: Storage
) -> None:
    key = put_examples(pairs())
    storage.put(key, storage.get(key)[:-7])
    result = prepared(key)
    assert isinstance(result, Refusal)
    assert "damaged" in result.message


def test_a_value_out_of_range_names_the_range(
    prepared: Prepare, put_examples: Callable[..., str]
) -> None:
    result = prepared(put_examples(pairs()), hyperparameters=ALL_AUTO | {"n_epochs": 51})
    assert isinstance(result, Refusal)
    assert result.code == "invalid_hyperparameter"
    assert "1 to 50" in result.message


def test_an_earlier_adapter_decides_rank_and_alpha(
    prepared: Prepare,
    put_examples: Callable[..., str],
    start: Callable[[], CohortWorker],
    work: Callable[..., TrainingWork],
) -> None:
    worker = start()
    worker.join(work())
    (parent,) = [u for u in gather(worker, ended("ftjob-a")) if isinstance(u, Finished)]
    result = prepared(put_examples(pairs()), parent_digest=parent.adapter.digest)
    assert isinstance(result, Prepared)
    assert (result.recipe["rank"], result.recipe["alpha"]) == (4, 8.0)


def test_an_earlier_adapter_that_is_gone_is_a_refusal(
    prepared: Prepare, put_examples: Callable[..., str]
) -> None:
    result = prepared(put_examples(pairs()), parent_digest="0" * 64)
    assert isinstance(result, Refusal)
    assert result.code == "model_not_found"


def test_a_split_is_held_out_only_without_a_validation_file(
    prepared: Prepare, put_examples: Callable[..., str]
) -> None:
    training, validation = put_examples(pairs(100)), put_examples(pairs(9, "parcel"), "b")
    with_file = prepared(training, validation_key=validation)
    asked = prepared(training, hyperparameters=ALL_AUTO | {"validation_split": 0.25})
    refused = prepared(training, hyperparameters=ALL_AUTO | {"validation_split": 0})
    assert isinstance(with_file, Prepared)
    assert isinstance(asked, Prepared)
    assert isinstance(refused, Prepared)
    assert with_file.hyperparameters["validation_split"] == 0.0
    assert "on the validation file" in with_file.notes[1]
    assert with_file.recipe["keep_best"]
    assert with_file.held_out_key is None
    assert "25 of the 100 training examples are held out" in asked.notes[1]
    assert "all examples are trained on" in refused.notes[1]
    assert refused.recipe["patience"] is None
    assert refused.held_out_key is None


def test_the_held_out_examples_lie_in_storage_and_each_answer_has_its_share(
    prepared: Prepare, put_examples: Callable[..., str], storage: Storage
) -> None:
    rows = [(f"question{i} about{i} things{i}", "yes" if i % 4 else "no") for i in range(200)]
    result = prepared(put_examples(rows))
    assert isinstance(result, Prepared)
    assert result.held_out_key == "jobs/ftjob-a/held-out.jsonl"
    with storage.open_read(result.held_out_key) as stream:
        kept = list(read_normalised(stream))
    assert len(kept) == 20
    assert sum(example.messages[-1]["content"] == "no" for example in kept) == 5
    for example in kept:
        assert example.messages[0]["content"] == rows[example.line - 1][0]
    assert "Each answer has its share of them." in result.notes[1]
    assert "nearly the same is trained on" in result.notes[1]


def test_where_all_prompts_are_equal_nothing_is_held_out(
    prepared: Prepare, put_examples: Callable[..., str]
) -> None:
    result = prepared(put_examples([("tell a joke", f"joke {i}") for i in range(60)]),
                      ignore_data_report=True)  # fmt: skip
    assert isinstance(result, Prepared)
    assert result.held_out_key is None
    assert result.hyperparameters["validation_split"] == 0.0
    assert "Too many examples have the same prompt" in result.notes[1]
    assert not result.recipe["keep_best"]


def test_data_that_contradicts_itself_is_refused_unless_forced(
    prepared: Prepare, put_examples: Callable[..., str]
) -> None:
    asked = [(f"question{i} about{i}", "yes") for i in range(100)]
    few = prepared(put_examples([*asked, *((p, "no") for p, _ in asked[:10])]))
    assert isinstance(few, Prepared)  # 20 of 110 are in a contradiction
    key = put_examples([*asked, *((p, "no") for p, _ in asked[3:33])])
    refused = prepared(key)
    assert isinstance(refused, Refusal)
    assert refused.code == "data_report_blocks"
    assert refused.param == "training_file"
    assert refused.message.startswith("46% of the training examples")  # 60 of 130
    assert "line 4, answered 'yes', and line 101, answered 'no'" in refused.message
    assert "`ignore_data_report: true`" in refused.message
    assert isinstance(prepared(key, ignore_data_report=True), Prepared)


def test_what_no_trainer_of_the_base_could_hold_is_refused_with_the_numbers(
    prepared: Prepare, put_examples: Callable[..., str]
) -> None:
    trainer = {
        "slot_bytes": 1_000_000, "token_bytes": 10_000, "recomputed_token_bytes": 5_000,
        "logits_bytes": 100_000, "device": "cpu",
    }  # fmt: skip
    key = put_examples(pairs(20))
    fixed = prepared(key, trainer=trainer, hyperparameters=ALL_AUTO | {"lora_rank": 32})
    assert isinstance(fixed, Refusal)
    assert fixed.code == "does_not_fit"
    assert "LoRA rank 32" in fixed.message
    assert "the device has 1 MB" in fixed.message
    lower = prepared(key, trainer=trainer)  # "auto" takes what fits
    assert isinstance(lower, Prepared)
    assert lower.recipe["rank"] == 16
    nothing = prepared(key, trainer=trainer | {"slot_bytes": 100})
    assert isinstance(nothing, Refusal)
    assert "rank 1" in nothing.message
