"""The chart as Helm renders it, for tests: values in, Kubernetes' objects out."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "tunesmith"
READY_MADE = sorted(path.stem for path in (CHART / "values").glob("*.yaml"))

Object = dict[str, Any]


@cache
def _chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def ready_made(name: str) -> Object:
    """The values of charts/tunesmith/values/NAME.yaml."""
    values: Object = yaml.safe_load((CHART / "values" / f"{name}.yaml").read_text())
    return values


def changed(values: Object, *changes: Object) -> Object:
    """`values` with each of `changes` laid over it, as Helm lays value files over each other."""
    result = deepcopy(values)
    for change in changes:
        _lay_over(result, change)
    return result


def _lay_over(below: Object, above: Object) -> None:
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(key), dict):
            _lay_over(below[key], value)
        else:
            below[key] = deepcopy(value)


def render(values: Object, *, name: str = "tunesmith", namespace: str = "ai") -> list[Object]:
    """All objects of a release, hooks and tests too.

    Raises:
        helm_python.HelmError: the chart refuses the values; the message says why.
    """
    rendered = _chart().render(values, name=name, namespace=namespace)
    return [
        document
        for path, text in sorted(rendered.items())
        if path.endswith(".yaml")
        for document in yaml.load_all(text, yaml.CSafeLoader)
        if document
    ]


def refusal(values: Object) -> str:
    """What Helm says when it refuses the values.

    Raises:
        AssertionError: it renders them.
    """
    try:
        render(values)
    except helm_python.HelmError as error:
        return str(error)
    raise AssertionError("the chart renders these values")


def one(objects: list[Object], kind: str, name: str) -> Object:
    """The object of a kind and a name."""
    found = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects {kind} {name}"
    return found[0]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """All objects of a kind."""
    return [o for o in objects if o["kind"] == kind]


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod that the objects would make: where it is from, and its template or itself."""
    for o in objects:
        where = f"{o['kind']} {o['metadata']['name']}"
        if o["kind"] == "Pod":
            yield where, o
        elif o["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield where, o["spec"]["template"]
        elif o["kind"] == "CronJob":
            yield where, o["spec"]["jobTemplate"]["spec"]["template"]
        elif o["kind"] == "RayCluster":
            yield f"{where} head", o["spec"]["headGroupSpec"]["template"]
            for group in o["spec"].get("workerGroupSpecs") or ():
                yield f"{where} {group['groupName']}", group["template"]


def containers(objects: list[Object], *, init: bool = True) -> Iterator[tuple[str, Object]]:
    """Every container of every pod, the ones before the start too where `init`."""
    for where, pod in pods(objects):
        spec = pod["spec"]
        for container in [*(spec.get("initContainers", ()) if init else ()), *spec["containers"]]:
            yield f"{where} {container['name']}", container


def environment(container: Object) -> dict[str, Any]:
    """A container's variables by name: their values, or where these are from."""
    return {v["name"]: v.get("value", v.get("valueFrom")) for v in container.get("env", ())}


_KEDA = {"kind": "keda", "min": 0, "max": 3, "prometheusUrl": "http://prometheus:9090"}

MATRIX: dict[str, Object] = {name: ready_made(name) for name in READY_MADE}
"""Values that are rendered and checked: the ready-made ones, and what they leave out."""
MATRIX |= {
    "everything on": changed(
        ready_made("production"),
        {
            "commonLabels": {"team": "ai"},
            "podLabels": {"azure.workload.identity/use": "true"},
            "fullnameOverride": "a-name-that-is-as-long-as-it-may-be",
            "gateway": {
                "ingress": {"enabled": False},
                "httpRoute": {
                    "enabled": True,
                    "parentRefs": [{"name": "public", "namespace": "gateways"}],
                    "hostnames": ["tunesmith.example.com"],
                },
                "extraEnv": [{"name": "MALLOC_ARENA_MAX", "value": "2"}],
                "extraVolumes": [{"name": "prices", "configMap": {"name": "prices"}}],
                "extraVolumeMounts": [{"name": "prices", "mountPath": "/prices"}],
                "priorityClassName": "high",
                "podAnnotations": {"example.com/scrape": "no"},
            },
            "evaluator": {"judgeKey": {"existingSecret": "judge"}},
            "settings": {
                "judge_url": "https://judge.example.com/v1",
                "price_sheet": "/prices/sheet.toml",
                "trackers": ["mlflow"],
                "mlflow_tracking_uri": "https://mlflow.example.com",
                "stored_bytes": 1_000_000_000_000,
                "cohort_idle_seconds": 0.5,
                "share_prefix_cache": False,
            },
            "tracing": {"otlpEndpoint": "http://collector.monitoring:4318"},
            "tls": {
                "caConfigMap": "authorities",
                "internal": {
                    "enabled": True,
                    "issuerRef": {"name": "inside", "kind": "ClusterIssuer"},
                    "caConfigMap": "inside",
                    "transition": True,
                },
            },
            "ray": {"tls": {"enabled": True}, "auth": {"existingSecret": "ray-token"}},
            "images": {"pullSecrets": ["registry"]},
            "weights": {"hubTokenSecret": "hub", "hubEndpoint": "https://hub.internal"},
        },
    ),
    "hpa and gcs": changed(
        ready_made("single-gpu"),
        {
            "storage": {
                "url": "gs://bucket/prefix",
                "gcs": {"existingSecret": "gcs"},
                "volume": {"enabled": False},
            },
            "engineDefaults": {"autoscaling": {"kind": "hpa", "max": 2}},
            "networkPolicy": {"enabled": False},
            "serviceAccounts": {"create": False},
            "smokeTest": {"enabled": False},
            "security": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
            "tls": {
                "internal": {
                    "enabled": True,
                    "gateway": {"existingSecret": "gateway-tls"},
                    "engines": {"existingSecret": "engines-tls"},
                }
            },
            "backup": {
                "enabled": True,
                "place": "gs://backups/prefix",
                "gcs": {"existingSecret": "gcs-backup"},
                "temporary": {"storageClassName": "fast"},
            },
        },
    ),
    "to zero on one node": changed(
        ready_made("minimal"), {"bases": {"pocket": {"engine": {"autoscaling": _KEDA}}}}
    ),
}
