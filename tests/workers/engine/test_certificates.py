"""vLLM's own reading of certificates that are replaced as Kubernetes replaces a mounted Secret."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
from pathlib import Path

import pytest
from tests.authority import Authority, serial_shown
from tests.charts.rendering import MATRIX, containers, environment, render

NAME = "engine.ai.svc"


class MountedSecret:
    """A folder as kubelet keeps it: links to a link to a folder, which is replaced whole."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        folder.mkdir()
        self._folder = folder
        self._authority = authority
        self._versions: list[Path] = []
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.replace()
        for file in (self.certificate, self.key):
            file.symlink_to(f"..data/{file.name}")

    def replace(self) -> None:
        """Put a new certificate and key there."""
        version = self._folder / f"..{len(self._versions)}"
        for file in self._authority.sign(NAME, into=version):
            # Polling tells times of different seconds apart.
            os.utime(file, (0, 1_000_000_000 + 10 * len(self._versions)))
        link = self._folder / "..data_tmp"
        link.symlink_to(version.name)
        os.rename(link, self._folder / "..data")
        if self._versions:
            shutil.rmtree(self._versions[-1])
        self._versions.append(version)


def test_an_engine_shows_every_new_certificate_of_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the chart's variables; by vLLM's default it would see the first one alone."""
    refresher = pytest.importorskip("vllm.entrypoints.launchers.utils.ssl").SSLCertRefresher
    engine = next(
        container
        for where, container in containers(render(MATRIX["everything on"]), init=False)
        if where.endswith(" engine")
    )
    for name, value in environment(engine).items():
        if name.startswith("WATCHFILES_"):
            monkeypatch.setenv(name, "50" if name.endswith("_MS") else value)
    authority = Authority(tmp_path)
    secret = MountedSecret(tmp_path / "secret", authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secret.certificate, secret.key)
    client = ssl.create_default_context(cafile=authority.file)

    async def story() -> None:
        watching = refresher(context, str(secret.key), str(secret.certificate))
        for _ in range(3):
            before, looks = serial_shown(context, client, NAME), 0
            while serial_shown(context, client, NAME) == before:
                if looks % 60 == 0:  # again: it tells nobody when it has begun to look
                    secret.replace()
                looks += 1
                await asyncio.sleep(0.05)
        watching.stop()

    asyncio.run(asyncio.wait_for(story(), 60))
