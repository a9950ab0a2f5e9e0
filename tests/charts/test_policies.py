"""What every pod has to be, whatever the values: pod security, probes, resources, no token."""

from __future__ import annotations

from functools import cache

import pytest
from tests.charts.rendering import (
    MATRIX,
    Object,
    containers,
    environment,
    of_kind,
    one,
    pods,
    render,
)

NAMES = list(MATRIX)
# Their environment comes from Secrets alone; a value written out would be in the release.
SECRET = ("_KEY", "_KEY_ID", "_TOKEN", "_PASSWORD", "DATABASE_URL", "REDIS_URL")


@cache
def rendered(values: str) -> list[Object]:
    """The objects of one of the matrix' sets of values."""
    return render(MATRIX[values])


@pytest.mark.parametrize("values", NAMES)
def test_pods_meet_the_restricted_profile(values: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    for where, pod in pods(rendered(values)):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, where
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            assert not spec.get(key), where
        assert not any("hostPath" in volume for volume in spec.get("volumes", ())), where
    for where, container in containers(rendered(values)):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False, where
        assert security["capabilities"] == {"drop": ["ALL"]}, where
        assert security["readOnlyRootFilesystem"] is True, where
        assert not security["privileged"], where
        assert not any("hostPort" in port for port in container.get("ports", ())), where


@pytest.mark.parametrize("values", NAMES)
def test_users_are_not_root(values: str) -> None:
    for where, pod in pods(rendered(values)):
        user = pod["spec"]["securityContext"].get("runAsUser")
        assert user != 0, where
        assert user is not None or MATRIX[values]["security"]["runAsUser"] is None, where


@pytest.mark.parametrize("values", NAMES)
def test_no_pod_has_a_default_token(values: str) -> None:
    for where, pod in pods(rendered(values)):
        assert pod["spec"]["automountServiceAccountToken"] is False, where
        assert pod["spec"]["enableServiceLinks"] is False, where
    for account in of_kind(rendered(values), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("values", NAMES)
def test_only_the_autoscaler_has_a_token(values: str) -> None:
    mounted = [
        where
        for where, pod in pods(rendered(values))
        for volume in pod["spec"].get("volumes", ())
        for source in volume.get("projected", {}).get("sources", ())
        if "serviceAccountToken" in source
    ]
    assert mounted == [where for where, _ in pods(rendered(values)) if where.endswith(" head")]
    for where, container in containers(rendered(values)):
        assert "autoscaler-token" not in {m["name"] for m in container["volumeMounts"]}, where


@pytest.mark.parametrize("values", NAMES)
def test_no_role_is_given(values: str) -> None:
    kinds = {o["kind"] for o in rendered(values)}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


@pytest.mark.parametrize("values", NAMES)
def test_parts_have_accounts_of_their_own(values: str) -> None:
    accounts = {a["metadata"]["name"] for a in of_kind(rendered(values), "ServiceAccount")}
    for where, pod in pods(rendered(values)):
        account = pod["spec"]["serviceAccountName"]
        hook = where.endswith("-migration")  # it runs before the release's accounts are there
        if accounts:
            assert account in accounts or (hook and account == "default"), where


@pytest.mark.parametrize("values", NAMES)
def test_containers_have_resources(values: str) -> None:
    for where, container in containers(rendered(values)):
        resources = container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys(), where
        assert "memory" in resources["limits"], where


@pytest.mark.parametrize("values", NAMES)
def test_containers_that_stay_have_probes(values: str) -> None:
    for where, container in containers(rendered(values), init=False):
        if where.startswith(("Job ", "CronJob ", "Pod ")):
            continue
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert probe in container, f"{where} has no {probe}"


@pytest.mark.parametrize("values", NAMES)
def test_probes_ask_a_port_that_the_container_has(values: str) -> None:
    for where, container in containers(rendered(values), init=False):
        names = {port["name"] for port in container.get("ports", ())}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            assert port is None or isinstance(port, int) or port in names, where


@pytest.mark.parametrize("values", NAMES)
def test_secrets_come_by_reference(values: str) -> None:
    for where, container in containers(rendered(values)):
        for name, value in environment(container).items():
            if name.endswith(SECRET):
                if name == "RAY_TLS_SERVER_KEY":  # a file's path
                    continue
                assert isinstance(value, dict), f"{where}: {name}"
                assert "secretKeyRef" in value, f"{where}: {name}"


@pytest.mark.parametrize("values", NAMES)
def test_mounts_have_volumes_and_names_fit(values: str) -> None:
    for where, pod in pods(rendered(values)):
        volumes = {v["name"] for v in pod["spec"].get("volumes", ())}
        spec = pod["spec"]
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            mounts = [m["mountPath"] for m in container.get("volumeMounts", ())]
            assert len(mounts) == len(set(mounts)), where
            names = {m["name"] for m in container.get("volumeMounts", ())}
            claims = {"data"} if where.startswith("StatefulSet") else set()
            assert names <= volumes | claims, where
    for o in rendered(values):
        name = o["metadata"]["name"]
        assert len(name) <= 63, name
        assert o["metadata"]["namespace"] == "ai", name


@pytest.mark.parametrize("values", NAMES)
def test_names_are_unique(values: str) -> None:
    names = [(o["kind"], o["metadata"]["name"]) for o in rendered(values)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("values", ["production", "airgapped"])
def test_images_are_named_by_digest(values: str) -> None:
    for where, container in containers(rendered(values)):
        assert "@sha256:" in container["image"], where


# Who may connect to whom, by the components of the pods.
REACHES = {
    "engine": {"gateway", "evaluator", "dispatcher"},
    "ray-head": {"ray-head", "ray-worker", "dispatcher"},
    "ray-worker": {"ray-head", "ray-worker"},
    "dispatcher": set(),
    "evaluator": set(),
    "bases": set(),
    "migration": set(),
    "smoke-test": set(),
    "backup": set(),
}


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector picks the labels: matchLabels, and matchExpressions with In."""
    wanted = selector.get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    for term in selector.get("matchExpressions", ()):
        assert term["operator"] == "In"
        if labels.get(term["key"]) not in term["values"]:
            return False
    return True


def ports_open(objects: list[Object], source: Object, target: Object) -> set[int | str]:
    """Ports of the target's pod that the source's may reach, by the target's ingress; "all" too.

    Peers of other namespaces do not count: both pods are the release's.
    """
    here, there = source["metadata"]["labels"], target["metadata"]["labels"]
    found: set[int | str] = set()
    for policy in of_kind(objects, "NetworkPolicy"):
        if not matches(policy["spec"]["podSelector"], there):
            continue
        for rule in policy["spec"].get("ingress") or ():
            peers = rule.get("from")
            inside = peers is None or any(
                "namespaceSelector" not in peer and matches(peer.get("podSelector", {}), here)
                for peer in peers
            )
            if inside:
                ports = rule.get("ports")
                found |= {"all"} if ports is None else {port["port"] for port in ports}
    return found


def by_part(objects: list[Object]) -> dict[str, Object]:
    return {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: pod for _, pod in pods(objects)
    }


@pytest.mark.parametrize("values", ["minimal", "production", "airgapped", "everything on"])
def test_only_those_who_need_a_part_reach_it(values: str) -> None:
    objects = rendered(values)
    parts = by_part(objects)
    for target, allowed in REACHES.items():
        if target == "backup" and target not in parts:
            continue
        reached = {
            source for source, pod in parts.items() if ports_open(objects, pod, parts[target])
        }
        assert reached == allowed, target


@pytest.mark.parametrize("values", ["minimal", "production"])
def test_nothing_but_ray_itself_reaches_the_dashboard(values: str) -> None:
    objects = rendered(values)
    parts = by_part(objects)
    for source, pod in parts.items():
        open_ports = ports_open(objects, pod, parts["ray-head"])
        if source not in ("ray-head", "ray-worker"):
            assert not open_ports & {"all", 8265}, source
    (cluster,) = of_kind(objects, "RayCluster")
    assert cluster["spec"]["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    assert cluster["spec"]["authOptions"]["mode"] == "token"


@pytest.mark.parametrize("values", ["minimal", "production", "everything on"])
def test_every_pod_is_denied_by_default_and_allowed_by_name(values: str) -> None:
    objects = rendered(values)
    policies = of_kind(objects, "NetworkPolicy")
    (deny,) = (p for p in policies if p["metadata"]["name"].endswith("-deny-all"))
    assert deny["spec"].keys() == {"podSelector", "policyTypes"}
    for where, pod in pods(objects):
        labels = pod["metadata"]["labels"]
        picked = [p for p in policies if matches(p["spec"]["podSelector"], labels)]
        assert deny in picked, where
        assert len(picked) > 1, where


def test_metrics_are_for_those_who_are_named() -> None:
    objects = rendered("production")
    for part, port in (("dispatcher", 9100), ("evaluator", 9101), ("engine", 8000)):
        policy = one(objects, "NetworkPolicy", f"tunesmith-{part}")
        (rule,) = (r for r in policy["spec"]["ingress"] if "namespaceSelector" in r["from"][0])
        assert [p["port"] for p in rule["ports"]] == [port]


@pytest.mark.parametrize("values", ["production", "everything on"])
def test_the_world_reaches_the_api_and_no_metrics(values: str) -> None:
    """`/metrics` and `/readyz` need no key, and name engines and hosts."""
    (route,) = of_kind(rendered(values), "Ingress") or of_kind(rendered(values), "HTTPRoute")
    (rule,) = route["spec"]["rules"]
    if route["kind"] == "Ingress":
        paths = [path["path"] for path in rule["http"]["paths"]]
    else:
        paths = [match["path"]["value"] for match in rule["matches"]]
    assert paths == ["/v1", "/openapi.json"]
