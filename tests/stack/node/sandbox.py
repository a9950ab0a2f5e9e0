"""From a container's description to the orders that `container_process` carries out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..manifests.fields import NotUnderstood
from ..manifests.pods import Container
from ..manifests.quantities import quantity, whole
from .environment import expand
from .images import Images, LocalImage
from .names import search_path

_OPEN_FILES = 65536


def orders_for(
    container: Container,
    image: LocalImage,
    images: Images,
    *,
    environment: Mapping[str, str],
    mounts: Sequence[Mapping[str, Any]],
    hostname: str,
    address: str,
    namespace: str,
    name_server: str,
    namespaces_of: int,
    root: Path,
) -> dict[str, Any]:
    """The orders.

    Raises:
        NotUnderstood: no command, or a user that Kubernetes would refuse.
    """
    security = container.security
    uid = image.uid if security.uid is None else security.uid
    gid = image.gid if security.gid is None else security.gid
    if security.must_not_be_root and uid == 0:
        raise NotUnderstood(f"{container.name} must not be root, and its image's user is root.")
    entry = image.config.entrypoint if container.command is None else container.command
    args = container.args
    if args is None:
        args = image.config.command if container.command is None else ()
    command = [expand(word, environment) for word in (*entry, *args)]
    if not command:
        raise NotUnderstood(f"{container.name} has no command, and its image {image.name} none.")
    common = images.common
    groups = {*security.groups, *([security.fs_group] if security.fs_group is not None else [])}
    full = {"HOSTNAME": hostname, "HOME": "/root" if uid == 0 else "/", **environment}
    return {
        "root": str(root),
        "namespaces_of": namespaces_of,
        "links": {**common["links"], **image.links},
        "files": {
            "/etc/passwd": _text(f"root:x:0:0:root:/root:/bin/sh\nuser:x:{uid}:{gid}::/:/bin/sh\n"),
            "/etc/group": _text(f"root:x:0:\nuser:x:{gid}:\n"),
            "/etc/hostname": _text(f"{hostname}\n"),
            "/etc/hosts": _text(f"127.0.0.1\tlocalhost\n{address}\t{hostname}\n"),
            "/etc/nsswitch.conf": _text("passwd: files\ngroup: files\nhosts: files dns\n"),
            "/etc/resolv.conf": _text(f"nameserver {name_server}\n{search_path(namespace)}"),
            **image.programs,
        },
        "folders": common["folders"] | {image.config.directory: 0o755},
        "mounts": [*common["mounts"], *image.mounts, *mounts],
        "limits": _limits(container),
        "read_only_root": security.read_only_root,
        "no_new_privileges": security.no_new_privileges,
        "drop_capabilities": security.drop_all,
        "uid": uid,
        "gid": gid,
        "groups": sorted(groups),
        "open_files": _OPEN_FILES,
        "directory": container.directory or image.config.directory,
        "command": command,
        "environment": full,
    }


def _limits(container: Container) -> dict[str, str]:
    """Files of /sys/fs/cgroup by which programs such as Ray see their container's limits."""
    memory, cpu = container.limits.get("memory"), container.limits.get("cpu")
    return {
        "memory.max": str(whole(memory)) if memory else "max",
        "cpu.max": f"{int(quantity(cpu) * 100_000)} 100000" if cpu else "max 100000",
        # Nothing is measured: a container that has just begun.
        "memory.current": str(64 * 2**20),
        "memory.stat": "inactive_file 0\nactive_file 0",
    }


def _text(text: str) -> dict[str, Any]:
    return {"text": text, "mode": 0o644}
