"""What the chart says of the code is what the code says: arguments, settings, commands, paths."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.charts.rendering import (
    CHART,
    MATRIX,
    READY_MADE,
    ROOT,
    Object,
    changed,
    containers,
    environment,
    of_kind,
    one,
    ready_made,
    render,
)
from typer.main import get_command

from tunesmith.platform.cli import app
from tunesmith.platform.settings import Settings
from tunesmith.workers.engine.command import engine_environment, engine_flags

chart = runpy.run_path(str(ROOT / "scripts" / "chart.py"))


def container(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = one(objects, kind, name)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_a_cpu_engine_is_started_as_the_platform_starts_it() -> None:
    engine = container(render(ready_made("minimal")), "Deployment", "tunesmith-engine-pocket")
    settings = Settings(engine_max_loras=4, engine_max_cpu_loras=16)
    assert engine["command"] == ["vllm", "serve"]
    assert engine["args"] == [
        "/models/pocket",
        "--host",
        "0.0.0.0",
        "--port",
        "8000",
        *engine_flags(settings, "tunesmith-pocket", 1024, on_gpu=False),
        "--shutdown-timeout",
        "600",
    ]


def test_a_gpu_engine_is_started_as_the_platform_starts_it() -> None:
    values = changed(
        ready_made("single-gpu"),
        {"bases": {"qwen-7b": {"engine": {"gpus": 2, "extraArgs": ["--swap-space", "8"]}}}},
    )
    engine = container(render(values), "Deployment", "tunesmith-engine-qwen-7b")
    settings = Settings(
        engine_max_loras=8,
        engine_max_cpu_loras=32,
        engine_max_lora_rank=32,
        engine_gpu_memory=0.45,
    )
    flags = engine_flags(settings, "Qwen/Qwen2.5-7B-Instruct", 8192, on_gpu=True)
    assert engine["args"][5:] == [
        *flags,
        "--tensor-parallel-size",
        "2",
        "--shutdown-timeout",
        "600",
        "--swap-space",
        "8",
    ]
    assert engine["resources"]["limits"]["nvidia.com/gpu"] == 2


@pytest.mark.parametrize(("values", "on_gpu"), [("minimal", False), ("single-gpu", True)])
def test_engines_have_the_environment_that_the_platform_gives(values: str, on_gpu: bool) -> None:
    expected = engine_environment(
        Settings(home=Path("/var/lib/tunesmith"), storage_url="/storage"), {}, on_gpu=on_gpu
    )
    expected.pop("OMP_NUM_THREADS", None)  # the machine's CPUs, which a container may not have
    for where, found in containers(render(ready_made(values)), init=False):
        if where.endswith(" engine"):
            assert expected.items() <= environment(found).items()
            break
    else:
        pytest.fail("there is no engine")


def settings_of(found: Object, objects: list[Object]) -> dict[str, str]:
    """A container's TUNESMITH_* variables with values, its ConfigMap's included."""
    variables: dict[str, Any] = {}
    for source in found.get("envFrom", ()):
        variables |= one(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    variables |= environment(found)
    return {
        name.removeprefix("TUNESMITH_").lower(): "secret" if isinstance(value, dict) else value
        for name, value in variables.items()
        if name.startswith("TUNESMITH_")
    }


# Of the command line: docs/settings.md.
NOT_SETTINGS = {"url"}


@pytest.mark.parametrize("values", MATRIX)
def test_every_variable_is_a_setting_and_has_a_value_that_it_takes(
    values: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = render(MATRIX[values])
    for where, found in containers(objects):
        variables = settings_of(found, objects)
        assert variables.keys() - Settings.model_fields.keys() <= NOT_SETTINGS, where
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"TUNESMITH_{name.upper()}", value)
            Settings()


@pytest.mark.parametrize("values", READY_MADE)
def test_every_command_is_one_that_there_is(values: str) -> None:
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    for where, found in containers(render(ready_made(values))):
        command = found.get("command", [])
        if command[:2] == ["python", "-m"]:
            part, path = command[2].split(".")[1], command[2].replace(".", "/")
            place = ROOT / part / path
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), where
        elif command[:1] == ["tunesmith"]:
            assert command[1] in commands, where


def test_gateways_find_engines_by_the_names_of_services() -> None:
    objects = render(ready_made("production"))
    services = {s["metadata"]["name"]: s for s in of_kind(objects, "Service")}
    engines = environment(container(objects, "Deployment", "tunesmith-gateway"))
    for url in engines["TUNESMITH_ENGINES"].split(","):
        name, port = re.fullmatch(r"dns://([a-z0-9-]+):(\d+)", url).groups()  # type: ignore[union-attr]
        assert services[name]["spec"]["clusterIP"] == "None"
        assert [p["port"] for p in services[name]["spec"]["ports"]] == [int(port)]
    for part in ("dispatcher", "evaluator"):
        urls = environment(container(objects, "Deployment", f"tunesmith-{part}"))
        for url in urls["TUNESMITH_ENGINES"].split(","):
            name = re.fullmatch(r"http://([a-z0-9-]+):8000", url)[1]  # type: ignore[index]
            assert services[name]["spec"].get("clusterIP") != "None"


def test_services_and_selectors_pick_pods_of_the_release() -> None:
    objects = render(ready_made("production"))
    labels = [
        o["spec"]["template"]["metadata"]["labels"]
        for o in objects
        if o["kind"] in ("Deployment", "StatefulSet")
    ]
    for service in of_kind(objects, "Service"):
        selector = service["spec"]["selector"]
        assert sum(selector.items() <= found.items() for found in labels) == 1
    for deployment in of_kind(objects, "Deployment"):
        selector = deployment["spec"]["selector"]["matchLabels"]
        assert selector.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


def test_trainers_use_gpus_where_workers_are_at_zero() -> None:
    """A cluster whose GPU workers are at zero looks to Ray like one without GPUs."""
    gpu = container(render(ready_made("production")), "Deployment", "tunesmith-dispatcher")
    assert environment(gpu)["TUNESMITH_DEVICE"] == "cuda"
    cpu = container(render(ready_made("minimal")), "Deployment", "tunesmith-dispatcher")
    assert environment(cpu)["TUNESMITH_DEVICE"] == "cpu"


def test_bases_are_bound_to_groups_by_ray_resources() -> None:
    objects = render(ready_made("production"))
    dispatcher = container(objects, "Deployment", "tunesmith-dispatcher")
    bound = json.loads(environment(dispatcher)["TUNESMITH_TRAINER_RESOURCES"])
    assert bound == {
        "Qwen/Qwen2.5-7B-Instruct": {"tunesmith-base-qwen-7b": 0.001},
        "Qwen/Qwen2.5-72B-Instruct": {"tunesmith-base-qwen-72b": 0.001},
    }
    (cluster,) = of_kind(objects, "RayCluster")
    groups = {g["groupName"]: g["resources"] for g in cluster["spec"]["workerGroupSpecs"]}
    assert groups == {
        "a100": {"GPU": "1", "tunesmith-base-qwen-7b": "1000"},
        "h200": {"GPU": "1", "tunesmith-base-qwen-72b": "1000"},
    }
    head = cluster["spec"]["headGroupSpec"]["resources"]
    assert head == {
        "CPU": "0",
        "GPU": "0",
        "tunesmith-base-qwen-7b": "1000",
        "tunesmith-base-qwen-72b": "1000",
    }


def test_workers_come_and_go_with_the_queue() -> None:
    for values in READY_MADE:
        (cluster,) = of_kind(render(ready_made(values)), "RayCluster")
        spec = cluster["spec"]
        assert spec["enableInTreeAutoscaling"] is True
        assert all(group["minReplicas"] == 0 for group in spec["workerGroupSpecs"])


def test_a_gateway_holds_the_first_request_of_an_engine_at_zero() -> None:
    held = container(render(ready_made("production")), "Deployment", "tunesmith-gateway")
    assert environment(held)["TUNESMITH_ENGINE_WAIT_SECONDS"] == "1800"
    not_held = container(render(ready_made("single-gpu")), "Deployment", "tunesmith-gateway")
    assert environment(not_held)["TUNESMITH_ENGINE_WAIT_SECONDS"] == "2"


def test_pods_live_as_long_as_their_drain_takes() -> None:
    objects = render(ready_made("production"))
    gateway = one(objects, "Deployment", "tunesmith-gateway")["spec"]["template"]["spec"]
    variables = environment(gateway["containers"][0])
    takes = int(variables["TUNESMITH_DRAIN_SECONDS"]) + int(variables["TUNESMITH_GRACE_SECONDS"])
    assert gateway["terminationGracePeriodSeconds"] > takes
    engine = one(objects, "Deployment", "tunesmith-engine-qwen-7b")["spec"]["template"]["spec"]
    (process,) = engine["containers"]
    sleep = int(process["lifecycle"]["preStop"]["exec"]["command"][1])
    timeout = int(process["args"][process["args"].index("--shutdown-timeout") + 1])
    assert engine["terminationGracePeriodSeconds"] > sleep + timeout


def test_a_failed_migration_leaves_the_old_release() -> None:
    """The hook runs before anything of the release changes; a rollback runs none."""
    migration = one(render(ready_made("production")), "Job", "tunesmith-migration")
    assert migration["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    spec = migration["spec"]["template"]["spec"]
    (process,) = spec["containers"]
    assert process["command"] == ["tunesmith", "migrate"]
    assert "envFrom" not in process  # the release's ConfigMaps are not there yet
    assert spec["serviceAccountName"] == "default"
    for where, found in containers(render(ready_made("production")), init=False):
        if where.startswith("Deployment") and "engine" not in where:
            objects = render(ready_made("production"))
            assert settings_of(found, objects)["migrate"] == "wait", where


def test_the_evaluations_migration_is_no_hook() -> None:
    """A hook would run before the release's own database is there."""
    objects = render(ready_made("minimal"))
    (migration,) = (
        job for job in of_kind(objects, "Job") if "migration" in job["metadata"]["name"]
    )
    assert "annotations" not in migration["metadata"]


