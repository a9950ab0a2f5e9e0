"""Manifests are read whole or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from ..control.kuberay import read_ray_cluster
from ..control.replicas import read_deployment
from ..manifests.fields import NotUnderstood
from ..manifests.pods import read_pod
from ..manifests.quantities import quantity, share, whole
from ..node.dockerfile import ImageConfig, read_dockerfile
from ..node.environment import PodFacts, environment_of, expand, service_links


def template(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "a", "image": "i", **container}]}}


@pytest.mark.parametrize(
    ("pod", "named"),
    [
        (template(commands=["x"]), "commands"),
        (template(livenessProbe={"httpGet": {"port": 1, "paht": "/"}}), "paht"),
        (template(env=[{"name": "A", "valueFrom": {"secretRef": {"name": "s"}}}]), "secretRef"),
        (template(env=[{"name": "A", "value": 8000}]), "8000"),
        (template(securityContext={"runAsUsr": 1}), "runAsUsr"),
        ({"spec": {"containers": [], "volumes": [{"name": "v", "hostPath": {}}]}}, "hostPath"),
        ({"spec": {"containers": [], "hostNetwork": True}}, "hostNetwork"),
    ],
)
def test_what_is_not_known_is_refused_by_its_place(pod: dict[str, Any], named: str) -> None:
    with pytest.raises(NotUnderstood, match=named):
        read_pod(pod, "Deployment/x")


def test_a_pods_security_holds_for_containers_that_say_nothing_else() -> None:
    pod = read_pod(
        {
            "spec": {
                "securityContext": {"runAsUser": 7, "fsGroup": 9, "runAsNonRoot": True},
                "containers": [
                    {"name": "a", "image": "i", "securityContext": {"runAsUser": 8}},
                    {"name": "b", "image": "i"},
                ],
            }
        },
        "x",
    )
    first, second = (container.security for container in pod.containers)
    assert (first.uid, first.fs_group, first.must_not_be_root) == (8, 9, True)
    assert (second.uid, second.fs_group) == (7, 9)


def test_quantities_are_kubernetes() -> None:
    assert [whole(text) for text in ("1500m", "2Gi", "3", "1k", "1.5")] == [2, 2**31, 3, 1000, 2]
    assert quantity("250m") * 4 == 1
    assert (share("25%", 2, up=True), share("25%", 2, up=False), share(1, 9, up=True)) == (1, 0, 1)
    with pytest.raises(NotUnderstood):
        quantity("2Gib")


def test_references_are_expanded_as_kubernetes_does() -> None:
    values = {"A": "1", "B": "2"}
    assert expand("$(A)-$(C)-$$(A)-$(B)$", values) == "1-$(C)-$(A)-2$"


def test_a_services_name_becomes_variables_that_settings_may_collide_with() -> None:
    links = service_links([("tunesmith", "10.0.0.1", [("http", 80)])])
    assert links["TUNESMITH_PORT"] == "tcp://10.0.0.1:80"
    assert links["TUNESMITH_SERVICE_PORT_HTTP"] == "80"


def test_variables_come_from_image_links_maps_and_the_container_in_that_order() -> None:
    pod = read_pod(
        template(
            envFrom=[{"configMapRef": {"name": "m"}}],
            env=[
                {"name": "URL", "value": "http://$(IP):$(PORT)"},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                {"name": "LATER", "value": "$(IP)"},
                {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ],
        ),
        "x",
    )
    facts = PodFacts("p", "n", "10.0.0.9", "10.0.0.1", "default", {}, {})
    environment = environment_of(
        pod.containers[0],
        image={"PATH": "/bin", "PORT": "1", "LINK": "image"},
        links={"LINK": "link", "PORT": "2"},
        stored={("ConfigMap", "m"): {"PORT": b"3"}, ("Secret", "s"): {"k": b"secret"}},
        facts=facts,
        siblings={},
    )
    assert environment == {
        "PATH": "/bin",
        "LINK": "link",
        "PORT": "3",
        "URL": "http://$(IP):3",  # a variable that comes later is not known yet
        "IP": "10.0.0.9",
        "LATER": "10.0.0.9",
        "KEY": "secret",
    }


def test_a_rolling_update_is_read_with_kubernetes_defaults() -> None:
    document = {
        "kind": "Deployment",
        "metadata": {"name": "x"},
        "spec": {"replicas": 3, "template": template(), "selector": {}},
    }
    read = read_deployment(document)
    assert (read.surge, read.unavailable, read.recreate) == ("25%", "25%", False)


def ray_cluster(**spec: Any) -> dict[str, Any]:
    head = {
        "metadata": {"labels": {"app.kubernetes.io/name": "ours"}},
        "spec": {
            "containers": [
                {
                    "name": "ray-head",
                    "image": "i",
                    "ports": [{"name": "client", "containerPort": 10001}],
                    "resources": {"limits": {"cpu": "1500m", "memory": "1Gi"}},
                }
            ]
        },
    }
    worker = {
        "spec": {
            "containers": [
                {
                    "name": "w",
                    "image": "i",
                    "env": [{"name": "RAY_ADDRESS", "value": "given"}],
                    "resources": {"requests": {"cpu": 2}, "limits": {"nvidia.com/gpu": 1}},
                }
            ]
        }
    }
    group = {"groupName": "g", "minReplicas": 1, "replicas": 0, "template": worker}
    return {
        "kind": "RayCluster",
        "metadata": {"name": "r"},
        "spec": {
            "headGroupSpec": {"rayStartParams": {"no-monitor": "true"}, "template": head},
            "workerGroupSpecs": [group | {"rayStartParams": {"log-color": "false"}}],
            "authOptions": {"mode": "token"},
            **spec,
        },
    }


def test_ray_is_started_as_kuberay_starts_it() -> None:
    ray = read_ray_cluster(ray_cluster(), "ns")
    head = read_pod(ray.head, "head").containers[0]
    assert head.command == ("/bin/bash", "-c", "--")
    assert head.args is not None
    assert head.args[0].startswith(
        "ulimit -n ${RAY_START_ULIMIT_OPEN_FILES:-65536}; ray start --head"
    )
    for flag in ("--block", "--no-monitor", "--num-cpus=2", "--memory=1073741824"):
        assert f" {flag}" in head.args[0]
    worker = read_pod(ray.groups[0].template, "worker")
    assert worker.containers[0].args is not None
    for flag in (
        "--address=r-head-svc.ns.svc.cluster.local:6379",
        "--num-gpus=1",
        "--num-cpus=2",
        "--log-color=false",
    ):
        assert f" {flag}" in worker.containers[0].args[0]
    assert [container.name for container in worker.init_containers] == ["wait-gcs-ready"]
    given = {v.name: v.value for v in worker.containers[0].variables}
    assert given["RAY_ADDRESS"] == "given"
    assert given["RAY_AUTH_MODE"] == "token"
    assert (ray.token_secret, ray.groups[0].replicas) == ("r", 1)
    assert ray.service["spec"]["selector"]["app.kubernetes.io/name"] == "ours"
    assert [
        port["number" if "number" in port else "port"] for port in ray.service["spec"]["ports"]
    ] == [
        8080,
        10001,
    ]


def test_the_second_autoscaler_has_ended_pods_replaced_not_restarted() -> None:
    options = {"enableInTreeAutoscaling": True, "autoscalerOptions": {"version": "v2"}}
    ray = read_ray_cluster(ray_cluster(**options), "ns")
    assert ray.head["spec"]["restartPolicy"] == "Never"
    assert ray.groups[0].template["spec"]["restartPolicy"] == "Never"
    head = read_pod(ray.head, "head")
    ours, beside = head.containers
    assert beside.args == (
        "ray kuberay-autoscaler --cluster-name $(RAY_CLUSTER_NAME)"
        " --cluster-namespace $(RAY_CLUSTER_NAMESPACE)",
    )
    assert beside.image == ours.image
    assert {"RAY_AUTH_TOKEN", "RAY_HEAD_POD_NAME"} <= {v.name for v in beside.variables}
    logs = [{m.volume for m in c.mounts if m.path == "/tmp/ray"} for c in head.containers]
    assert logs == [{"ray-logs"}, {"ray-logs"}]


def test_a_dockerfiles_last_stage_is_what_runs() -> None:
    text = """
# syntax=docker/dockerfile:1
ARG PYTHON=3.11
FROM docker.io/library/python:${PYTHON}-slim AS build
ENV ONLY_HERE=1
FROM docker.io/library/python:${PYTHON}-slim AS base
ARG VENV=/opt/x
ENV VIRTUAL_ENV=$VENV \\
    NAME="two words"
ENV PATH="$VIRTUAL_ENV/bin:$PATH"
FROM base
COPY --from=build /a /b
WORKDIR /srv
USER 10001:10001
ENTRYPOINT ["python", "-m"]
CMD ["x"]
"""
    config = read_dockerfile(text, {"python": ImageConfig(environment={"PATH": "/usr/bin"})})
    assert config == ImageConfig(
        environment={"PATH": "/opt/x/bin:/usr/bin", "VIRTUAL_ENV": "/opt/x", "NAME": "two words"},
        entrypoint=("python", "-m"),
        command=("x",),
        directory="/srv",
        user="10001:10001",
    )
