"""Certificates in files, which whoever issues them replaces while they are in use."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Final

import structlog

from tunesmith.platform.domain.errors import TunesmithError

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 60.0
"""Time between two looks at files: Kubernetes takes as long to show pods a new Secret."""

_Stamps = tuple[tuple[int, int, int] | None, ...]


class CertificateUnusable(TunesmithError):
    """A file of certificates or keys cannot be used; the message names it."""


class ServedCertificate:
    """The certificate and key by which a server shows who it is.

    Raises:
        CertificateUnusable: a file is missing, is no PEM file, or they do not belong together.
    """

    def __init__(
        self, certificate: Path, key: Path, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._certificate = certificate
        self._key = key
        self._files = _Files(clock, certificate, key)
        self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def refresh(self, context: ssl.SSLContext) -> None:
        """Have new connections of `context` see what the files hold now; it never raises.

        Files that cannot be used are said in the log, and looked at again.
        """
        if not self._files.are_new():
            return
        try:
            # Elsewhere first: a certificate without its key would leave the context with neither.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(context)
        except CertificateUnusable as error:
            log.error("certificate not replaced", why=error.message)
        else:
            self._files.were_read()
            log.info("certificate replaced", certificate=str(self._certificate))

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate, self._key)
        except OSError as error:  # ssl.SSLError is one
            raise CertificateUnusable(
                f"The certificate {self._certificate} and the key {self._key} cannot be used"
                f" ({_words(error)}): they have to be PEM files, the key without a password and of"
                " this certificate."
            ) from error


class Authorities:
    """Whose signature under a server's certificate is believed.

    Args:
        file: PEM file of their certificates; the system's, or those of `SSL_CERT_FILE`, where
            not given.

    Raises:
        CertificateUnusable: the file is missing, or has no certificate.
    """

    def __init__(self, file: Path | None, *, clock: Callable[[], float] = monotonic) -> None:
        self._file = file
        self._context: ssl.SSLContext | None = None
        self._files = _Files(clock, *([file] if file else []))
        if file is not None:
            self._context = _believing(file)

    @property
    def context(self) -> ssl.SSLContext:
        """For connections to servers; another one once the file was replaced."""
        if self._context is None:  # the system's are many: 30 ms, for whoever needs them
            self._context = ssl.create_default_context()
        elif self._file is not None and self._files.are_new():
            try:
                self._context = _believing(self._file)
            except CertificateUnusable as error:
                log.error("authorities not replaced", why=error.message)
            else:
                self._files.were_read()
                log.info("authorities replaced", file=str(self._file))
        return self._context


def _believing(file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except OSError as error:
        raise CertificateUnusable(
            f"The authorities' certificates {file} cannot be used ({_words(error)}): it has to be"
            " a PEM file with at least one certificate."
        ) from error


def _words(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or type(error).__name__


class _Files:
    """Files that are looked at now and then."""

    def __init__(self, clock: Callable[[], float], *paths: Path) -> None:
        self._clock = clock
        self._paths = paths
        self._read = self._found = self._stamps()
        self._next_look = clock() + LOOK_SECONDS

    def are_new(self) -> bool:
        """Whether they are others than those that were read, as far as was looked."""
        if self._clock() < self._next_look:
            return False
        self._next_look = self._clock() + LOOK_SECONDS
        self._found = self._stamps()
        return self._found != self._read

    def were_read(self) -> None:
        """What `are_new` found is in use."""
        self._read = self._found

    def _stamps(self) -> _Stamps:
        return tuple(map(_stamp, self._paths))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()  # of what a link leads to: Kubernetes replaces links
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
