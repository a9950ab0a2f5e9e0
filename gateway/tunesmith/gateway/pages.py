"""Lists, in OpenAI's envelope."""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Query
from pydantic import BaseModel

T = TypeVar("T", bound=BaseModel)

After = Annotated[str | None, Query(description="Id of the last item of the page before.")]


class ListOf(BaseModel, Generic[T]):
    """A page of a list."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool = False


class ListWithEnds(ListOf[T], Generic[T]):
    """A page of a list that names its first and last item."""

    first_id: str | None = None
    last_id: str | None = None
