"""A small client of the query protocol: one connection a request, nothing hidden."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30.0


class UnansweredError(Exception):
    """The connection ended before an answer was whole; whether the text was applied is open."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def result(self) -> Any:
        assert self.status == 200, self
        return json.loads(self.body)["result"]

    @property
    def error(self) -> str:
        assert self.status != 200, self
        error = json.loads(self.body)["error"]
        assert isinstance(error, str)
        return error


class Client:
    """Sends requests to one replica."""

    def __init__(self, url: str, token: str | None, timeout: float = TIMEOUT_SECONDS) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._prefix = parts.path.rstrip("/")
        self._token = token
        self._timeout = timeout

    def query(self, sql: str, params: object = None, path: str = "/query") -> Answer:
        """Send a text, with parameters if there are any."""
        body: dict[str, object] = {"sql": sql}
        if params is not None:
            body["params"] = params
        return self.send(json.dumps(body), path)

    def run(self, sql: str, params: object = None) -> None:
        """Send a text that must succeed."""
        answer = self.query(sql, params)
        assert answer.status == 200, answer

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a text that must succeed."""
        return [tuple(row.values()) for row in self.query(sql).result]

    def value(self, sql: str) -> Any:
        """The one value of a text that must succeed."""
        ((value,),) = self.rows(sql)
        return value

    def send(
        self,
        body: str | bytes,
        path: str = "/query",
        *,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a body as it is; `headers` are added, and replace those of the same name."""
        content = body.encode() if isinstance(body, str) else body
        sent = {"Content-Type": "application/json", "Connection": "close"}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        connection = http.client.HTTPConnection(self._host, timeout=self._timeout)
        try:
            connection.request(method, self._prefix + path, content, sent | (headers or {}))
            response = connection.getresponse()
            text = response.read().decode()
            return Answer(response.status, text, {k.lower(): v for k, v in response.getheaders()})
        except (OSError, http.client.HTTPException) as error:
            raise UnansweredError(str(error)) from error
        finally:
            connection.close()
