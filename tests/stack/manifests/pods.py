"""A pod as its manifest describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .actions import Action, Lifecycle, Probe, read_lifecycle, read_probe
from .fields import Fields, NotUnderstood
from .variables import Variable, VariablesFrom, read_variable, read_variables_from
from .volumes import VolumeMount, VolumeSource, read_mount, read_volume

__all__ = ["Action", "Container", "Pod", "Security", "read_pod"]


@dataclass(frozen=True)
class Security:
    """Who a container's process is, and what it may do. None: as the image says."""

    uid: int | None = None
    gid: int | None = None
    fs_group: int | None = None
    groups: tuple[int, ...] = ()
    must_not_be_root: bool = False
    read_only_root: bool = False
    no_new_privileges: bool = False
    drop_all: bool = False


@dataclass(frozen=True)
class Container:
    """One container.

    Attributes:
        command: replaces the image's entry point where it is given; `args` its command.
        ports: by name.
        limits: quantities as written.
    """

    name: str
    image: str
    command: tuple[str, ...] | None
    args: tuple[str, ...] | None
    directory: str | None
    variables: tuple[Variable, ...]
    variables_from: tuple[VariablesFrom, ...]
    mounts: tuple[VolumeMount, ...]
    ports: Mapping[str, int]
    security: Security
    startup: Probe | None
    readiness: Probe | None
    liveness: Probe | None
    lifecycle: Lifecycle
    limits: Mapping[str, Any]
    requests: Mapping[str, Any]


@dataclass(frozen=True)
class Pod:
    """The pod of a template.

    Attributes:
        grace: seconds between the order to end and SIGKILL.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    init_containers: tuple[Container, ...]
    containers: tuple[Container, ...]
    volumes: Mapping[str, VolumeSource]
    restart: str = "Always"
    grace: float = 30.0
    service_account: str = "default"
    has_token: bool = True
    service_links: bool = True
    hostname: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


def read_pod(template: Mapping[str, Any], where: str) -> Pod:
    """The pod of a template: `metadata` and `spec`.

    Raises:
        NotUnderstood: it has what the runner does not act out.
    """
    with Fields(template, where) as top:
        metadata = top.inner("metadata") or Fields({}, where)
        with metadata:
            labels = metadata.text_map("labels")
            annotations = metadata.text_map("annotations")
            metadata.not_acted_out("name", "creationTimestamp")
        spec = Fields(top.take("spec"), f"{where}.spec")
    with spec:
        defaults = _read_security(spec.inner("securityContext"), Security())
        # Where it runs and who goes first: one machine has room for all.
        spec.not_acted_out(
            "affinity",
            "nodeSelector",
            "tolerations",
            "topologySpreadConstraints",
            "priorityClassName",
            "runtimeClassName",
            "schedulerName",
            "imagePullSecrets",
        )
        for refused in ("hostNetwork", "hostPID", "hostIPC"):
            spec.one_of(refused, (False,), default=False)
        return Pod(
            labels=labels,
            annotations=annotations,
            init_containers=tuple(
                _read_container(c, defaults) for c in spec.each("initContainers")
            ),
            containers=tuple(_read_container(c, defaults) for c in spec.each("containers")),
            volumes=dict(read_volume(volume) for volume in spec.each("volumes")),
            restart=spec.one_of("restartPolicy", ("Always", "OnFailure", "Never"), "Always"),
            grace=float(spec.take("terminationGracePeriodSeconds", 30)),
            service_account=spec.take("serviceAccountName", "default"),
            has_token=spec.take("automountServiceAccountToken", default=True),
            service_links=spec.take("enableServiceLinks", default=True),
            hostname=spec.take("hostname", None),
            raw=template,
        )


def _read_container(fields: Fields, defaults: Security) -> Container:
    with fields:
        # What the image is fetched by, and devices: there are none here.
        fields.not_acted_out(
            "imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy"
        )
        resources = fields.inner("resources") or Fields({}, fields.where)
        with resources:
            limits, requests = resources.take("limits", {}), resources.take("requests", {})
        ports = {}
        for port in fields.each("ports"):
            with port:
                number = port.take("containerPort")
                ports[port.take("name", str(number))] = number
                port.one_of("protocol", ("TCP",), "TCP")
        return Container(
            name=fields.take("name"),
            image=fields.take("image"),
            command=_words(fields, "command"),
            args=_words(fields, "args"),
            directory=fields.take("workingDir", None),
            variables=tuple(read_variable(entry) for entry in fields.each("env")),
            variables_from=tuple(read_variables_from(entry) for entry in fields.each("envFrom")),
            mounts=tuple(read_mount(entry) for entry in fields.each("volumeMounts")),
            ports=ports,
            security=_read_security(fields.inner("securityContext"), defaults),
            startup=read_probe(fields.inner("startupProbe")),
            readiness=read_probe(fields.inner("readinessProbe")),
            liveness=read_probe(fields.inner("livenessProbe")),
            lifecycle=read_lifecycle(fields.inner("lifecycle")),
            limits=limits,
            requests=requests,
        )


def _words(fields: Fields, name: str) -> tuple[str, ...] | None:
    words = fields.take(name, None)
    if words is None:
        return None
    for word in words:
        if not isinstance(word, str):
            raise NotUnderstood(f"{fields.where}.{name} has {word!r}, which is no string.")
    return tuple(words)


def _read_security(fields: Fields | None, defaults: Security) -> Security:
    if fields is None:
        return defaults
    with fields:
        # The kernel's filter is the container runtime's to set; tests of the documents demand it.
        fields.not_acted_out("seccompProfile", "fsGroupChangePolicy", "seLinuxOptions")
        fields.one_of("privileged", (False,), default=False)
        capabilities = fields.inner("capabilities") or Fields({}, fields.where)
        with capabilities:
            dropped = capabilities.take("drop", [])
            if capabilities.take("add", []):
                raise NotUnderstood(f"{capabilities.where}.add: no container here gets more.")
        escalation = fields.take("allowPrivilegeEscalation", not defaults.no_new_privileges)
        return Security(
            uid=fields.take("runAsUser", defaults.uid),
            gid=fields.take("runAsGroup", defaults.gid),
            fs_group=fields.take("fsGroup", defaults.fs_group),
            groups=tuple(fields.take("supplementalGroups", defaults.groups)),
            must_not_be_root=fields.take("runAsNonRoot", defaults.must_not_be_root),
            read_only_root=fields.take("readOnlyRootFilesystem", defaults.read_only_root),
            no_new_privileges=not escalation,
            drop_all="ALL" in dropped or defaults.drop_all,
        )
