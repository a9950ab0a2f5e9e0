"""A pod on this machine: its namespaces, its volumes, its containers."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..manifests.pods import Container, Pod
from .container import RunningContainer
from .environment import PodFacts, environment_of
from .images import Images
from .network import Network
from .objects import Stored
from .sandbox import orders_for
from .spawning import hold_namespaces
from .starting import Turns
from .volumes import Volumes

_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class Surroundings:
    """What all pods of a cluster share.

    Attributes:
        folder: for volumes and logs.
        stored: ConfigMaps and Secrets, as they are now.
        claims: folders of persistent volumes, by claim.
        links: variables of services, as they are now.
        api: variables by which every pod finds the cluster's API.
    """

    namespace: str
    network: Network
    images: Images
    folder: Path
    stored: Stored
    claims: Mapping[str, Path]
    links: Callable[[], Mapping[str, str]]
    api: Mapping[str, str]
    turns: Turns


class RunningPod:
    """Has its address when made; its containers are kept by threads of its own."""

    def __init__(self, name: str, described: Pod, owner: str, around: Surroundings) -> None:
        self.name, self.described, self.owner = name, described, owner
        self.labels = dict(described.labels)
        self.events: list[str] = []
        self.ending_since: float | None = None
        self.gone = threading.Event()
        self._around = around
        hostname = (described.hostname or name)[:63]
        self._held = hold_namespaces(hostname)
        self.address = around.network.connect(self._held)
        self.folder = around.folder / "pods" / name
        self.folder.mkdir(parents=True)
        self._facts = PodFacts(
            name=name,
            namespace=around.namespace,
            address=self.address,
            host_address=around.network.host,
            service_account=described.service_account,
            labels=described.labels,
            annotations=described.annotations,
        )
        self._volumes = Volumes(described, self.folder / "volumes", around.claims)
        self._hostname = hostname
        self._siblings = {
            container.name: container
            for container in (*described.init_containers, *described.containers)
        }
        self.init_containers = [self._running(c) for c in described.init_containers]
        self.containers = [self._running(c) for c in described.containers]
        self._stopping = threading.Event()
        self.succeeded: bool | None = None
        self._thread = threading.Thread(target=self._live, name=f"pod {name}", daemon=True)

    def start(self) -> None:
        """Let its containers start."""
        self._thread.start()

    def _running(self, container: Container) -> RunningContainer:
        return RunningContainer(
            container,
            address=self.address,
            log=self.folder / f"{container.name}.log",
            grace=self.described.grace,
            turns=self._around.turns,
            orders=lambda: self._orders(container),
            tell=self.tell,
        )

    def tell(self, what: str) -> None:
        """Note an event."""
        self.events.append(f"{time.strftime('%H:%M:%S')} {what}")

    def _orders(self, container: Container) -> dict[str, object]:
        around = self._around
        self._volumes.fill(around.stored, self._facts)
        image = around.images.find(container.image)
        root = self.folder / "roots" / container.name
        root.mkdir(parents=True, exist_ok=True)
        environment = environment_of(
            container,
            image=image.config.environment,
            links={**(around.links() if self.described.service_links else {}), **around.api},
            stored=around.stored,
            facts=self._facts,
            siblings=self._siblings,
        )
        return orders_for(
            container,
            image,
            around.images,
            environment=environment,
            mounts=self._volumes.mounts_of(container),
            hostname=self._hostname,
            address=self.address,
            namespace=around.namespace,
            name_server=around.network.dns,
            namespaces_of=self._held.pid,
            root=root,
        )

    def _live(self) -> None:
        try:
            if self._initialise():
                keepers = [
                    threading.Thread(
                        target=container.keep,
                        args=(self.described.restart,),
                        name=f"{self.name}/{container.described.name}",
                        daemon=True,
                    )
                    for container in self.containers
                ]
                for keeper in keepers:
                    keeper.start()
                for keeper in keepers:
                    keeper.join()
                self.succeeded = all(c.exit_code == 0 for c in self.containers)
            else:
                self.succeeded = False
        finally:
            for container in (*self.init_containers, *self.containers):
                container.close()
            self._held.close()
            self.gone.set()

    def _initialise(self) -> bool:
        """Run the init containers, one after the other; whether the others may start."""
        for container in self.init_containers:
            pause = _RETRY_SECONDS
            while not self._stopping.is_set():
                try:
                    code = container.run_once()
                except Exception as error:  # noqa: BLE001 - told, and tried anew
                    self.tell(f"{container.described.name} cannot start: {error}")
                    code = 128
                if code == 0:
                    break
                self.tell(f"{container.described.name} ended with {code}")
                if self.described.restart == "Never":
                    return False
                self._stopping.wait(pause)
                pause = min(2 * pause, 10.0)
        return not self._stopping.is_set()

    @property
    def ready(self) -> bool:
        """Whether it may get work: all containers ready, and nobody has ordered its end."""
        return self.ending_since is None and self.containers_ready

    @property
    def containers_ready(self) -> bool:
        return not self.gone.is_set() and all(container.ready for container in self.containers)

    def container(self, name: str = "") -> RunningContainer:
        """A container by name; the first by default.

        Raises:
            LookupError: it has none such.
        """
        for container in (*self.containers, *self.init_containers):
            if name in ("", container.described.name):
                return container
        raise LookupError(f"{self.name} has no container {name}")

    def port(self, name: str | int) -> int | None:
        """The number of a port that a service names."""
        if isinstance(name, int):
            return name
        for container in self.described.containers:
            if name in container.ports:
                return container.ports[name]
        return None

    def begin_end(self, grace: float | None = None) -> None:
        """Order its end, as deleting it does; `gone` is set when it is over."""
        if self.ending_since is not None:
            return
        self.ending_since = time.monotonic()
        threading.Thread(
            target=self._end, args=(grace,), name=f"end {self.name}", daemon=True
        ).start()

    def _end(self, grace: float | None) -> None:
        self._stopping.set()
        seconds = self.described.grace if grace is None else grace
        for container in self.init_containers:
            container.end(0.0)
        enders = [
            threading.Thread(target=container.end, args=(seconds,), daemon=True)
            for container in self.containers
        ]
        for ender in enders:
            ender.start()

    def close(self) -> None:
        """End it now, without grace, and forget its volumes."""
        self._stopping.set()
        self.ending_since = self.ending_since or time.monotonic()
        for container in (*self.init_containers, *self.containers):
            container.close()
        self._thread.join(20)
        shutil.rmtree(self.folder / "volumes", ignore_errors=True)

    def explain(self, lines: int = 15) -> str:
        """What happened, and the last lines of its logs."""
        parts = [f"== {self.name} ({self.address})", *self.events[-12:]]
        for container in (*self.init_containers, *self.containers):
            parts.append(f"-- {container.why_not_ready()}")
            if container.log.exists():
                parts += container.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join(parts)
