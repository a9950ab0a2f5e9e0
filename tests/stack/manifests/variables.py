"""Environment variables of a container, before their values are known."""

from __future__ import annotations

from dataclasses import dataclass

from .fields import Fields, NotUnderstood


@dataclass(frozen=True)
class KeyOf:
    """A key of a ConfigMap or Secret."""

    kind: str
    name: str
    key: str
    optional: bool


@dataclass(frozen=True)
class FieldOf:
    """A field of the pod, as `status.podIP`."""

    path: str


@dataclass(frozen=True)
class ResourceOf:
    """A request or limit of a container, as `limits.memory`, in units of `divisor`."""

    resource: str
    container: str | None
    divisor: str


@dataclass(frozen=True)
class Variable:
    """A value, in which `$(NAME)` is expanded, or where it comes from."""

    name: str
    value: str | KeyOf | FieldOf | ResourceOf


@dataclass(frozen=True)
class VariablesFrom:
    """All keys of a ConfigMap or Secret."""

    kind: str
    name: str
    prefix: str
    optional: bool


def read_variable(fields: Fields) -> Variable:
    with fields:
        name, value = fields.take("name"), fields.take("value", None)
        source = fields.inner("valueFrom")
        if source is None:
            if value is not None and not isinstance(value, str):
                raise NotUnderstood(f"{fields.where}.value is {value!r}, not a string.")
            return Variable(name, value or "")
        if value is not None:
            raise NotUnderstood(f"{fields.where} has value and valueFrom.")
        with source:
            return Variable(name, _read_source(source))


def _read_source(source: Fields) -> KeyOf | FieldOf | ResourceOf:
    for kind, field in (("Secret", "secretKeyRef"), ("ConfigMap", "configMapKeyRef")):
        reference = source.inner(field)
        if reference is not None:
            with reference:
                return KeyOf(
                    kind,
                    reference.take("name"),
                    reference.take("key"),
                    reference.take("optional", default=False),
                )
    field_of = source.inner("fieldRef")
    if field_of is not None:
        with field_of:
            field_of.one_of("apiVersion", ("v1",), "v1")
            return FieldOf(field_of.take("fieldPath"))
    resource = source.inner("resourceFieldRef")
    if resource is not None:
        with resource:
            return ResourceOf(
                resource.take("resource"),
                resource.take("containerName", None),
                str(resource.take("divisor", "1")),
            )
    raise source.refusal()


def read_variables_from(fields: Fields) -> VariablesFrom:
    with fields:
        prefix = fields.take("prefix", "")
        for kind, field in (("Secret", "secretRef"), ("ConfigMap", "configMapRef")):
            reference = fields.inner(field)
            if reference is not None:
                with reference:
                    return VariablesFrom(
                        kind,
                        reference.take("name"),
                        prefix,
                        reference.take("optional", default=False),
                    )
        raise fields.refusal()
