"""What KubeRay's operator makes of a RayCluster: pods, the head's service, the token's Secret.

After ray-project/kuberay, ray-operator/controllers/ray/common/pod.go, service.go and
utils/constant.go, as of v1.7.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..manifests.fields import Fields
from ..manifests.quantities import quantity, whole

_SHELL = ["/bin/bash", "-c", "--"]
_DOMAIN = "cluster.local"
_AUTOSCALER = (
    "ray kuberay-autoscaler --cluster-name $(RAY_CLUSTER_NAME)"
    " --cluster-namespace $(RAY_CLUSTER_NAMESPACE)"
)
_AGENT_PORT, _METRICS_PORT, _GCS_PORT = "52365", "8080", "6379"
_HEALTH = "/api/healthz"  # since Ray 2.53


@dataclass(frozen=True)
class WorkerGroup:
    """A group of workers.

    Attributes:
        replicas: how many there are until an autoscaler says otherwise.
        template: of their pods.
    """

    name: str
    replicas: int
    template: Mapping[str, Any]


@dataclass(frozen=True)
class RayCluster:
    """What the operator would make."""

    name: str
    head: Mapping[str, Any]
    groups: tuple[WorkerGroup, ...]
    service: Mapping[str, Any]
    token_secret: str | None


def read_ray_cluster(document: Mapping[str, Any], namespace: str) -> RayCluster:
    """Raises:
    NotUnderstood: it has what the runner does not act out.
    """
    name = document["metadata"]["name"]
    where = f"RayCluster/{name}"
    with Fields(document, where) as top:
        top.not_acted_out("apiVersion", "kind", "metadata")
        spec = Fields(top.take("spec"), f"{where}.spec")
    with spec:
        spec.not_acted_out("rayVersion", "upgradeStrategy")
        options = spec.inner("autoscalerOptions")
        autoscaled = bool(spec.take("enableInTreeAutoscaling", default=False))
        autoscaler, second = _autoscaler(options)
        never = autoscaled and second
        token_secret = None
        auth = spec.inner("authOptions")
        if auth is not None:
            with auth:
                if auth.one_of("mode", ("token", "disabled"), "disabled") == "token":
                    given = auth.take("secretName", "")
                    token_secret = given or name
                auth.take("secretName", None)
        address = f"{name}-head-svc.{namespace}.svc.{_DOMAIN}"
        head_spec = Fields(spec.take("headGroupSpec"), f"{where}.spec.headGroupSpec")
        with head_spec:
            head_spec.one_of("serviceType", ("ClusterIP",), "ClusterIP")
            params = head_spec.text_map("rayStartParams")
            _set_resources(params, head_spec.text_map("resources"))
            params.setdefault("dashboard-host", "0.0.0.0")
            if autoscaled:
                params["no-monitor"] = "true"
            head = _pod(
                name, "head", "headgroup", params, head_spec.take("template"), "", token_secret
            )
        head["spec"]["restartPolicy"] = "Never" if never else "Always"
        if autoscaled:
            _add_autoscaler(head["spec"], autoscaler, second, token_secret)
        groups = []
        for group in spec.each("workerGroupSpecs"):
            with group:
                group.not_acted_out("idleTimeoutSeconds", "priority")
                params = group.text_map("rayStartParams")
                _set_resources(params, group.text_map("resources"))
                params.setdefault("address", f"{address}:{_GCS_PORT}")
                group_name = group.take("groupName")
                template = _pod(
                    name,
                    "worker",
                    group_name,
                    params,
                    group.take("template"),
                    address,
                    token_secret,
                )
                template["spec"]["restartPolicy"] = "Never" if never else "Always"
                least = int(group.take("minReplicas", 0))
                most = int(group.take("maxReplicas", 2**31 - 1))
                replicas = int(group.take("replicas", 0))
                replicas = min(max(replicas, least), most)
                groups.append(WorkerGroup(group_name, replicas, template))
        return RayCluster(
            name=name,
            head=head,
            groups=tuple(groups),
            service=_head_service(name, head),
            token_secret=token_secret,
        )


def _head_service(name: str, head: Mapping[str, Any]) -> Mapping[str, Any]:
    declared = {
        port["name"]: port["containerPort"] for port in head["spec"]["containers"][0]["ports"]
    }
    usual = {"client": 10001, "dashboard": 8265, "gcs-server": 6379, "metrics": 8080, "serve": 8000}
    ports = {"metrics": int(_METRICS_PORT), **(declared or usual)}
    return {
        "kind": "Service",
        "metadata": {"name": f"{name}-head-svc"},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {
                "ray.io/cluster": name,
                "ray.io/node-type": "head",
                "ray.io/identifier": f"{name}-head",
                # Of the template's labels this one alone is followed (raycluster_controller.go).
                "app.kubernetes.io/name": head["metadata"]["labels"]["app.kubernetes.io/name"],
                "app.kubernetes.io/created-by": "kuberay-operator",
            },
            "ports": [{"name": port, "port": number} for port, number in ports.items()],
        },
    }


def _pod(
    cluster: str,
    kind: str,
    group: str,
    params: dict[str, str],
    template: Mapping[str, Any],
    address: str,
    token_secret: str | None,
) -> dict[str, Any]:
    pod = copy.deepcopy(dict(template))
    metadata = pod.setdefault("metadata", {})
    fixed = {
        "ray.io/node-type": kind,
        "ray.io/group": group,
        "ray.io/cluster": cluster,
    }
    metadata["labels"] = {
        "ray.io/is-ray-node": "yes",
        "ray.io/identifier": f"{cluster}-{kind}",
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
        **metadata.get("labels", {}),
        **fixed,
    }
    spec = pod["spec"]
    ray = spec["containers"][0]
    resources = ray.get("resources", {})
    command = _start_command(kind, params, resources)
    env = ray.setdefault("env", [])
    before = copy.deepcopy(env)
    token = _token_variables(token_secret)
    _add_missing(env, token)
    if kind == "worker":
        wait = (
            "SECONDS=0\nwhile true; do\n"
            f"if ray health-check --address {address}:{_GCS_PORT} >/dev/null 2>&1; then break; fi\n"
            'echo "$SECONDS seconds elapsed: Waiting for GCS to be ready."\nsleep 5\ndone\n'
        )
        waiting = {
            "name": "wait-gcs-ready",
            "image": ray["image"],
            "command": _SHELL,
            "args": [wait],
            "securityContext": copy.deepcopy(ray.get("securityContext")),
            "env": [*before, *token],
            "volumeMounts": copy.deepcopy(ray.get("volumeMounts", [])),
        }
        spec["initContainers"] = [*spec.get("initContainers", []), waiting]
    own = address.partition(".")[0]
    for container in spec.get("initContainers", []):
        container.setdefault("env", [])
        container["env"] += [
            {"name": "FQ_RAY_IP", "value": address},
            {"name": "RAY_IP", "value": own},
        ]
    ray["command"] = _SHELL
    ray["args"] = [f"ulimit -n ${{RAY_START_ULIMIT_OPEN_FILES:-65536}}; {command}"]
    if kind == "worker":
        env += [{"name": "FQ_RAY_IP", "value": address}, {"name": "RAY_IP", "value": own}]
    env += [
        _field("RAY_CLUSTER_NAME", "metadata.labels['ray.io/cluster']"),
        _field("RAY_CLUSTER_NAMESPACE", "metadata.namespace"),
        _field("RAY_CLOUD_INSTANCE_ID", "metadata.name"),
        _field("RAY_NODE_TYPE_NAME", "metadata.labels['ray.io/group']"),
        {"name": "KUBERAY_GEN_RAY_START_CMD", "value": command},
    ]
    _add_missing(
        env,
        [
            {"name": "RAY_PORT", "value": _GCS_PORT},
            {"name": "RAY_ADDRESS", "value": f"{address or '127.0.0.1'}:{_GCS_PORT}"},
            {"name": "RAY_USAGE_STATS_KUBERAY_IN_USE", "value": "1"},
            {"name": "RAY_DASHBOARD_ENABLE_K8S_DISK_USAGE", "value": "1"},
        ],
    )
    mounted = {mount["mountPath"] for mount in ray.get("volumeMounts", [])}
    if "plasma-directory" not in params and "/dev/shm" not in mounted:
        amounts = {**resources.get("requests", {}), **resources.get("limits", {})}
        folder = {"medium": "Memory"} | (
            {"sizeLimit": amounts["memory"]} if "memory" in amounts else {}
        )
        spec.setdefault("volumes", []).append({"name": "shared-mem", "emptyDir": folder})
        ray.setdefault("volumeMounts", []).append({"name": "shared-mem", "mountPath": "/dev/shm"})
    for probe, delay, failures in (("livenessProbe", 30, 120), ("readinessProbe", 10, 10)):
        ray.setdefault(
            probe,
            {
                "httpGet": {"path": _HEALTH, "port": int(params["dashboard-agent-listen-port"])},
                "initialDelaySeconds": delay,
                "timeoutSeconds": 5 if kind == "head" else 2,
                "periodSeconds": 5,
                "failureThreshold": failures,
            },
        )
    return pod


def _autoscaler(options: Fields | None) -> tuple[dict[str, Any], bool]:
    """The autoscaler's container as far as the options say; whether it is the second version."""
    container: dict[str, Any] = {"name": "autoscaler", "command": _SHELL, "args": [_AUTOSCALER]}
    if options is None:
        return container, False
    with options:
        # What the autoscaler itself reads of the RayCluster.
        options.not_acted_out("upscalingMode", "idleTimeoutSeconds", "imagePullPolicy")
        for field in ("image", "resources", "securityContext", "command", "args"):
            value = options.take(field, None)
            if value is not None:
                container[field] = value
        container["env"] = options.take("env", [])
        container["envFrom"] = options.take("envFrom", [])
        container["volumeMounts"] = options.take("volumeMounts", [])
        return container, options.one_of("version", ("v1", "v2"), "v1") == "v2"


