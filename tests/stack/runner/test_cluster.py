"""The runner keeps its word: pods that see what pods see, and are treated as the kubelet does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ..control.cluster import Cluster
from ..node.dockerfile import ImageConfig
from ..node.images import VENV, LocalImage
from ..node.network import NoNetwork

ROOT = Path(__file__).parents[3]

SERVER = """
import http.server, os, signal, socketserver, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1)
        body = f"{os.environ['NAME']} {os.environ['IP']} {os.environ['VERSION']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False

server = Server(("0.0.0.0", 8000), Handler)

def end(*_):
    def later():
        time.sleep(2)  # until all have heard that this one goes
        server.shutdown()
    threading.Thread(target=later).start()

signal.signal(signal.SIGTERM, end)
server.serve_forever()
server.server_close()
"""

DOCUMENTS = """
kind: ConfigMap
metadata: {name: program}
data: {server.py: "", VERSION: one}
---
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
---
kind: Service
metadata: {name: web-pods}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8000}]}
---
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: friend}}}], ports: [{port: http}]}]
---
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 20
      securityContext: {runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, runAsNonRoot: true}
      initContainers:
        - name: first
          image: python
          command: [sh, -c, "id -u >/data/user"]
          volumeMounts: [{name: data, mountPath: /data}]
      containers:
        - name: web
          image: registry.example.com/python@sha256:00
          command: [python, /program/server.py]
          ports: [{name: http, containerPort: 8000}]
          envFrom: [{configMapRef: {name: program}}]
          env:
            - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
          securityContext:
            readOnlyRootFilesystem: true
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
          readinessProbe: {httpGet: {path: /, port: http}}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: program, mountPath: /program}
      volumes:
        - {name: data, emptyDir: {}}
        - {name: program, configMap: {name: program, items: [{key: server.py, path: server.py}]}}
