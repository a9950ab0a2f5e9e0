"""Aliases and policies, as the API takes and shows them (not in OpenAI's API)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tunesmith.platform.aliases.moving import Move
from tunesmith.platform.aliases.reading import Pointing, revision_id
from tunesmith.platform.database.models import AliasRevision
from tunesmith.platform.policy import Policy as PolicyValues

_ModelName = Annotated[str, StringConstraints(min_length=1, max_length=512)]
_Id = Annotated[str, StringConstraints(min_length=1, max_length=64)]
_Reason = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Promote(_Request):
    """A model to point at. The gate applies to a tuned one, unless forced with a reason."""

    model: _ModelName
    evaluation: _Id | None = Field(
        default=None, description="Evaluation to go by; else the latest completed one of the model."
    )
    force: bool = False
    reason: _Reason | None = None

    def to_move(self) -> Move:
        """The move in the platform's words."""
        return Move(self.model, self.evaluation, self.force)


class CreateAlias(Promote):
    """A new alias and the model that it points at."""

    name: str = Field(description="1 to 64 letters, digits, '.', '_' or '-'.")


class Split(_Request):
    """A share of the requests for a candidate; a share of 0 ends the split."""

    candidate: _ModelName | None = None
    share: Annotated[float, Field(ge=0, lt=1)]
    reason: _Reason | None = None


class RollBack(_Request):
    """Why an alias goes back."""

    reason: _Reason | None = None


class Alias(BaseModel):
    """An alias and where it points; `share` of its requests go to `candidate`."""

    id: str
    object: Literal["alias"] = "alias"
    name: str
    created_at: int
    updated_at: int
    model: str
    candidate: str | None
    share: float
    revision: int

    @classmethod
    def of(cls, pointing: Pointing) -> Alias:
        """A row and its last revision as the API shows them."""
        alias, revision = pointing.alias, pointing.revision
        return cls(
            id=alias.id,
            name=alias.name,
            created_at=int(alias.created_at),
            updated_at=int(revision.created_at),
            model=revision.model,
            candidate=revision.candidate,
            share=revision.candidate_share,
            revision=revision.number,
        )


class AliasDeleted(BaseModel):
    """An alias that was deleted."""

    id: str
    object: Literal["alias"] = "alias"
    name: str
    deleted: Literal[True] = True


class Revision(BaseModel):
    """A change of an alias: who (the id of a key), when, why, and what it points at since.

    `forced` says that the gate did not hold and was passed all the same.
    """

    id: str
    object: Literal["alias.revision"] = "alias.revision"
    revision: int
    created_at: int
    action: Literal["create", "promote", "split", "rollback"]
    model: str
    candidate: str | None
    share: float
    forced: bool
    reason: str | None
    evaluation: str | None
    key_id: str | None

    @classmethod
    def of(cls, row: AliasRevision) -> Revision:
        """A row as the API shows it."""
        return cls(
            id=revision_id(row),
            revision=row.number,
            created_at=int(row.created_at),
            action=row.action,  # type: ignore[arg-type]
            model=row.model,
            candidate=row.candidate,
            share=row.candidate_share,
            forced=row.forced,
            reason=row.reason,
            evaluation=row.evaluation_id,
            key_id=row.key_id,
        )


class ChangePolicy(_Request):
    """What is to change of the policy; what is left out stays."""

    minimum_relative_improvement: Annotated[float, Field(ge=0, le=100)] | None = None
    maximum_forgetting: Annotated[float, Field(ge=0, le=1)] | None = None


class Policy(BaseModel):
    """The tenant's bar: by how much a model must be better, how much it may have forgotten.

    0.2 is 20 %. It is what evaluations are asked with and what the promotion gate demands.
    """

    object: Literal["policy"] = "policy"
    minimum_relative_improvement: float
    maximum_forgetting: float

    @classmethod
    def of(cls, policy: PolicyValues) -> Policy:
        """The values as the API shows them."""
        return cls(
            minimum_relative_improvement=policy.minimum_relative_improvement,
            maximum_forgetting=policy.maximum_forgetting,
        )
