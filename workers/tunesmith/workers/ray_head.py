"""`python -m tunesmith.workers.ray_head`: a local Ray head, in the foreground.

It listens at TUNESMITH_RAY_ADDRESS (HOST:PORT). Some of Ray's ports are open to the network
whatever its address: whoever starts it should set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN.

Ray's sockets lie in a short folder under the system's temporary one: a UNIX socket's path has at
most 107 characters.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from tunesmith.platform.settings import Settings
from tunesmith.platform.supervisor.ports import free_port

_OBJECT_STORE_BYTES = 128 * 1024 * 1024


def session_folder(home: Path) -> Path:
    """Where the Ray of this home keeps its sockets and logs."""
    mark = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"tunesmith-ray-{mark}"


def main() -> None:
    """Become `ray start --head`."""
    settings = Settings()
    host, _, port = (settings.ray_address or "").rpartition(":")
    if not host or not port.isdigit():
        sys.exit("TUNESMITH_RAY_ADDRESS must be HOST:PORT: the address at which Ray shall listen.")
    folder = session_folder(settings.home)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(mode=0o700, parents=True)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    command = [
        sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
        "--port", port,
        "--node-ip-address", host,
        "--include-dashboard", "false",
        # Free ports: the default ones may be another Ray's on this machine.
        "--dashboard-agent-listen-port", "0",
        "--ray-client-server-port", str(free_port()),
        "--object-store-memory", str(_OBJECT_STORE_BYTES),
        "--temp-dir", str(folder),
        "--disable-usage-stats",
    ]  # fmt: skip
    os.execv(sys.executable, command)  # noqa: S606


if __name__ == "__main__":
    main()
