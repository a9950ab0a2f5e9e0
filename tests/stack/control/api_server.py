"""As much of the Kubernetes API as Ray's autoscaler asks: one RayCluster, and its pods.

HTTPS with a certificate of an authority that pods trust by the ConfigMap kube-root-ca.crt; whoever
has no token is refused, as is everything that the autoscaler's Role would not allow.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ..node.pod import RunningPod
from ..node.volumes import TOKEN

PORT = 443


class RayClusters(Protocol):
    """What the API shows and changes."""

    def ray_document(self, name: str) -> Mapping[str, Any] | None:
        """The RayCluster, with the number of workers as it is wanted now."""
        ...

    def patch_ray(self, name: str, patches: Sequence[Mapping[str, Any]]) -> None:
        """Change the number of workers, or delete some."""
        ...

    def pods_of(self, selector: Mapping[str, str]) -> Sequence[RunningPod]: ...


def certificate(address: str, folder: Path) -> tuple[Path, bytes]:
    """A file with a key and a certificate for the address, and the certificate by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.datetime.now(datetime.UTC)
    names = [
        x509.IPAddress(ipaddress.ip_address(address)),
        *map(x509.DNSName, ("kubernetes", "kubernetes.default", "kubernetes.default.svc")),
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown = made.public_bytes(serialization.Encoding.PEM)
    kept = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = folder / "api-server.pem"
    path.write_bytes(kept + shown)
    path.chmod(0o600)
    return path, shown


class ApiServer:
    """Listens at `address` until it is closed."""

    def __init__(self, address: str, namespace: str, clusters: RayClusters, folder: Path) -> None:
        self.address = address
        path, self.authority = certificate(address, folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        routes = _Routes(namespace, clusters)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self) -> None:
                length = int(self.headers.get("Content-Length", "0"))
                body = json.loads(self.rfile.read(length)) if length else None
                status, answer = 401, _status(401, "no token")
                if self.headers.get("Authorization") == f"Bearer {TOKEN}":
                    status, answer = routes.answer(self.command, self.path, body)
                content = json.dumps(answer).encode()
                self.send_response_only(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PATCH = do_POST = do_DELETE = do  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that left."""

        self._server = Server((address, PORT), Handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, name="api server", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Routes:
    def __init__(self, namespace: str, clusters: RayClusters) -> None:
        self._clusters = clusters
        self._rays = f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters/"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"

    def answer(self, method: str, target: str, body: Any) -> tuple[int, Mapping[str, Any]]:
        parts = urlsplit(target)
        if parts.path.startswith(self._rays):
            name = parts.path.removeprefix(self._rays)
            if method == "PATCH" and self._clusters.ray_document(name) is not None:
                self._clusters.patch_ray(name, body)
            elif method != "GET":
                return 403, _status(403, f"{method} {parts.path}")
            document = self._clusters.ray_document(name)
            return (200, document) if document else (404, _status(404, name))
        if method == "GET" and parts.path.startswith(self._pods):
            name = parts.path.removeprefix(self._pods).strip("/")
            wanted = parse_qs(parts.query).get("labelSelector", [""])[0]
            selector = dict(pair.split("=", 1) for pair in wanted.split(",") if pair)
            shown = [pod_document(pod) for pod in self._clusters.pods_of(selector)]
            if not name:
                return 200, {
                    "kind": "PodList",
                    "metadata": {"resourceVersion": "1"},
                    "items": shown,
                }
            found = [pod for pod in shown if pod["metadata"]["name"] == name]
            return (200, found[0]) if found else (404, _status(404, name))
        return 403, _status(403, f"{method} {parts.path}")


def _status(code: int, message: str) -> Mapping[str, Any]:
    return {"kind": "Status", "status": "Failure", "message": message, "code": code}


def pod_document(pod: RunningPod) -> dict[str, Any]:
    """A pod as the API shows it, as far as the autoscaler looks."""
    metadata: dict[str, Any] = {
        "name": pod.name,
        "labels": pod.labels,
        "annotations": {},
        "resourceVersion": "1",
    }
    if pod.ending_since is not None:
        metadata["deletionTimestamp"] = "2020-01-01T00:00:00Z"
    states: list[dict[str, Any]] = []
    for container in pod.containers:
        if container.pid is not None:
            state: dict[str, Any] = {"running": {}}
        elif container.exit_code is not None:
            state = {"terminated": {"exitCode": container.exit_code}}
        else:
            state = {"waiting": {"reason": "PodInitializing"}}
        named = container.described.name
        states.append({"name": named, "ready": container.ready, "state": state})
    running = all("running" in status["state"] for status in states)
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": pod.described.raw["spec"]["containers"]},
        "status": {
            "phase": "Running" if running else "Pending",
            "podIP": pod.address,
            "containerStatuses": states,
        },
    }
