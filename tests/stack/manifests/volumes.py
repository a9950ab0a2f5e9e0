"""Volumes of a pod and where its containers see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .fields import Fields, NotUnderstood


@dataclass(frozen=True)
class Keys:
    """Keys of a ConfigMap or Secret as files: `{key: path}`, all keys where that is None."""

    kind: str
    name: str
    paths: Mapping[str, str] | None
    mode: int | None
    optional: bool


@dataclass(frozen=True)
class PodFields:
    """Fields of the pod as files: `{path: field}`."""

    paths: Mapping[str, str]


@dataclass(frozen=True)
class Token:
    """A service account's token."""

    path: str


@dataclass(frozen=True)
class Projected:
    """Files of several sources in one folder."""

    sources: tuple[Keys | PodFields | Token, ...]
    mode: int


@dataclass(frozen=True)
class EmptyDir:
    """A folder of the pod's own.

    Attributes:
        size: bytes; only a folder in memory is held to it.
    """

    in_memory: bool
    size: str | None


@dataclass(frozen=True)
class Claim:
    """A persistent volume, by its claim's name."""

    name: str
    read_only: bool


VolumeSource = Projected | EmptyDir | Claim


@dataclass(frozen=True)
class VolumeMount:
    volume: str
    path: str
    sub_path: str
    read_only: bool


def read_mount(fields: Fields) -> VolumeMount:
    with fields:
        return VolumeMount(
            volume=fields.take("name"),
            path=fields.take("mountPath").rstrip("/") or "/",
            sub_path=fields.take("subPath", ""),
            read_only=fields.take("readOnly", default=False),
        )


def read_volume(fields: Fields) -> tuple[str, VolumeSource]:
    """Its name, and what it holds.

    Raises:
        NotUnderstood: a kind that the runner does not have, host paths above all.
    """
    with fields:
        name = fields.take("name")
        for field in ("secret", "configMap"):
            inner = fields.inner(field)
            if inner is not None:
                with inner:
                    mode = int(inner.take("defaultMode", 0o644))
                    named = "secretName" if field == "secret" else "name"
                    return name, Projected((_read_keys(inner, field, named),), mode)
        empty = fields.inner("emptyDir")
        if empty is not None:
            with empty:
                medium = empty.one_of("medium", ("", "Memory"), "")
                return name, EmptyDir(medium == "Memory", empty.take("sizeLimit", None))
        claim = fields.inner("persistentVolumeClaim")
        if claim is not None:
            with claim:
                return name, Claim(claim.take("claimName"), claim.take("readOnly", default=False))
        projected = fields.inner("projected")
        if projected is not None:
            with projected:
                mode = int(projected.take("defaultMode", 0o644))
                sources = tuple(_read_projection(source) for source in projected.each("sources"))
                return name, Projected(sources, mode)
        raise fields.refusal()


def _read_keys(fields: Fields, field: str, named: str) -> Keys:
    paths, modes = {}, set()
    for item in fields.each("items"):
        with item:
            paths[item.take("key")] = item.take("path")
            modes.add(item.take("mode", None))
    if len(modes) > 1:
        raise NotUnderstood(f"{fields.where}.items: one mode for all, please.")
    return Keys(
        kind="Secret" if field == "secret" else "ConfigMap",
        name=fields.take(named),
        paths=paths or None,
        mode=modes.pop() if modes else None,
        optional=fields.take("optional", default=False),
    )


def _read_projection(fields: Fields) -> Keys | PodFields | Token:
    with fields:
        for field in ("secret", "configMap"):
            inner = fields.inner(field)
            if inner is not None:
                with inner:
                    return _read_keys(inner, field, "name")
        downward = fields.inner("downwardAPI")
        if downward is not None:
            with downward:
                paths = {}
                for item in downward.each("items"):
                    with item:
                        reference = Fields(item.take("fieldRef"), f"{item.where}.fieldRef")
                        with reference:
                            reference.one_of("apiVersion", ("v1",), "v1")
                            paths[item.take("path")] = reference.take("fieldPath")
                return PodFields(paths)
        token = fields.inner("serviceAccountToken")
        if token is not None:
            with token:
                token.not_acted_out("audience", "expirationSeconds")
                return Token(token.take("path"))
        raise fields.refusal()