def _add_autoscaler(
    spec: dict[str, Any], container: dict[str, Any], second: bool, token_secret: str | None
) -> None:
    ray = spec["containers"][0]
    container.setdefault("image", ray["image"])
    given = [
        _field("RAY_CLUSTER_NAME", "metadata.labels['ray.io/cluster']"),
        _field("RAY_CLUSTER_NAMESPACE", "metadata.namespace"),
        _field("RAY_HEAD_POD_NAME", "metadata.name"),
        {"name": "KUBERAY_CRD_VER", "value": "v1"},
        {"name": "KUBERAY_GEN_AUTOSCALER_START_CMD", "value": _AUTOSCALER},
    ]
    container["env"] = [*given, *_token_variables(token_secret), *container.get("env", [])]
    version = {"name": "RAY_enable_autoscaler_v2", "value": "true" if second else "false"}
    _add_missing(ray["env"], [version])
    # It writes logs that the head reads.
    for mounting in (ray, container):
        mounts = mounting.setdefault("volumeMounts", [])
        if "/tmp/ray" not in {mount["mountPath"] for mount in mounts}:
            mounts.append({"name": "ray-logs", "mountPath": "/tmp/ray"})
    spec.setdefault("volumes", []).append({"name": "ray-logs", "emptyDir": {}})
    spec["containers"].append(container)


