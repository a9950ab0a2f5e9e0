"""Every object is what Kubernetes and its operators take, and has no field that they would drop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import utils as schemas
from tests.charts.rendering import CHART, MATRIX, ROOT, Object, render

OLDEST = (1, 30)
VERSIONS = [
    version
    for version in dict.fromkeys(map(schemas.major_minor, schemas.all_versions()))
    if tuple(map(int, version.split("."))) >= OLDEST
]
CRDS = ROOT.parent / "shared" / "kuberay-crds" / "rayclusters.yaml"
OPERATORS = {
    "RayCluster": "ray.io/v1",
    "ScaledObject": "keda.sh/v1alpha1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "BackendTLSPolicy": "gateway.networking.k8s.io/v1",
    "Certificate": "cert-manager.io/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PodMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}


def test_the_newest_kubernetes_is_checked() -> None:
    assert VERSIONS[0] == "1.30"
    assert len(VERSIONS) >= 8


@cache
def distinct_objects() -> list[Object]:
    """Every object that any of the matrix renders, each once; the operators' own left out."""
    found = {
        json.dumps(document, sort_keys=True): document
        for values in MATRIX.values()
        for document in render(values)
        if document["kind"] not in OPERATORS
    }
    return list(found.values())


@pytest.fixture(scope="module", autouse=True)
def schemas_read_once() -> Iterator[None]:
    """kubernetes-validate reads megabytes of JSON for each object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemas, "schema_contents", cache(schemas.schema_contents))
        yield


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(version: str) -> None:
    for document in distinct_objects():
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_the_check_refuses_unknown_fields(version: str) -> None:
    (service, *_) = (o for o in distinct_objects() if o["kind"] == "Service")
    wrong = {**service, "spec": {**service["spec"], "clusterIp": "None"}}
    with pytest.raises(kubernetes_validate.ValidationError, match="clusterIp"):
        kubernetes_validate.validate(wrong, version, strict=True)


@pytest.mark.parametrize("values", MATRIX)
def test_pods_within_a_ray_cluster_are_what_kubernetes_takes(values: str) -> None:
    for document in render(MATRIX[values]):
        if document["kind"] != "RayCluster":
            continue
        spec = document["spec"]
        for group in [spec["headGroupSpec"], *(spec["workerGroupSpecs"] or ())]:
            pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
            pod["metadata"] = {**pod["metadata"], "name": "pod"}
            kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("values", MATRIX)
def test_operators_objects_have_their_api_version(values: str) -> None:
    for document in render(MATRIX[values]):
        if document["kind"] in OPERATORS:
            assert document["apiVersion"] == OPERATORS[document["kind"]]


def strict(schema: Any) -> Any:
    """An OpenAPI schema as JSON Schema that refuses unknown fields."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    result = {key: strict(value) for key, value in schema.items()}
    if result.get("x-kubernetes-int-or-string"):
        result.pop("type", None)
    if "properties" in result and "additionalProperties" not in result:
        result["additionalProperties"] = bool(result.get("x-kubernetes-preserve-unknown-fields"))
    return result


@cache
def ray_cluster_schema() -> jsonschema.Draft202012Validator:
    """KubeRay's own schema of a RayCluster, v1."""
    if not CRDS.is_file():
        pytest.skip(
            "KubeRay's CRDs are missing: put helm-chart/kuberay-operator/crds/"
            f"ray.io_rayclusters.yaml of ray-project/kuberay at {CRDS}."
        )
    crd = yaml.load(CRDS.read_text(), yaml.CSafeLoader)
    (version,) = (v for v in crd["spec"]["versions"] if v["name"] == "v1")
    schema = strict(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(schema)


def complaints(document: Object) -> list[str]:
    found = ray_cluster_schema().iter_errors(document)
    return [f"{error.json_path}: {error.message[:200]}" for error in found]


@pytest.mark.parametrize("values", MATRIX)
def test_kuberay_takes_the_ray_cluster(values: str) -> None:
    (cluster,) = (d for d in render(MATRIX[values]) if d["kind"] == "RayCluster")
    assert complaints(cluster) == []


def test_the_check_of_a_ray_cluster_refuses_unknown_fields() -> None:
    (cluster,) = (d for d in render(MATRIX["minimal"]) if d["kind"] == "RayCluster")
    cluster["spec"]["headGroupSpec"]["template"]["spec"]["hostNetworking"] = True
    assert "hostNetworking" in complaints(cluster)[0]


@pytest.mark.parametrize(
    "path", sorted((CHART / "files" / "rules").glob("*.yaml")), ids=lambda p: p.stem
)
def test_rules_come_through_whole(path: Path) -> None:
    rules = [d for d in render(MATRIX["production"]) if d["kind"] == "PrometheusRule"]
    assert yaml.safe_load(path.read_text()) in [rule["spec"] for rule in rules]
