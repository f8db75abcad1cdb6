"""A database of their own for the tests, empty at the beginning of each."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("DATABASE_URL", f"sqlite:///{tempfile.mkdtemp()}/tests.db")

import pytest
from alembic import command
from alembic.config import Config
from fastapi.testclient import TestClient
from tracker.app import app
from tracker.database import Base, engine


@pytest.fixture(scope="session")
def alembic() -> Config:
    return Config(Path(__file__).parent.parent / "alembic.ini")


@pytest.fixture(scope="session", autouse=True)
def schema(alembic: Config) -> None:
    command.upgrade(alembic, "head")


@pytest.fixture(autouse=True)
def empty() -> None:
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(app) as client:
        yield client


@pytest.fixture
def ada(client: TestClient) -> int:
    user = client.post("/users", json={"name": "Ada", "email": "ada@example.com"}).json()
    identity: int = user["id"]
    return identity


@pytest.fixture
def project(client: TestClient, ada: int) -> str:
    """A project with two issues, the URL of it."""
    client.post("/projects", json={"key": "AQ", "name": "afternoon queries"})
    for title, labels in (("It is slow", ["bug", "speed"]), ("It is red", ["bug"])):
        issue = {"title": title, "author_id": ada, "labels": labels}
        assert client.post("/projects/AQ/issues", json=issue).status_code == 201
    return "/projects/AQ"
