"""`helm install`, `helm upgrade`, `helm test` and `helm uninstall` on a cluster of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .control.cluster import Cluster
from .control.kuberay import read_ray_cluster
from .helm import Rendered, kept, render

_HOOK_SECONDS = 120.0


class HookFailed(Exception):
    """A hook has not succeeded, so Helm stops there; the message has its logs."""


class Release:
    """A release of the chart."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self._installed: Rendered | None = None

    def render(self, values: Mapping[str, Any]) -> Rendered:
        """The documents that `apply` would take."""
        return render(
            values,
            release=self.name,
            namespace=self.cluster.namespace,
            upgrade=self._installed is not None,
        )

    def apply(self, values: Mapping[str, Any]) -> None:
        """Install, or upgrade where it is installed; does not wait for pods.

        Raises:
            HookFailed: before anything was changed, where it is a hook of before.
            NotUnderstood: a document has what the runner does not act out.
        """
        verb = "install" if self._installed is None else "upgrade"
        rendered = self.render(values)
        self._run_hooks(rendered, f"pre-{verb}")
        self.cluster.apply(rendered.documents)
        before = self._installed.documents if self._installed is not None else ()
        left = {_key(document) for document in rendered.documents}
        for document in before:
            if _key(document) not in left and not kept(document):
                self.cluster.delete(*_key(document))
        self._remove_worker_groups(before, rendered)
        self._installed = rendered
        self._run_hooks(rendered, f"post-{verb}")

    def _remove_worker_groups(self, before: Any, rendered: Rendered) -> None:
        """Groups that a changed RayCluster no longer has."""
        wanted = {
            f"{ray.name}/{group.name}"
            for document in rendered.documents
            if document["kind"] == "RayCluster"
            for ray in [read_ray_cluster(document, self.cluster.namespace)]
            for group in ray.groups
        }
        for document in before:
            if document["kind"] != "RayCluster":
                continue
            ray = read_ray_cluster(document, self.cluster.namespace)
            for group in ray.groups:
                if f"{ray.name}/{group.name}" not in wanted:
                    self.cluster.delete("RayCluster", f"{ray.name}/{group.name}")

    def test(self, seconds: float = 600.0) -> None:
        """`helm test`.

        Raises:
            HookFailed: it has not passed.
        """
        assert self._installed is not None
        self._run_hooks(self._installed, "test", seconds)

    def _run_hooks(self, rendered: Rendered, event: str, seconds: float = _HOOK_SECONDS) -> None:
        for document in rendered.hooks.get(event, ()):
            kind, name = _key(document)
            self.cluster.delete(kind, name)
            self.cluster.until(
                lambda kind=kind, name=name: not self.cluster.owned(f"{kind}/{name}"),  # type: ignore[misc]
                30,
                f"{kind} {name} of the last time is still there",
            )
            self.cluster.apply([document])
            if kind not in ("Job", "Pod"):
                continue
            job = self.cluster.job(kind, name)
            self.cluster.until(
                lambda job=job: job.succeeded is not None,  # type: ignore[misc]
                seconds,
                f"the hook {name} has not ended",
            )
            if not job.succeeded:
                logs = "\n".join(p.explain(40) for p in self.cluster.owned(f"{kind}/{name}"))
                raise HookFailed(f"{event}: {kind} {name} failed\n{logs}")

    def wait_ready(self, seconds: float = 240.0) -> None:
        """Until every controller has its pods as wanted: `helm install --wait`."""
        self.cluster.until(self.is_ready, seconds, "the release is not ready")

    def is_ready(self) -> bool:
        controllers = list(self.cluster.controllers.values())
        return all(controller.done(self.cluster) for controller in controllers)


def _key(document: Mapping[str, Any]) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]
