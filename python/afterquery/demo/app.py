"""A small FastAPI application on SQLite, replicated. uvicorn runs it in a process of its own."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from afterquery import Replica, Replicator
from afterquery.demo.database import Database
from afterquery.demo.numbers import numbers
from afterquery.demo.routes import database, routes
from afterquery.demo.values import register_adapters

SETTINGS = "AFTERQUERY_DEMO"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the demo tells its application, through the environment."""

    db: str
    replicas: tuple[tuple[str, str | None, str], ...]
    """URL, name, token."""

    def to_environment(self) -> dict[str, str]:
        return {SETTINGS: json.dumps(asdict(self))}


def create() -> FastAPI:
    """For `uvicorn --factory`."""
    settings = Settings(**json.loads(os.environ[SETTINGS]))
    register_adapters()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        replicas = [
            Replica(url, name=name, auth_token=token) for url, name, token in settings.replicas
        ]
        # Nobody watching wants to wait the default 15 s for a replica that is back.
        async with Replicator(replicas, ddl=True, retry_max=2.0) as replicator:
            app.state.db = Database(Path(settings.db), replicator)
            app.state.db.create()
            yield
            app.state.db.close()

    app = FastAPI(lifespan=lifespan)
    app.include_router(routes)
    app.add_api_route("/_demo/numbers", show_numbers)
    app.add_api_route("/_demo/flush", flush, methods=["POST"])
    app.add_exception_handler(sqlite3.IntegrityError, refused(409))
    app.add_exception_handler(sqlite3.OperationalError, refused(400))
    return app


def refused(status: int) -> Any:
    async def answer(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": str(error)}, status)

    return answer


async def show_numbers(request: Request, took: bool = False) -> dict[str, Any]:
    return numbers(database(request), took=took)


async def flush(request: Request, timeout: float) -> bool:
    return await database(request).replicator.aflush(timeout)
