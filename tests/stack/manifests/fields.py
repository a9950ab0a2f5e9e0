"""Reading a manifest such that nothing in it is passed over in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any


class NotUnderstood(Exception):
    """A manifest has what the runner does not know, or lacks what it needs; the message says where.

    The remedy is to teach the runner, never to leave it out: what it does not do, it does not test.
    """


_REQUIRED: Any = object()


class Fields:
    """The fields of one object; leaving the `with` block demands that each was taken."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, Mapping):
            raise NotUnderstood(f"{where} is {value!r}, not an object.")
        self._left = dict(value)
        self.where = where

    def __enter__(self) -> Fields:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None and self._left:
            names = ", ".join(sorted(self._left))
            raise NotUnderstood(f"{self.where} has fields that the runner does not know: {names}.")

    def take(self, name: str, default: Any = _REQUIRED) -> Any:
        """The field's value, `default` where it is absent or null."""
        value = self._left.pop(name, None)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise NotUnderstood(f"{self.where} lacks {name}.")
        return default

    def one_of(self, name: str, allowed: tuple[Any, ...], default: Any) -> Any:
        """The field's value, which must be one that the runner acts out."""
        value = self.take(name, default)
        if value not in allowed:
            raise NotUnderstood(f"{self.where}.{name} is {value!r}; the runner knows {allowed}.")
        return value

    def text_map(self, name: str) -> dict[str, str]:
        value = self.take(name, {})
        for key, text in value.items():
            if not isinstance(text, str):
                raise NotUnderstood(f"{self.where}.{name}.{key} is {text!r}, not a string.")
        return dict(value)

    def inner(self, name: str) -> Fields | None:
        """The object in the field; None where there is none. An empty object is one."""
        value = self.take(name, None)
        return None if value is None else Fields(value, f"{self.where}.{name}")

    def each(self, name: str) -> Iterator[Fields]:
        """The objects of the list in the field."""
        for index, value in enumerate(self.take(name, [])):
            label = value.get("name", index) if isinstance(value, Mapping) else index
            yield Fields(value, f"{self.where}.{name}[{label}]")

    def refusal(self) -> NotUnderstood:
        """For an object that is none of the kinds that the runner knows."""
        names = ", ".join(sorted(self._left)) or "nothing"
        return NotUnderstood(f"{self.where} has {names}: the runner knows no such thing.")

    def not_acted_out(self, *names: str) -> None:
        """Fields that say where pods go or what people read: nothing that a process could notice.

        Tests of the rendered documents check these.
        """
        for name in names:
            self._left.pop(name, None)
