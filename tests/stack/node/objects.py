"""ConfigMaps and Secrets: what variables and volumes are filled from."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from ..manifests.fields import Fields, NotUnderstood

Stored = dict[tuple[str, str], Mapping[str, bytes]]
"""Contents by kind and name."""


class Missing(Exception):
    """A pod refers to an object that is not there, as `CreateContainerConfigError` says."""


def read_stored(document: Mapping[str, Any]) -> Mapping[str, bytes]:
    """What a ConfigMap or Secret holds.

    Raises:
        NotUnderstood: it is not what the API server would take.
    """
    kind = document["kind"]
    where = f"{kind}/{document['metadata']['name']}"
    contents: dict[str, bytes] = {}
    with Fields(document, where) as fields:
        fields.not_acted_out("apiVersion", "kind", "metadata", "type", "immutable")
        if kind == "ConfigMap":
            contents |= {key: text.encode() for key, text in fields.text_map("data").items()}
            binary = fields.text_map("binaryData")
        else:
            contents |= {key: text.encode() for key, text in fields.text_map("stringData").items()}
            binary = fields.text_map("data")
    for key, text in binary.items():
        try:
            contents.setdefault(key, base64.b64decode(text, validate=True))
        except binascii.Error as error:
            raise NotUnderstood(f"{where}: {key} is not base64: {error}") from None
    return contents


def contents_of(stored: Stored, kind: str, name: str, *, optional: bool) -> Mapping[str, bytes]:
    """An object's contents; none where it is optional and absent.

    Raises:
        Missing: it is absent and needed.
    """
    found = stored.get((kind, name))
    if found is None and not optional:
        raise Missing(f"{kind} {name} does not exist")
    return found or {}
