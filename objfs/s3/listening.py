"""Where the S3 door listens: addresses as people write them, sockets, the certificate.

Sockets are bound before anything else is opened, so that an address in use is said at once, and
listen only when requests can be answered.
"""

import logging
import os
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from objfs.base.errors import InvalidRequest, ListenError
from objfs.base.limits import S3_CONNECTIONS_WAITING_MAX

logger = logging.getLogger(__name__)

PORT_MAX = 65535
ALPN = ("http/1.1",)


class Address(NamedTuple):
    """HOST:PORT. An empty host is every address of the machine; port 0 is any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`127.0.0.1:9000`, `[::1]:9000`, `localhost:9000`, `:9000`. InvalidRequest."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise InvalidRequest(f"{text}: write an IPv6 address in brackets, as in [::1]:9000")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise InvalidRequest(f"{text}: give HOST:PORT, as in 127.0.0.1:9000")
    return Address(host, int(port))


def bind(address: Address) -> list[socket.socket]:
    """A bound socket for each address that the host has; all have the same port. ListenError."""
    sockets: list[socket.socket] = []
    port = address.port
    try:
        for family, found in _resolve(address):
            sockets.append(_bound(family, (found, port), alone=not address.host))
            port = sockets[0].getsockname()[1]
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def _resolve(address: Address) -> list[tuple[socket.AddressFamily, str]]:
    if not address.host:
        return [(socket.AF_INET6, "::") if socket.has_dualstack_ipv6() else (socket.AF_INET, "")]
    try:
        infos = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ListenError(f"{address.host}: there is no such host: {error.strerror}") from error
    return list(dict.fromkeys((info[0], str(info[4][0])) for info in infos))


def _bound(family: socket.AddressFamily, address: tuple[str, int], *, alone: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # One socket for both only where it stands for every address.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not alone))
        made.bind(address)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise cannot_listen(Address(*address), error) from error
    return made


def cannot_listen(address: Address, error: OSError) -> ListenError:
    """Why nothing can listen there."""
    return ListenError(f"cannot listen on {address}: {os.strerror(error.errno or 0)}")


def listen(sockets: Sequence[socket.socket]) -> None:
    """Let clients connect. ListenError."""
    for each in sockets:
        try:
            each.listen(S3_CONNECTIONS_WAITING_MAX)
        except OSError as error:  # somebody bound the same address meanwhile, and was faster
            raise cannot_listen(bound_address(each), error) from error


def bound_address(of: socket.socket) -> Address:
    """Where a socket is bound: its true port."""
    host, port, *_ = of.getsockname()
    return Address(host, port)


class Certificate:
    """A certificate and its key, for TLS 1.2 and later and HTTP/1.1 only. Files that were replaced
    since are read again: a renewed certificate needs no restart. ListenError."""

    def __init__(self, certificate: Path, key: Path | None = None) -> None:
        self._certificate = certificate
        self._key = key
        self._seen = self._marks()
        self._context = _tls_context(certificate, key)

    def context(self) -> ssl.SSLContext:
        """For the next connection. What cannot be read any more leaves everything as it was."""
        marks = self._marks()
        if marks != self._seen:
            self._seen = marks
            try:
                self._context = _tls_context(self._certificate, self._key)
                logger.info("read the certificate %s again", self._certificate)
            except ListenError as error:
                logger.error("the old certificate stays in use: %s", error)
        return self._context

    def _marks(self) -> list[tuple[int, int]]:
        files = [file for file in (self._certificate, self._key) if file is not None]
        found = [file.stat() for file in files if file.exists()]
        return [(each.st_ino, each.st_mtime_ns) for each in found]


def _tls_context(certificate: Path, key: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(list(ALPN))
    for file in (certificate, key):
        if file is not None and not os.access(file, os.R_OK):
            reason = "cannot be read" if file.exists() else "there is no such file"
            raise ListenError(f"{file}: {reason}")
    try:
        # A key with a password would ask for it on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: b"")
    except (ssl.SSLError, OSError) as error:
        what = f"{certificate}" if key is None else f"{certificate} and {key}"
        reason = getattr(error, "reason", None) or str(error)
        raise ListenError(
            f"{what} are no certificate and its key without a password, in PEM form: {reason}"
        ) from error
    return context
