"""Models, as the API shows them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from tunesmith.platform.database.models import BaseModel as BaseRow
from tunesmith.platform.database.models import Model as ModelRow


class Model(BaseModel):
    """A base or a tuned model. `parent` is a tuned model's base (not in OpenAI's API)."""

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


class ModelDeleted(BaseModel):
    """A model that was deleted."""

    id: str
    object: Literal["model"] = "model"
    deleted: Literal[True] = True
