"""Lists, in OpenAI's envelope."""

from __future__ import annotations

from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import BaseModel, model_validator

T = TypeVar("T", bound=BaseModel)

After = Annotated[str | None, Query(description="Id of the last item of the page before.")]
Limit = Annotated[int, Query(description="Items on a page, 1 to 10000.")]


class ListOf(BaseModel, Generic[T]):
    """A page of a list."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool = False


class ListWithEnds(ListOf[T], Generic[T]):
    """A page of a list that names its first and last item."""

    first_id: str | None = None
    last_id: str | None = None

    @model_validator(mode="after")
    def _name_the_ends(self) -> ListWithEnds[T]:
        items: list[Any] = list(self.data)
        if items:
            self.first_id, self.last_id = items[0].id, items[-1].id
        return self
