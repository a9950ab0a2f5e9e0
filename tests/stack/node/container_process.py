"""The program that becomes a container: namespaces, mounts, user, then the container's command.

Run by itself with the standard library alone (`python -I -S container_process.py`). It reads its
orders as JSON, one line on standard input, and takes the end of standard input as the order to
kill: whoever started it may be killed at any time, and nothing is left behind.

It writes one JSON line, `{"pid": N}`, to the descriptor that its argument numbers, once the
command's process is there: process 1 of its own PID namespace, as in a container. Its exit code is
the command's, with the shell's 128 + N for signal N; what the command prints goes to its own
standard output.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import select
import signal
import stat
import sys
from typing import Any

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 32, 4096, 16384, 1 << 18
_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38
_MNT_DETACH = 2
_SYS_PIVOT_ROOT = 155  # x86-64
_CAPABILITIES = 41

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    done = _libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode())
    _check(done, f"mount {source} at {target}")


def _report(pid: int) -> None:
    os.write(int(sys.argv[1]), (json.dumps({"pid": pid}) + "\n").encode())


def _enter(pid: int, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
        _check(_libc.setns(descriptor, 0), f"enter the {kind} namespace of {pid}")
        os.close(descriptor)


def _make_place(root: str, target: str, *, is_file: bool) -> str:
    """The path below `root` where something is to be mounted, made if it is not there."""
    place = root + target
    if is_file:
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if not os.path.lexists(place):
            os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o644))
    else:
        os.makedirs(place, exist_ok=True)
    return place


def _bind(root: str, source: str, target: str, *, read_only: bool) -> None:
    place = _make_place(root, target, is_file=not stat.S_ISDIR(os.stat(source).st_mode))
    _mount(source, place, "none", _MS_BIND | _MS_REC)
    if read_only:
        _mount("none", place, "none", _MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def _build_root(orders: dict[str, Any]) -> None:
    """Mount the image and the volumes at a new root, and leave the old one."""
    root = orders["root"]
    _mount("none", "/", "none", _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID, "mode=755")
    os.umask(0o022)
    for target, to in orders["links"].items():
        os.makedirs(os.path.dirname(root + target), exist_ok=True)
        os.symlink(to, root + target)
    for target, text in orders["files"].items():
        with open(_make_place(root, target, is_file=True), "w", encoding="utf-8") as file:
            file.write(text["text"])
        os.chmod(root + target, text["mode"])
    for target, mode in orders["folders"].items():
        os.makedirs(root + target, exist_ok=True)
        os.chmod(root + target, mode)
    for mount in orders["mounts"]:
        if mount["kind"] == "overlay":
            place = _make_place(root, mount["target"], is_file=False)
            _mount("overlay", place, "overlay", _MS_RDONLY, f"lowerdir={':'.join(mount['layers'])}")
        elif mount["kind"] == "tmpfs":
            place = _make_place(root, mount["target"], is_file=False)
            _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, mount["options"])
        else:
            _bind(root, mount["source"], mount["target"], read_only=mount["read_only"])
    os.makedirs(root + "/proc", exist_ok=True)
    _mount("proc", root + "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _bind(root, "/sys", "/sys", read_only=True)
    _mount("tmpfs", root + "/sys/fs/cgroup", "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
    for name, text in orders["limits"].items():
        with open(f"{root}/sys/fs/cgroup/{name}", "w", encoding="utf-8") as file:
            file.write(text + "\n")
    os.makedirs(root + "/.old", exist_ok=True)
    if orders["read_only_root"]:
        _mount("none", root, "none", _MS_BIND | _MS_REMOUNT | _MS_RDONLY)
    os.chdir(root)
    _check(_libc.syscall(_SYS_PIVOT_ROOT, b".", b"./.old"), "pivot_root")
    os.chdir("/")
    _check(_libc.umount2(b"/.old", _MNT_DETACH), "leave the old root")


def _become_user(orders: dict[str, Any]) -> None:
    if orders["no_new_privileges"]:
        _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if orders["drop_capabilities"]:
        for capability in range(_CAPABILITIES):
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups(orders["groups"])
    os.setgid(orders["gid"])
    os.setuid(orders["uid"])


def _become_command(orders: dict[str, Any], parent_alive: int) -> None:
    """In the child: never returns."""
    try:
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.read(parent_alive, 1) != b"!":
            os._exit(1)
        os.setsid()
        _build_root(orders)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(orders["open_files"], hard), hard))
        _become_user(orders)
        # Changing the user has cleared it: prctl(2).
        _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        os.chdir(orders["directory"])
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, 0)
        os.closerange(3, 65536)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.umask(0o022)
        os.execvpe(orders["command"][0], orders["command"], orders["environment"])
    except OSError as error:
        print(f"container cannot start {orders['command'][:1]}: {error}", flush=True)
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def _wait(pid: int) -> int:
    """Until the process has ended; it is killed when standard input ends."""
    descriptor = os.pidfd_open(pid)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.register(0, select.POLLIN)
    while True:
        for ready, _ in poller.poll():
            if ready == descriptor:
                _, status = os.waitpid(pid, 0)
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
            if not os.read(0, 4096):
                poller.unregister(0)
                os.kill(pid, signal.SIGKILL)


def hold_namespaces(hostname: str) -> None:
    """What a pod's containers share; held until standard input ends."""
    _check(_libc.unshare(_CLONE_NEWNET | _CLONE_NEWUTS | _CLONE_NEWIPC), "unshare")
    _libc.sethostname(hostname.encode(), len(hostname.encode()))
    _report(os.getpid())
    while os.read(0, 4096):
        pass


def main() -> None:
    with os.fdopen(0, "rb", buffering=0, closefd=False) as given:
        orders = json.loads(given.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the end comes by standard input alone
    if "hold" in orders:
        hold_namespaces(orders["hold"])
        return
    _enter(orders["namespaces_of"], ("net", "uts", "ipc"))
    _check(_libc.unshare(_CLONE_NEWPID | _CLONE_NEWNS), "unshare")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        _become_command(orders, reader)
    os.write(writer, b"!")
    _report(pid)
    sys.exit(_wait(pid))


if __name__ == "__main__":
    main()