"""


def documents() -> list[dict[str, Any]]:
    read = list(yaml.safe_load_all(DOCUMENTS))
    read[0]["data"]["server.py"] = SERVER
    return [*read, idle("friend"), idle("stranger")]


def idle(name: str) -> dict[str, Any]:
    container = {"name": "idle", "image": "python", "command": ["sleep", "infinity"]}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"template": template}}


def small_cluster(folder: Path) -> Cluster:
    cluster = Cluster(folder, "here")
    environment = {"PATH": f"{VENV}/bin:/usr/bin:/bin"}
    mounts = tuple(
        {"kind": "bind", "source": str(path), "target": str(path), "read_only": True}
        for path in (Path(sys.base_prefix), VENV)
    )
    image = LocalImage("python", ImageConfig(environment=environment), mounts)
    cluster.images.makers = {"python": lambda: image}
    return cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    try:
        made = small_cluster(tmp_path_factory.mktemp("cluster"))
    except NoNetwork as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))
    try:
        made.apply(documents())
        made.until(lambda: all_done(made), 60, "the pods are ready")
        yield made
    finally:
        made.close()


def all_done(cluster: Cluster) -> bool:
    return all(controller.done(cluster) for controller in list(cluster.controllers.values()))


def pod(cluster: Cluster, app: str) -> Any:
    return next(p for p in cluster.pods if p.labels["app"] == app and p.ready)


def shell(cluster: Cluster, app: str, script: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = (
        pod(cluster, app).container().execute(["sh", "-c", script], timeout=20)
    )
    return done


def ask(cluster: Cluster, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://{cluster.address('web')}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def test_a_container_sees_its_own_machine(cluster: Cluster) -> None:
    said = shell(
        cluster,
        "web",
        "id -u; cat /data/user; cat /proc/1/comm; hostname; touch /x; touch /data/x && echo written"
        "; grep -E 'CapBnd|NoNewPrivs' /proc/1/status",
    )
    capabilities = ["CapBnd:", "0000000000000000", "NoNewPrivs:", "1"]
    name = pod(cluster, "web").name
    assert said.stdout.split() == ["10001", "10001", "python", name, "written", *capabilities]
    assert "Read-only file system" in said.stderr


def test_names_lead_to_services_and_to_each_pod(cluster: Cluster) -> None:
    said = shell(cluster, "friend", "getent ahostsv4 web-pods | grep STREAM; getent hosts web.here")
    addresses = {line.split()[0] for line in said.stdout.splitlines()}
    wanted = {p.address for p in cluster.pods if p.labels["app"] == "web"}
    assert addresses == wanted | {cluster.address("web")}
    assert {ask(cluster).split()[1] for _ in range(20)} == wanted


def test_policies_hold(cluster: Cluster) -> None:
    call = (
        "python -c \"import urllib.request as u; print(u.urlopen('http://web', timeout=5).status)\""
    )
    assert shell(cluster, "friend", call).stdout == "200\n"
    refused = shell(cluster, "stranger", call)
    assert "No route to host" in refused.stderr, refused


def test_a_container_that_is_killed_starts_again_in_its_pod(cluster: Cluster) -> None:
    victim = pod(cluster, "web")
    starts = victim.container().starts
    victim.container().kill()
    cluster.until(lambda: victim.ready and victim.container().starts > starts, 20, "started again")
    assert any("ended with 137" in event for event in victim.events)


def test_a_rolling_update_refuses_and_cuts_nobody(cluster: Cluster) -> None:
    failures: list[str] = []
    versions: set[str] = set()
    stop = threading.Event()

    def keep_asking(path: str) -> None:
        while not stop.is_set():
            try:
                versions.add(ask(cluster, path).split()[2])
            except OSError as error:
                failures.append(f"{path}: {error}")

    callers = [threading.Thread(target=keep_asking, args=(p,)) for p in ("/", "/slow", "/slow")]
    for caller in callers:
        caller.start()
    before = {p.name for p in cluster.owned("Deployment/web")}
    program, *_ = documents()
    program["data"]["VERSION"] = "two"
    cluster.apply([program])
    cluster.restart("Deployment/web")
    cluster.until(lambda: all_done(cluster), 60, "rolled")
    stop.set()
    for caller in callers:
        caller.join()
    assert failures == []
    assert versions == {"one", "two"}
    assert not before & {p.name for p in cluster.owned("Deployment/web")}


def test_a_job_waits_for_what_it_refers_to_and_is_tried_again(cluster: Cluster) -> None:
    job = yaml.safe_load(
        """
        kind: Job
        metadata: {name: once}
        spec:
          backoffLimit: 2
          template:
            spec:
              restartPolicy: Never
              containers:
                - name: c
                  image: python
                  command: [sh, -c, 'echo tried >>/data/tries; test $(wc -l </data/tries) -gt 1']
                  env: [{name: A, valueFrom: {secretKeyRef: {name: late, key: a}}}]
                  volumeMounts: [{name: data, mountPath: /data}]
              volumes: [{name: data, persistentVolumeClaim: {claimName: kept}}]
        """
    )
    cluster.claim("kept")
    cluster.apply([job])
    cluster.until(
        lambda: any(
            "late does not exist" in e for p in cluster.owned("Job/once") for e in p.events
        ),
        20,
        "says what is missing",
    )
    cluster.apply([{"kind": "Secret", "metadata": {"name": "late"}, "stringData": {"a": "b"}}])
    cluster.until(lambda: bool(cluster.job("Job", "once").succeeded), 30, "succeeds")
    cluster.delete("Job", "once")


def test_nothing_outlives_the_process_that_started_it(tmp_path: Path) -> None:
    script = """
        import sys, time
        from pathlib import Path
        from tests.stack.runner.test_cluster import all_done, documents, small_cluster
        cluster = small_cluster(Path(sys.argv[1]))
        cluster.apply(documents())
        cluster.until(lambda: all_done(cluster), 60, "ready")
        print(*(p.container().pid for p in cluster.pods), cluster.network.prefix, flush=True)
        time.sleep(600)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert owner.stdout is not None
    *pids, prefix = owner.stdout.readline().split()
    processes = [psutil.Process(int(pid)) for pid in pids]
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert len(processes) == 4
    assert alive == []
    deadline = time.monotonic() + 10
    while f" {prefix}." in (shown := subprocess.check_output(["ip", "addr"], text=True)):
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)
