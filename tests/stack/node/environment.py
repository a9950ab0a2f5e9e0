"""The environment that a container's process gets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..manifests.fields import NotUnderstood
from ..manifests.pods import Container
from ..manifests.quantities import quantity
from ..manifests.variables import FieldOf, KeyOf, ResourceOf
from .objects import Missing, Stored, contents_of

_REFERENCE = re.compile(r"\$\$|\$\(([^()\s]+)\)")
_BY_KEY = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


@dataclass(frozen=True)
class PodFacts:
    """What fields of a pod name."""

    name: str
    namespace: str
    address: str
    host_address: str
    service_account: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    def field(self, path: str) -> str:
        """A field's value.

        Raises:
            NotUnderstood: the runner does not know the field.
        """
        by_key = _BY_KEY.fullmatch(path)
        if by_key:
            return (self.labels if by_key[1] == "labels" else self.annotations).get(by_key[2], "")
        if path in ("metadata.labels", "metadata.annotations"):
            chosen = self.labels if path.endswith("labels") else self.annotations
            return "".join(f'{key}="{value}"\n' for key, value in sorted(chosen.items()))
        values = {
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
            "metadata.uid": self.name,
            "spec.nodeName": "node",
            "spec.serviceAccountName": self.service_account,
            "status.podIP": self.address,
            "status.podIPs": self.address,
            "status.hostIP": self.host_address,
        }
        if path not in values:
            raise NotUnderstood(f"A pod's field {path} is not known to the runner.")
        return values[path]


def expand(text: str, values: Mapping[str, str]) -> str:
    """`$(NAME)` by its value where there is one, else as it stands; `$$` by `$`."""

    def value_of(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else values.get(match[1], match[0])

    return _REFERENCE.sub(value_of, text)


def service_links(services: Iterable[tuple[str, str, Iterable[tuple[str, int]]]]) -> dict[str, str]:
    """The variables that every pod gets for each service with an address: name, address, ports.

    `TUNESMITH_PORT=tcp://...` for a service `tunesmith` is what a setting may collide with.
    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    variables = {}
    for name, address, ports in services:
        prefix, listed = name.upper().replace("-", "_"), list(ports)
        if not listed:
            continue
        variables[f"{prefix}_SERVICE_HOST"] = address
        variables[f"{prefix}_SERVICE_PORT"] = str(listed[0][1])
        variables[f"{prefix}_PORT"] = f"tcp://{address}:{listed[0][1]}"
        for port_name, port in listed:
            if port_name:
                suffix = port_name.upper().replace("-", "_")
                variables[f"{prefix}_SERVICE_PORT_{suffix}"] = str(port)
            variables[f"{prefix}_PORT_{port}_TCP"] = f"tcp://{address}:{port}"
            variables[f"{prefix}_PORT_{port}_TCP_PROTO"] = "tcp"
            variables[f"{prefix}_PORT_{port}_TCP_PORT"] = str(port)
            variables[f"{prefix}_PORT_{port}_TCP_ADDR"] = address
    return variables


def environment_of(
    container: Container,
    *,
    image: Mapping[str, str],
    links: Mapping[str, str],
    stored: Stored,
    facts: PodFacts,
    siblings: Mapping[str, Container],
) -> dict[str, str]:
    """Image, then links to services, then `envFrom`, then `env`, each over the one before.

    Raises:
        Missing: an object or key that is referred to is not there.
        NotUnderstood: a source that the runner does not know.
    """
    result = {**image, **links}
    for source in container.variables_from:
        contents = contents_of(stored, source.kind, source.name, optional=source.optional)
        for key, content in contents.items():
            if _NAME.fullmatch(source.prefix + key):  # others are passed over, with an event
                result[source.prefix + key] = content.decode()
    for variable in container.variables:
        value = variable.value
        if isinstance(value, str):
            result[variable.name] = expand(value, result)
        elif isinstance(value, KeyOf):
            contents = contents_of(stored, value.kind, value.name, optional=value.optional)
            if value.key in contents:
                result[variable.name] = contents[value.key].decode()
            elif not value.optional:
                raise Missing(f"{value.kind} {value.name} has no key {value.key}")
        elif isinstance(value, FieldOf):
            result[variable.name] = facts.field(value.path)
        else:
            of = siblings[value.container] if value.container else container
            result[variable.name] = _resource(value, of)
    return result


def _resource(wanted: ResourceOf, container: Container) -> str:
    where, _, name = wanted.resource.partition(".")
    amounts = container.limits if where == "limits" else container.requests
    if where not in ("limits", "requests") or name not in amounts:
        raise NotUnderstood(f"{container.name} has no {wanted.resource}.")
    return str(math.ceil(quantity(amounts[name]) / quantity(wanted.divisor)))
