"""Evaluations, as the API takes and shows them.

Where OpenAI's evals have a word for a thing (a run's status, `testing_criteria`, `result_counts`,
`output_items`), it is theirs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tunesmith.platform.database.models import Evaluation as EvaluationRow
from tunesmith.platform.evaluations.creation import EvaluationRequest

_Key = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Value = Annotated[str, StringConstraints(max_length=512)]


class CreateEvaluation(BaseModel):
    """An evaluation of any two models of one base on any file of examples.

    `model` is the candidate. `baseline` is its base where it is left out, `file` what the model's
    job held out. `testing_criteria` has at most one grader; without one the metric fits the
    answers.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    model: Annotated[str, StringConstraints(min_length=1, max_length=512)]
    baseline: Annotated[str, StringConstraints(min_length=1, max_length=512)] | None = None
    file: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = None
    name: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    testing_criteria: Annotated[list[dict[str, Any]], Field(max_length=1)] | None = None
    minimum_relative_improvement: Annotated[float, Field(ge=0, le=100)] | None = None
    maximum_forgetting: Annotated[float, Field(ge=0, le=1)] | None = None
    probes: bool = True
    metadata: Annotated[dict[_Key, _Value], Field(max_length=16)] | None = None

    def to_request(self) -> EvaluationRequest:
        """The request in the platform's words."""
        return EvaluationRequest(
            candidate=self.model,
            baseline=self.baseline,
            file=self.file,
            name=self.name,
            grader=self.testing_criteria[0] if self.testing_criteria else None,
            minimum_relative_improvement=self.minimum_relative_improvement,
            maximum_forgetting=self.maximum_forgetting,
            probes=self.probes,
            metadata=self.metadata,
        )


class DataSource(BaseModel):
    """The examples: a file, the job's validation file, what was held out of its training file."""

    type: Literal["file", "validation_file", "held_out", "none"]
    file_id: str | None
    examples: int | None
    left_out: int | None = Field(description="Examples too like one that was trained on.")


class ResultCounts(BaseModel):
    """Answers of the candidate so far, as OpenAI counts them."""

    total: int
    passed: int
    failed: int
    errored: int


class EvaluationError(BaseModel):
    """Why an evaluation failed, or what it lacks."""

    code: str
    message: str


class Evaluation(BaseModel):
    """An evaluation. Times are seconds since the epoch; `result` is null until it has ended."""

    id: str
    object: Literal["evaluation"] = "evaluation"
    created_at: int
    started_at: int | None
    finished_at: int | None
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "canceled"]
    name: str | None
    job: str | None
    model: str
    baseline: str
    data_source: DataSource
    testing_criteria: list[dict[str, Any]]
    minimum_relative_improvement: float
    maximum_forgetting: float
    result_counts: ResultCounts
    progress: float | None = Field(description="Share of the answers that are there.")
    result: dict[str, Any] | None
    error: EvaluationError | None
    report_url: str
    metadata: dict[str, str] | None

    @classmethod
    def of(cls, row: EvaluationRow) -> Evaluation:
        """A row as the API shows it."""
        asked, found = row.request, row.result or {}
        source, grader = asked["source"], asked.get("grader")
        counts = found.get("result_counts") or {}
        return cls(
            id=row.id,
            created_at=int(row.created_at),
            started_at=_seconds(row.started_at),
            finished_at=_seconds(row.finished_at),
            status=row.status,  # type: ignore[arg-type]
            name=row.name,
            job=row.job_id,
            model=row.candidate_model,
            baseline=row.baseline_model,
            data_source=DataSource(
                type=source["type"],
                file_id=source.get("file_id"),
                examples=found.get("examples"),
                left_out=found.get("left_out"),
            ),
            testing_criteria=[grader] if grader else [],
            minimum_relative_improvement=asked["minimum_relative_improvement"],
            maximum_forgetting=asked["maximum_forgetting"],
            result_counts=ResultCounts(
                total=counts.get("total", 0),
                passed=counts.get("passed", 0),
                failed=counts.get("failed", 0),
                errored=counts.get("errored", 0),
            ),
            progress=row.done / row.total if row.total else None,
            result=row.result,
            error=EvaluationError(**row.error) if row.error else None,
            report_url=f"/v1/evaluations/{row.id}/report",
            metadata=row.user_metadata,
        )


class OutputItem(BaseModel):
    """An example and what both models answered; a score is null where it could not be graded."""

    id: str
    object: Literal["evaluation.output_item"] = "evaluation.output_item"
    evaluation_id: str
    line: int | None
    input: str
    reference: str
    baseline_answer: str | None
    candidate_answer: str | None
    baseline_score: float | None
    candidate_score: float | None


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