def test_jobs_are_named_by_what_they_do() -> None:
    """Jobs cannot be changed: one that would do something else has another name."""

    def names(values: Object) -> set[str]:
        return {job["metadata"]["name"] for job in of_kind(render(values), "Job")}

    values = ready_made("single-gpu")
    assert names(values) == names(values)
    other = changed(values, {"bases": {"qwen-7b": {"maxModelLen": 4096}}})
    assert len(names(values) ^ names(other)) == 2
    moved = changed(values, {"gateway": {"replicas": 5}})
    assert names(values) == names(moved)


def test_weights_are_at_one_path_for_all() -> None:
    objects = render(ready_made("production"))
    (job,) = (j for j in of_kind(objects, "Job") if "base-qwen-7b-" in j["metadata"]["name"])
    spec = job["spec"]["template"]["spec"]
    (pull,), (register,) = spec["initContainers"], spec["containers"]
    directory = pull["command"][-1]
    assert directory == "/models/qwen-7b-a09a35458c70"
    assert environment(register)["TUNESMITH_BASE"] == directory
    engine = container(objects, "Deployment", "tunesmith-engine-qwen-7b")
    assert engine["args"][0] == directory
    for where, found in containers(objects, init=False):
        if "RayCluster" in where or where.endswith((" engine", " evaluator", " register")):
            mounts = {m["mountPath"]: m for m in found["volumeMounts"]}
            assert mounts["/models"]["readOnly"] is True, where


