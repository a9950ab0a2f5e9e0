"""Whether a job's files hold what its method learns from."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tunesmith.platform import files
from tunesmith.platform.database.models import File
from tunesmith.platform.domain.errors import InvalidRequest, NotFound
from tunesmith.platform.examples import MINIMUM_EXAMPLES, ExamplesKind

LEARNS_FROM = {"supervised": ExamplesKind.CHAT, "dpo": ExamplesKind.PREFERENCES}
"""The kind of examples that each method takes."""

_NEEDED = {
    ExamplesKind.CHAT: 'chats, each line {"messages": [...]}, or prompts with completions',
    ExamplesKind.PREFERENCES: (
        'preferences, each line {"input": {"messages": [...]}, "preferred_output": [...],'
        ' "non_preferred_output": [...]}, or columns prompt, chosen and rejected'
    ),
}


def check_files(
    session: Session, tenant_id: str, method: str, training_file: str, validation_file: str | None
) -> None:
    """Check both files of a job.

    Raises:
        NotFound: the tenant has no such file.
        InvalidRequest: one was not uploaded as examples or is of the wrong kind, there are too few
            examples, or both are the same file.
    """
    training = _examples_file(session, tenant_id, training_file, "training_file", method)
    if (training.examples or 0) < MINIMUM_EXAMPLES:
        raise InvalidRequest(
            f"The training file {training.id} has {training.examples} examples; fine-tuning needs"
            f" at least {MINIMUM_EXAMPLES} (100 or more are better).",
            param="training_file",
            code="too_few_examples",
        )
    if validation_file is None:
        return
    if validation_file == training_file:
        raise InvalidRequest(
            "The validation file is the training file: it would measure memory, not learning."
            " Give other examples, or none.",
            param="validation_file",
        )
    _examples_file(session, tenant_id, validation_file, "validation_file", method)


def check_evaluation_file(
    session: Session, tenant_id: str, method: str, training_file: str, file_id: str
) -> None:
    """Check the file that a job's result is to be measured on.

    Raises:
        NotFound: the tenant has no such file.
        InvalidRequest: it is the training file, was not uploaded as examples, or is of the wrong
            kind.
    """
    if file_id == training_file:
        raise InvalidRequest(
            "`evaluation.file` is the training file: it would measure memory, not learning. Give"
            " other examples, or none.",
            param="evaluation.file",
        )
    _examples_file(session, tenant_id, file_id, "evaluation.file", method)


def _examples_file(session: Session, tenant_id: str, file_id: str, param: str, method: str) -> File:
    try:
        file = files.get_file(session, tenant_id, file_id)
    except NotFound:
        raise NotFound(
            f"The file {file_id!r} (`{param}`) does not exist.", param=param, code="file_not_found"
        ) from None
    if file.purpose != "fine-tune" or file.examples_key is None:
        raise InvalidRequest(
            f"The file {file_id!r} has the purpose {file.purpose!r}; `{param}` needs one that was"
            " uploaded with the purpose 'fine-tune'.",
            param=param,
            code="invalid_file_purpose",
        )
    held, needed = ExamplesKind(file.kind or ExamplesKind.CHAT), LEARNS_FROM[method]
    if held is not needed:
        fitting = next(name for name, kind in LEARNS_FROM.items() if kind is held)
        raise InvalidRequest(
            f"The file {file_id!r} (`{param}`) holds {_NEEDED[held].partition(',')[0]}, and the"
            f" method {method} learns from {_NEEDED[needed]}. Use the method {fitting}, or another"
            " file.",
            param=param,
            code="invalid_file_kind",
        )
    return file