def _set_resources(params: dict[str, str], resources: Mapping[str, str]) -> None:
    """A group's own resources go before its parameters: updateRayStartParamsResources."""
    custom = {}
    for name, amount in resources.items():
        if name.lower() == "cpu":
            params["num-cpus"] = str(whole(amount))
        elif name.lower() == "memory":
            params["memory"] = str(whole(amount))
        elif name.lower().endswith("gpu"):
            params["num-gpus"] = str(whole(amount))
        else:
            custom[name] = float(quantity(amount))
    if custom:
        params["resources"] = f"'{json.dumps(custom, separators=(',', ':'))}'"


def _start_command(kind: str, params: dict[str, str], resources: Mapping[str, Any]) -> str:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    params.setdefault("metrics-export-port", _METRICS_PORT)
    params["block"] = "true"
    params.setdefault("dashboard-agent-listen-port", _AGENT_PORT)
    for amounts in (limits, requests):
        if quantity(amounts.get("cpu", 0)):
            params.setdefault("num-cpus", str(whole(amounts["cpu"])))
    if quantity(limits.get("memory", 0)):
        params.setdefault("memory", str(whole(limits["memory"])))
    for resource, amount in sorted(limits.items()):
        if resource.endswith("gpu") and quantity(amount):
            params.setdefault("num-gpus", str(whole(amount)))
    flags = []
    for key, value in sorted(params.items()):
        # true and false are flags without a value, but for these: convertParamMap.
        switch = key not in ("log-color", "include-dashboard", "include-log-monitor")
        if value.lower() == "false" and switch:
            continue
        flags.append(f"--{key}" if value.lower() == "true" and switch else f"--{key}={value}")
    return f"ray start {'--head ' if kind == 'head' else ''}{' '.join(flags)}"


def _token_variables(secret: str | None) -> list[dict[str, Any]]:
    if secret is None:
        return []
    reference = {"secretKeyRef": {"name": secret, "key": "auth_token"}}
    return [
        {"name": "RAY_AUTH_MODE", "value": "token"},
        {"name": "RAY_AUTH_TOKEN", "valueFrom": reference},
    ]


def _add_missing(env: list[dict[str, Any]], further: list[dict[str, Any]]) -> None:
    names = {variable["name"] for variable in env}
    env += [variable for variable in further if variable["name"] not in names]


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
