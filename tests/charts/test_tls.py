"""TLS inside: a name that is called is in the certificate; only who is called has a key."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from tests.charts.rendering import (
    MATRIX,
    Object,
    changed,
    containers,
    environment,
    of_kind,
    one,
    pods,
    ready_made,
    render,
)

ISSUED = changed(
    ready_made("production"),
    {
        "tls": {"internal": {"enabled": True, "issuerRef": {"name": "inside"}}},
        "gateway": {
            "service": {"port": 443},
            "ingress": {"annotations": {"nginx.ingress.kubernetes.io/backend-protocol": "HTTPS"}},
        },
    },
)


def certified(objects: list[Object]) -> dict[str, set[str]]:
    """Names in each certificate, by its Secret."""
    return {
        certificate["spec"]["secretName"]: set(certificate["spec"]["dnsNames"])
        for certificate in of_kind(objects, "Certificate")
    }


def urls(objects: list[Object], name: str) -> list[str]:
    deployment = one(objects, "Deployment", f"tunesmith-{name}")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    listed: str = environment(container)["TUNESMITH_ENGINES"]
    return listed.split(",")


def secrets(pod: Object) -> dict[str, set[str]]:
    """Keys of Secrets that a pod mounts, by Secret; "all" where it takes all."""
    found: dict[str, set[str]] = {}
    for volume in pod["spec"]["volumes"]:
        if "secret" in volume:
            keys = {item["key"] for item in volume["secret"].get("items", [{"key": "all"}])}
            found.setdefault(volume["secret"]["secretName"], set()).update(keys)
    return found


def test_every_name_that_is_called_is_in_the_certificate_of_who_answers() -> None:
    objects = render(ISSUED)
    names = certified(objects)
    for part, scheme in (("gateway", "dns+https"), ("evaluator", "https"), ("dispatcher", "https")):
        assert len(urls(objects, part)) == 2
        for url in urls(objects, part):
            parts = urlsplit(url)
            assert parts.scheme == scheme
            host = str(parts.hostname)
            service = one(objects, "Service", host.removesuffix(".ai.svc"))
            base = service["spec"]["selector"]["tunesmith.ai/base"]
            assert host in names[f"tunesmith-engine-{base}-tls"]
    smoke = one(objects, "Pod", "tunesmith-smoke-test")["spec"]["containers"][0]
    url = urlsplit(environment(smoke)["TUNESMITH_URL"])
    assert (url.scheme, url.port) == ("https", 443)
    assert url.hostname in names["tunesmith-gateway-tls"]
    assert "localhost" in names["tunesmith-gateway-tls"]  # port-forwards

    monitors = of_kind(objects, "ServiceMonitor") + of_kind(objects, "PodMonitor")
    asked = {}
    for monitor in monitors:
        for kind in ("endpoints", "podMetricsEndpoints"):
            for endpoint in monitor["spec"].get(kind, ()):
                if endpoint["port"] == "http":
                    assert endpoint["scheme"] == "https"
                    tls = endpoint["tlsConfig"]
                    assert tls["serverName"] in names[tls["ca"]["secret"]["name"]]
                    asked[monitor["metadata"]["name"]] = tls["serverName"]
    assert len(asked) == 3  # the gateway's, and one for each base


def test_a_process_mounts_its_own_key_and_of_others_the_authority_alone() -> None:
    objects = render(ISSUED)
    with_keys = {}
    for where, pod in pods(objects):
        for secret, keys in secrets(pod).items():
            if secret.endswith("-tls"):
                assert keys in ({"tls.crt", "tls.key"}, {"ca.crt"}) or where.endswith("gateway")
                if "tls.key" in keys:
                    with_keys[where] = secret
    assert with_keys == {
        "Deployment tunesmith-gateway": "tunesmith-gateway-tls",
        "Deployment tunesmith-engine-qwen-7b": "tunesmith-engine-qwen-7b-tls",
        "Deployment tunesmith-engine-qwen-72b": "tunesmith-engine-qwen-72b-tls",
    }


@pytest.mark.parametrize("values", ["everything on", "hpa and gcs"])
def test_engines_and_gateways_show_certificates_and_callers_believe_their_authority(
    values: str,
) -> None:
    objects = render(MATRIX[values])
    for where, container in containers(objects, init=False):
        part = where.rpartition(" ")[2]
        mounts = {m["mountPath"] for m in container["volumeMounts"]}
        if part in ("gateway", "engine"):
            assert "/etc/tunesmith/tls" in mounts
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[probe]["httpGet"]["scheme"] == "HTTPS"
        if part in ("gateway", "evaluator", "dispatcher"):
            assert "/etc/tunesmith/internal-authority" in mounts
            file = environment(container)["TUNESMITH_ENGINE_CA_FILE"]
            assert file == "/etc/tunesmith/internal-authority/ca.crt"
        if part == "engine":
            flags = container["args"]
            assert flags[flags.index("--ssl-certfile") + 1] == "/etc/tunesmith/tls/tls.crt"
            assert flags[flags.index("--ssl-keyfile") + 1] == "/etc/tunesmith/tls/tls.key"
            assert "--enable-ssl-refresh" in flags
            # By inotify vLLM would see the first new certificate of a mounted Secret alone.
            assert environment(container)["WATCHFILES_FORCE_POLLING"] == "true"
    for service in of_kind(objects, "Service"):
        assert service["spec"]["ports"][0]["appProtocol"] == "https"


def test_while_it_is_turned_on_gateways_find_engines_of_both_kinds() -> None:
    objects = render(changed(ISSUED, {"tls": {"internal": {"transition": True}}}))
    schemes = sorted(urlsplit(url).scheme for url in urls(objects, "gateway"))
    assert schemes == ["dns", "dns", "dns+https", "dns+https"]


def test_a_gateway_of_gateway_api_is_told_whom_to_believe() -> None:
    (policy,) = of_kind(render(MATRIX["everything on"]), "BackendTLSPolicy")
    validation = policy["spec"]["validation"]
    assert validation["caCertificateRefs"] == [{"group": "", "kind": "ConfigMap", "name": "inside"}]
    (route,) = of_kind(render(MATRIX["everything on"]), "HTTPRoute")
    (backend,) = route["spec"]["rules"][0]["backendRefs"]
    assert policy["spec"]["targetRefs"][0]["name"] == backend["name"]
    assert validation["hostname"].removesuffix(".ai.svc") == backend["name"]


def test_without_it_nothing_of_tls_is_there() -> None:
    text = str(render(ready_made("production")))
    for word in ("Certificate'", "ssl-certfile", "internal-authority", "HTTPS", "WATCHFILES"):
        assert word not in text
