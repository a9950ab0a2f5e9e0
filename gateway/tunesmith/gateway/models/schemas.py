"""Models, as the API shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from tunesmith.platform.aliases.reading import Pointing
from tunesmith.platform.database.models import BaseModel as BaseRow
from tunesmith.platform.database.models import Model as ModelRow


class Model(BaseModel):
    """A base, a tuned model or an alias.

    `parent` (not in OpenAI's API) is a tuned model's base, or the model that an alias points at.
    """

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    parent: str | None = None

    @classmethod
    def of_base(cls, base: BaseRow) -> Model:
        """A base."""
        return cls(id=base.name, created=int(base.created_at), owned_by="tunesmith")

    @classmethod
    def of_tuned(cls, model: ModelRow) -> Model:
        """A tenant's tuned model."""
        return cls(
            id=model.name,
            created=int(model.created_at),
            owned_by=model.tenant_id,
            parent=model.base_name,
        )

    @classmethod
    def of_alias(cls, pointing: Pointing) -> Model:
        """A tenant's alias."""
        return cls(
            id=pointing.alias.name,
            created=int(pointing.alias.created_at),
            owned_by=pointing.alias.tenant_id,
            parent=pointing.revision.model,
        )


class ModelDeleted(BaseModel):
    """A model that was deleted."""

    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True
