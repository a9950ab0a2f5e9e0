"""Reading a job's files before it trains: what `auto` becomes, and what could not be learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tunesmith.platform.data_report.contradictions import find_contradictions
from tunesmith.platform.data_report.table import Table
from tunesmith.platform.domain.hyperparameters import AUTO
from tunesmith.platform.domain.training import Prepared
from tunesmith.platform.examples import DamagedExamples, read_normalised
from tunesmith.platform.storage import ObjectNotFound, Storage
from tunesmith.workers.trainer.adapter import AdapterConfig
from tunesmith.workers.trainer.base import BaseShape, load_shape
from tunesmith.workers.trainer.errors import (
    AdapterInvalid,
    BaseUnusable,
    DoesNotFit,
    HyperparameterInvalid,
)
from tunesmith.workers.trainer.memory import Memory
from tunesmith.workers.trainer.recipe import DataSize, Recipe, resolve
from tunesmith.workers.trainer.render import Renderer
from tunesmith.workers.trainer.validation import validate_adapter
from tunesmith.workers.training.examples import Examples, ExamplesUnusable, load_examples
from tunesmith.workers.training.held_out import (
    FEWEST_EXAMPLES,
    HeldOut,
    Split,
    automatic_split,
    key_of,
    store,
)
from tunesmith.workers.training.parent import read_parent
from tunesmith.workers.training.work import PreparationWork, Refusal

_NAMED_LINES = 10
_SHOWN = 60


def prepare(work: PreparationWork) -> Prepared | Refusal:
    """Render the files with the base's tokenizer and resolve the recipe.

    A refusal is for the tenant; storage that does not answer is an exception, to be tried again.
    """
    try:
        return _prepare(work)
    except _Refused as refused:
        return refused.refusal


class _Refused(Exception):
    def __init__(self, code: str, message: str, param: str | None) -> None:
        super().__init__(message)
        self.refusal = Refusal(code, message, param)


def _prepare(work: PreparationWork) -> Prepared:
    storage = Storage(work.storage_url)
    try:
        renderer = Renderer.from_directory(work.base_directory, context_length=work.context_length)
        shape = load_shape(Path(work.base_directory))
    except BaseUnusable as error:
        raise _Refused("base_unusable", str(error), "model") from error
    training = _load(storage, work.training_key, renderer, "training_file")
    validation = (
        _load(storage, work.validation_key, renderer, "validation_file")
        if work.validation_key is not None
        else None
    )
    with storage.open_read(work.training_key) as stream:
        columns = Split.of(read_normalised(stream))
    if not work.ignore_data_report:
        _check_contradictions(columns.table)
    parent = _parent(storage, work.parent_digest, shape)
    hyperparameters = dict(work.hyperparameters)
    wanted = _split(hyperparameters.pop("validation_split", AUTO), training, validation)
    chosen = columns.held_out(wanted, work.seed)
    lines = [training.lines[row] for row in chosen.rows]
    trained, apart = training.split(lines)
    share = wanted if apart else 0.0
    try:
        recipe = _recipe(
            work,
            hyperparameters,
            DataSize(len(trained.items), trained.tokens, trained.learned_tokens),
            shape,
            parent=parent,
            validated=bool(validation or apart),
            longest=max(examples.longest for examples in (training, validation) if examples),
        )
    except HyperparameterInvalid as error:
        raise _Refused("invalid_hyperparameter", str(error), error.name) from error
    except DoesNotFit as error:
        raise _Refused("does_not_fit", f"The job cannot be trained here: {error}", None) from error
    held_out_key = None
    if apart:
        held_out_key = key_of(work.job_id)
        store(storage, work.training_key, lines, held_out_key)
    return Prepared(
        hyperparameters=recipe.hyperparameters | {"validation_split": share},
        recipe=recipe.spec,
        total_steps=recipe.total_steps,
        notes=(
            _counted(training, validation),
            _validated(training, validation, chosen, wanted),
            recipe.explanation,
        ),
        warnings=tuple(_cut(training, "training") + _cut(validation, "validation")),
        held_out_key=held_out_key,
    )


def _split(wanted: float | str, training: Examples, validation: Examples | None) -> float:
    if validation is not None:
        return 0.0
    if wanted == AUTO:
        return automatic_split(len(training.lines))
    return float(wanted)


def _recipe(
    work: PreparationWork,
    hyperparameters: dict[str, Any],
    data: DataSize,
    shape: BaseShape,
    *,
    parent: AdapterConfig | None,
    validated: bool,
    longest: int,
) -> Recipe:
    """The recipe, with the highest automatic rank that the trainer has memory for.

    Raises:
        HyperparameterInvalid: out of its range.
        DoesNotFit: no trainer of this base could hold it, as far as one has told.
    """
    most = work.max_rank
    while True:
        recipe = resolve(
            data,
            shape,
            method=work.method,
            validated=validated,
            max_rank=most,
            parent=parent,
            **hyperparameters,
        )
        try:
            _check_memory(work, shape, recipe, longest)
        except DoesNotFit:
            most = recipe.spec["rank"] // 2
            if parent is not None or hyperparameters.get("lora_rank") != AUTO or most < 1:
                raise
        else:
            return recipe


def _check_memory(work: PreparationWork, shape: BaseShape, recipe: Recipe, longest: int) -> None:
    if work.trainer is None:
        return  # the cohort refuses it itself
    memory = Memory(
        capacity=work.trainer["slot_bytes"],
        token_bytes=work.trainer["token_bytes"],
        recomputed_token_bytes=work.trainer["recomputed_token_bytes"],
        logits_bytes=work.trainer["logits_bytes"],
    )
    memory.need(shape, recipe.spec["rank"], tuple(recipe.spec["target_modules"]), longest)


def _validated(
    training: Examples, validation: Examples | None, chosen: HeldOut, wanted: float
) -> str:
    if validation is not None:
        return "The result is chosen by the loss on the validation file, after every epoch."
    if chosen.rows:
        text = (
            f"No validation file was given: {len(chosen.rows)} of the {len(training.lines)}"
            " training examples are held out, never trained on, and the result is chosen by the"
            " loss on them."
        )
        if chosen.stratified:
            text += " Each answer has its share of them."
        text += (
            " No prompt that is nearly the same is trained on."
            if chosen.near_apart
            else " So many prompts are nearly the same that only equal ones could be kept apart:"
            " expect figures on them to flatter."
        )
        return text + " Set validation_split to 0 to train on all."
    if wanted:
        return (
            "Too many examples have the same prompt to hold some out for validation: all are"
            " trained on, to the end."
        )
    if len(training.lines) < FEWEST_EXAMPLES:
        return (
            f"No validation file was given, and less than {FEWEST_EXAMPLES} examples are too few to"
            " hold some out: all are trained on, to the end."
        )
    return "Nothing is held out for validation: all examples are trained on, to the end."


def _load(storage: Storage, key: str, renderer: Renderer, param: str) -> Examples:
    what = param.replace("_", " ")
    try:
        return load_examples(storage, key, renderer)
    except ExamplesUnusable as error:
        raise _Refused(f"invalid_{param}", f"The {what}: {error}.", param) from error
    except ObjectNotFound as error:
        message = f"The {what} was deleted before the job ran."
        raise _Refused("file_deleted", message, param) from error
    except DamagedExamples as error:
        raise _Refused(f"invalid_{param}", str(error), param) from error


def _check_contradictions(table: Table) -> None:
    found = find_contradictions(table)
    if not found.blocks:
        return
    first, second = found.groups[0][:2]
    raise _Refused(
        "data_report_blocks",
        f"{found.share:.0%} of the training examples ask what another one asks and are answered"
        f" differently, so that nothing can learn them: for example line {table.lines[first]},"
        f" answered {_shown(table.answers[first])}, and line {table.lines[second]}, answered"
        f" {_shown(table.answers[second])}. Correct the file (`tunesmith check` lists the lines),"
        " or create the job with `ignore_data_report: true` to train on it as it is.",
        "training_file",
    )


def _shown(answer: str) -> str:
    return repr(answer if len(answer) <= _SHOWN else answer[: _SHOWN - 1] + "…")


def _parent(storage: Storage, digest: str | None, shape: BaseShape) -> AdapterConfig | None:
    """The adapter to continue from: it decides rank, alpha and targets."""
    if digest is None:
        return None
    try:
        return validate_adapter(read_parent(storage, digest), shape)
    except ObjectNotFound as error:
        message = "The model to continue from was deleted."
        raise _Refused("model_not_found", message, "model") from error
    except AdapterInvalid as error:
        message = f"The model cannot be continued: {error}"
        raise _Refused("model_unusable", message, "model") from error


def _counted(training: Examples, validation: Examples | None) -> str:
    text = (
        f"The training file has {len(training.lines)} examples with {training.tokens} tokens,"
        f" {training.learned_tokens} of them to be learned"
    )
    if validation is not None:
        text += f"; the validation file has {len(validation.lines)} examples"
    return text + "."


def _cut(examples: Examples | None, which: str) -> list[str]:
    if examples is None or not examples.truncated:
        return []
    named = ", ".join(str(line) for line in examples.truncated[:_NAMED_LINES])
    more = len(examples.truncated) - _NAMED_LINES
    return [
        f"{len(examples.truncated)} {which} example(s) are longer than the context and were cut"
        f" at its end: line {named}" + (f" and {more} more." if more > 0 else ".")
    ]
