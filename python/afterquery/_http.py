"""One question to a replica: no proxy, no redirect, and a limit on its time and on its answer."""

from __future__ import annotations

import http.client
import io
import json
import socket
import ssl
import time
from typing import Any
from urllib.parse import SplitResult, urlsplit

from afterquery._core import quoted

MAX_ANSWER_BYTES = 1 << 20
"""What the platform under StarbaseDB allows an answer, too."""


class Asker:
    """Asks one replica; each question has a connection of its own."""

    def __init__(self, url: str, auth_token: str | None, timeout: float, max_bytes: int) -> None:
        self._url = checked(url)
        self._headers = {"Content-Type": "application/json", "Connection": "close"}
        if auth_token is not None:
            if not auth_token.isprintable() or not auth_token.isascii():
                raise ValueError("auth_token holds a character that no HTTP header may hold")
            self._headers["Authorization"] = f"Bearer {auth_token}"
        self._timeout = timeout
        self._max_bytes = max_bytes

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a SELECT. Raises `OSError` where there is no answer of a replica in time."""
        deadline = time.monotonic() + self._timeout
        body = json.dumps({"sql": sql}).encode()
        try:
            status, answer = self._post(body, deadline)
        except http.client.HTTPException as error:
            problem = quoted(f"{type(error).__name__}: {error}")
            raise OSError(f"the replica's answer is not HTTP: {problem}") from None
        if status != 200:
            said = quoted(answer[:2_000].decode(errors="replace"))
            raise OSError(f"the replica answered HTTP {status}: {said}")
        return rows(answer)

    def _post(self, body: bytes, deadline: float) -> tuple[int, bytes]:
        host = self._url.hostname or ""
        connection = http.client.HTTPConnection(host, self._url.port)
        with _Timed(_connect(self._url, deadline), deadline, self._max_bytes) as timed:
            # http.client needs of a socket what `_Timed` has.
            connection.sock = timed
            connection.request("POST", f"{self._url.path}/query", body, self._headers)
            with connection.getresponse() as response:
                return response.status, response.read()


def checked(url: str) -> SplitResult:
    """The parts of a replica's URL. Raises `ValueError` where it cannot be used; what may be
    secret of it is not repeated."""
    if not url.startswith(("http://", "https://")):
        raise ValueError("a replica's URL starts with http:// or https://")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("a replica's URL holds printable ASCII characters and no spaces")
    parts = urlsplit(url.rstrip("/"))
    if "@" in parts.netloc:
        raise ValueError("the URL holds a user or password; pass the token as auth_token instead")
    if "?" in url or "#" in url:
        raise ValueError("the URL must not have a ? or # part; give the base, without /query")
    try:
        port = parts.port
    except ValueError:
        raise ValueError("the URL's port is no number up to 65535") from None
    if not parts.hostname or port == 0:
        raise ValueError("the URL names no host")
    return parts


def rows(answer: bytes) -> list[tuple[Any, ...]]:
    """The rows of a replica's answer. Raises `OSError` where it is none."""
    try:
        parsed = json.loads(answer)
    except (ValueError, RecursionError):
        raise OSError("the answer is not JSON, as a replica's is") from None
    found = parsed.get("result") if isinstance(parsed, dict) else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise OSError("the answer holds no rows, as a replica's does")
    return [tuple(row.values()) for row in found]


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the replica did not answer in time")
    return left


def _connect(url: SplitResult, deadline: float) -> socket.socket:
    """Connects to the first address that answers, all of them within the time."""
    host, secure = url.hostname or "", url.scheme == "https"
    problem = OSError("the replica's host has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(
        host, url.port or (443 if secure else 80), type=socket.SOCK_STREAM
    ):
        plain = socket.socket(family, kind, protocol)
        try:
            plain.settimeout(_left(deadline))
            plain.connect(address)
            if secure:
                plain.settimeout(_left(deadline))
                return ssl.create_default_context().wrap_socket(plain, server_hostname=host)
        except OSError as error:
            plain.close()
            problem = error
        else:
            return plain
    raise problem


class _Timed:
    """What `http.client` uses of a socket, with the time and the bytes that are left."""

    def __init__(self, sock: socket.socket, deadline: float, max_bytes: int) -> None:
        self._socket = sock
        self._deadline = deadline
        self._max_bytes = max_bytes

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left(self._deadline))
        self._socket.sendall(data)

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(_Answer(self._socket, self._deadline, self._max_bytes))

    def close(self) -> None:
        """Called before the answer is read, where the replica will close the connection."""

    def __enter__(self) -> _Timed:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class _Answer(io.RawIOBase):
    """All that a replica sends, its headers too."""

    def __init__(self, sock: socket.socket, deadline: float, max_bytes: int) -> None:
        self._socket = sock
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(_left(self._deadline))
        count = self._socket.recv_into(buffer)
        self._count += count
        if self._count > self._max_bytes:
            raise OSError(f"the replica's answer is longer than {self._max_bytes} bytes")
        return count
