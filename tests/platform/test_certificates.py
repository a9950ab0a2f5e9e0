"""Certificates in files: bad ones are refused, those that are replaced are read again."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from tests.authority import Authority, serial_of, serial_shown

from tunesmith.platform.certificates import (
    LOOK_SECONDS,
    Authorities,
    CertificateUnusable,
    ServedCertificate,
)

NAME = "gateway.example"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def shown(server: ssl.SSLContext, client: ssl.SSLContext) -> int:
    return serial_shown(server, client, NAME)


def test_a_certificate_that_is_replaced_is_shown_to_who_comes_then(tmp_path: Path) -> None:
    authority, clock = Authority(tmp_path), Clock()
    files = authority.sign(NAME)
    served = ServedCertificate(*files, clock=clock)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    client = ssl.create_default_context(cafile=authority.file)
    first = serial_of(files[0].read_bytes())
    assert shown(context, client) == first

    authority.sign(NAME)
    served.refresh(context)
    assert shown(context, client) == first, "looked at too often"
    clock.now += LOOK_SECONDS
    served.refresh(context)
    second = serial_of(files[0].read_bytes())
    assert shown(context, client) == second != first

    key = files[1].read_bytes()
    authority.sign(NAME)  # as by who writes one file after the other
    newer = files[1].read_bytes()
    files[1].write_bytes(key)
    clock.now += LOOK_SECONDS
    served.refresh(context)
    assert shown(context, client) == second, "a certificate without its key"
    files[1].write_bytes(newer)
    clock.now += LOOK_SECONDS
    served.refresh(context)
    assert shown(context, client) == serial_of(files[0].read_bytes())


def test_an_authority_that_takes_over_is_believed_and_the_one_before_no_more(
    tmp_path: Path,
) -> None:
    old, new, clock = Authority(tmp_path / "old"), Authority(tmp_path / "new"), Clock()
    contexts = []
    for authority in (old, new):
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        contexts[-1].load_cert_chain(*authority.sign(NAME))
    file = tmp_path / "ca.crt"
    file.write_bytes(old.file.read_bytes())
    authorities = Authorities(file, clock=clock)
    assert shown(contexts[0], authorities.context)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(contexts[1], authorities.context)

    for content, believed in (
        (old.file.read_bytes() + new.file.read_bytes(), contexts),
        (b"half a file", contexts),
        (new.file.read_bytes(), contexts[1:]),
    ):
        file.write_bytes(content)
        clock.now += LOOK_SECONDS
        for context in believed:
            assert shown(context, authorities.context)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown(contexts[0], authorities.context)


def test_files_that_cannot_be_used_are_refused_by_name(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).sign(NAME)
    _, other = Authority(tmp_path / "other").sign(NAME)
    for files in ((certificate, other), (certificate, tmp_path / "none"), (key, key)):
        with pytest.raises(CertificateUnusable, match=f"{files[1]} cannot be used"):
            ServedCertificate(*files)
    for file in (tmp_path / "none", key):
        with pytest.raises(CertificateUnusable, match=f"authorities' certificates {file}"):
            Authorities(file)