@pytest.mark.parametrize("made", ["readme", "schema"])
def test_what_is_generated_is_up_to_date(made: str) -> None:
    path = chart["README"] if made == "readme" else chart["SCHEMA"]
    assert chart[made](path.read_text()) == path.read_text(), "run `make chart`"


def test_every_value_has_a_comment() -> None:
    """All leaves of values.yaml are described, or lie in a map that is."""
    described = {value.path for value in chart["documented"]((CHART / "values.yaml").read_text())}

    def leaves(node: Any, path: str) -> list[str]:
        if path in described or not isinstance(node, dict) or not node:
            return [path]
        return [leaf for key in node for leaf in leaves(node[key], f"{path}.{key}".lstrip("."))]

    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    assert set(leaves(defaults, "")) <= described


def test_gateways_take_engines_for_what_they_are() -> None:
    """Else a gateway would let an engine run full, or drop adapters that it has room for."""
    values = ready_made("production")
    engines = [{"maxLoras": 12, "maxCpuLoras": 70}, {"maxLoras": 10, "maxCpuLoras": 90}]
    assert len(values["bases"]) == len(engines)
    own = {base: {"engine": engine} for base, engine in zip(values["bases"], engines, strict=True)}
    gateway = container(render(changed(values, {"bases": own})), "Deployment", "tunesmith-gateway")
    variables = environment(gateway)
    assert variables["TUNESMITH_ENGINE_MAX_LORAS"] == "10"
    assert variables["TUNESMITH_ENGINE_MAX_CPU_LORAS"] == "70"


def test_a_base_may_have_as_many_cohorts_as_its_groups_have_gpus() -> None:
    group = {"gpus": 2, "maxReplicas": 3}
    values = changed(ready_made("single-gpu"), {"ray": {"workerGroups": {"more": group}}})
    before = changed(ready_made("single-gpu"), {})

    def most(given: Object) -> int:
        dispatcher = container(render(given), "Deployment", "tunesmith-dispatcher")
        return int(environment(dispatcher)["TUNESMITH_COHORTS_PER_BASE"])

    assert most(values) == most(before) + 6
