"""Reading a job's files before it trains: what `auto` becomes, and what could not be learned."""

from __future__ import annotations

from pathlib import Path

from tunesmith.platform.domain.hyperparameters import AUTO
from tunesmith.platform.domain.training import Prepared
from tunesmith.platform.examples import DamagedExamples
from tunesmith.platform.storage import ObjectNotFound, Storage
from tunesmith.workers.trainer.adapter import AdapterConfig
from tunesmith.workers.trainer.base import BaseShape, load_shape
from tunesmith.workers.trainer.errors import AdapterInvalid, BaseUnusable, HyperparameterInvalid
from tunesmith.workers.trainer.recipe import ALPHA, DataSize, resolve
from tunesmith.workers.trainer.render import Renderer
from tunesmith.workers.trainer.validation import validate_adapter
from tunesmith.workers.training.examples import Examples, ExamplesUnusable, load_examples
from tunesmith.workers.training.parent import read_parent
from tunesmith.workers.training.work import PreparationWork, Refusal

_NAMED_LINES = 10


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
    parent = _parent(storage, work.parent_digest, shape)
    try:
        recipe = resolve(
            DataSize(len(training.rows), training.tokens, training.learned_tokens),
            shape,
            max_rank=work.max_rank,
            rank=AUTO if parent is None else parent.rank,
            alpha=ALPHA if parent is None else parent.alpha,
            **work.hyperparameters,
        )
    except HyperparameterInvalid as error:
        raise _Refused("invalid_hyperparameter", str(error), error.name) from error
    return Prepared(
        hyperparameters={
            "n_epochs": recipe.n_epochs,
            "batch_size": recipe.batch_size,
            "learning_rate_multiplier": recipe.learning_rate_multiplier,
        },
        recipe={
            "rank": recipe.rank,
            "alpha": recipe.alpha,
            "learning_rate": recipe.learning_rate,
            "n_epochs": recipe.n_epochs,
            "batch_size": recipe.batch_size,
            "warmup_steps": recipe.warmup_steps,
            "target_modules": () if parent is None else parent.target_modules,
        },
        total_steps=recipe.total_steps,
        notes=(_counted(training, validation), recipe.explanation),
        warnings=tuple(_cut(training, "training") + _cut(validation, "validation")),
    )


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
