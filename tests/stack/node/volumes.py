"""Volumes as folders of this machine, and what a container mounts of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..manifests.fields import NotUnderstood
from ..manifests.pods import Container, Pod
from ..manifests.quantities import whole
from ..manifests.volumes import Claim, EmptyDir, Keys, PodFields, Projected, VolumeMount
from .environment import PodFacts
from .objects import Missing, Stored, contents_of

TOKEN = "token-of-a-cluster-that-is-none"
_TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


class Volumes:
    """A pod's volumes, below a folder of its own.

    Args:
        claims: where persistent volumes lie, by their claims' names.
    """

    def __init__(self, pod: Pod, folder: Path, claims: Mapping[str, Path]) -> None:
        self._pod, self._folder, self._claims = pod, folder, claims
        self._group = next((c.security.fs_group for c in pod.containers), None)

    def fill(self, stored: Stored, facts: PodFacts) -> None:
        """Make the folders, and write what ConfigMaps and Secrets hold now.

        Raises:
            Missing: an object, key or claim is not there.
        """
        for name, source in self._pod.volumes.items():
            folder = self._folder / name
            if isinstance(source, Claim):
                if source.name not in self._claims:
                    raise Missing(f"PersistentVolumeClaim {source.name} does not exist")
                self._own(self._claims[source.name], 0o2775)
            elif isinstance(source, EmptyDir):
                folder.mkdir(parents=True, exist_ok=True)
                self._own(folder, 0o2777 if self._group is not None else 0o777)
            else:
                folder.mkdir(parents=True, exist_ok=True)
                self._project(source, folder, stored, facts)

    def _own(self, folder: Path, mode: int) -> None:
        if self._group is not None:
            os.chown(folder, -1, self._group)
        folder.chmod(mode)

    def _project(self, source: Projected, folder: Path, stored: Stored, facts: PodFacts) -> None:
        for part in source.sources:
            mode, files = source.mode, dict[str, bytes]()
            if isinstance(part, Keys):
                mode = source.mode if part.mode is None else part.mode
                contents = contents_of(stored, part.kind, part.name, optional=part.optional)
                for key, path in (part.paths or {key: key for key in contents}).items():
                    if key in contents:
                        files[path] = contents[key]
                    elif not part.optional:
                        raise Missing(f"{part.kind} {part.name} has no key {key}")
            elif isinstance(part, PodFields):
                files = {path: facts.field(name).encode() for path, name in part.paths.items()}
            else:
                files = {part.path: TOKEN.encode()}
            for path, content in files.items():
                self._write(folder / path, content, mode)

    def _write(self, path: Path, content: bytes, mode: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        fresh.write_bytes(content)
        if self._group is not None:  # as the kubelet: the pod's group may read it
            os.chown(fresh, -1, self._group)
            mode |= 0o440
        fresh.chmod(mode)
        fresh.replace(path)

    def mounts_of(self, container: Container) -> list[dict[str, Any]]:
        """The container's mounts, outer folders first.

        Raises:
            NotUnderstood: a mount of a volume that the pod does not have.
        """
        mounts = [self._mount(mount) for mount in container.mounts]
        if self._pod.has_token:
            folder = self._folder / ".token"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "token").write_text(TOKEN)
            mounts.append(_bind(folder, _TOKEN_FOLDER, read_only=True))
        return sorted(mounts, key=lambda mount: str(mount["target"]))

    def _every_mount(self) -> list[VolumeMount]:
        containers = (*self._pod.init_containers, *self._pod.containers)
        return [mount for container in containers for mount in container.mounts]

    def _mount(self, mount: VolumeMount) -> dict[str, Any]:
        source = self._pod.volumes.get(mount.volume)
        if source is None:
            raise NotUnderstood(
                f"{mount.path} mounts {mount.volume}, which is no volume of the pod."
            )
        alone = sum(m.volume == mount.volume for m in self._every_mount()) == 1
        if isinstance(source, EmptyDir) and source.in_memory and alone:
            size = f",size={whole(source.size)}" if source.size else ""
            return {"kind": "tmpfs", "target": mount.path, "options": f"mode=1777{size}"}
        folder = self._claims[source.name] if isinstance(source, Claim) else None
        path = (folder or self._folder / mount.volume) / mount.sub_path
        if mount.sub_path and not path.exists():
            path.mkdir(parents=True)
            self._own(path, 0o2777)
        fixed = isinstance(source, Projected) or (isinstance(source, Claim) and source.read_only)
        return _bind(path, mount.path, read_only=mount.read_only or fixed)


def _bind(source: Path, target: str, *, read_only: bool) -> dict[str, Any]:
    return {"kind": "bind", "source": str(source), "target": target, "read_only": read_only}
