"""Django in processes of its own: under gunicorn and uvicorn, its test runner, its commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from replication.world import Primary, assert_same, peers
from support.docs import ROOT
from support.peer import PeerProcess
from support.process import ADMIN_TOKEN
from support.serve import ServerProcess

pytestmark = pytest.mark.slow

GUNICORN = ["gunicorn", "django_project.wsgi", "-b", "127.0.0.1:{port}"]
UVICORN = ["uvicorn", "django_project.asgi:application", "--port", "{port}"]
SERVERS = {
    "gunicorn": GUNICORN,
    "gunicorn-2-preload": [*GUNICORN, "-w", "2", "--preload"],
    "gunicorn-threads": [*GUNICORN, "--threads", "8"],
    "uvicorn": UVICORN,
}


@dataclass
class Project:
    """The project with a database and replicas of its own."""

    folder: Path
    replicas: list[PeerProcess]

    def environment(self, **settings: Any) -> dict[str, str]:
        return {
            "DATABASE": str(self.folder / "p.db"),
            "REPLICAS": ",".join(process.url for process in self.replicas),
            "TOKEN": ADMIN_TOKEN,
            "DJANGO_SETTINGS_MODULE": "django_project.settings",
            "PYTHONPATH": str(ROOT / "tests"),
            "AFTERQUERY": json.dumps(settings),
        }

    def manage(self, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "django", *arguments, **settings)

    def python(self, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, **self.environment(**settings)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )

    def count(self, sql: str) -> list[Any]:
        return [process.client().value(sql) for process in self.replicas]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with peers(tmp_path, 2) as replicas:
        project = Project(tmp_path, replicas)
        done = project.manage("migrate", "--verbosity", "0")
        assert done.returncode == 0, done.stderr
        # The command's end has waited for the replicas.
        with Primary(tmp_path / "p.db") as primary:
            assert_same(primary, *replicas)
        yield project


@pytest.mark.parametrize("server", SERVERS)
def test_what_was_answered_arrives_before_the_end(project: Project, server: str) -> None:
    given = project.environment()
    with ServerProcess(SERVERS[server], project.folder, given) as process:

        def ask(number: int) -> int:
            path = ("add", "fail", "add-in-the-loop")[number % 3]
            return httpx.get(f"{process.url}/{path}/n{number}", timeout=60).status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(ask, range(60)))
        assert statuses == [201, 500, 201] * 20, process.log()
        assert process.stop() in {0, -15}
    with Primary(project.folder / "p.db") as primary:
        assert primary.rows("SELECT count(*) FROM shop_book") == [(60,)]
        if "2" in server:  # two processes, two orders
            names = "SELECT group_concat(name) FROM (SELECT name FROM shop_author ORDER BY name)"
            assert project.count(names) == [primary.rows(names)[0][0]] * 2
        else:
            assert_same(primary, *project.replicas)
    # A clean end leaves no origin behind.
    assert project.count("SELECT count(*) FROM tmp_afterquery_watermark") == [0, 0]


@pytest.mark.parametrize("followed", [False, True])
def test_a_test_run_reaches_the_replicas_only_if_told(project: Project, followed: bool) -> None:
    done = project.manage(
        "test", "django_project.shop", TEST_DATABASES=followed, TABLES=["shop_author"]
    )
    assert done.returncode == 0, done.stderr
    # Emptied at the end; the numbers that were given out tell that it was there.
    assert project.count("SELECT count(*) FROM shop_author") == [0, 0]
    given = project.count("SELECT count(*) FROM sqlite_sequence WHERE name = 'shop_author'")
    assert given == ([1, 1] if followed else [0, 0])


def test_a_command_does_not_wait_for_a_replica_that_it_has_nothing_for(project: Project) -> None:
    for replica in project.replicas:
        replica.kill()
    assert project.manage("showmigrations", CLOSE_TIMEOUT=3600.0).returncode == 0


REMAKE = """
import django
django.setup()
from django.db import connection, models
from django_project.shop.models import Author, Book, Everything

Book.objects.create(author=Author.objects.create(name="a"), title="1")
stars = models.IntegerField(default=3)
stars.set_attributes_from_name("stars")
with connection.schema_editor() as editor:
    editor.add_field(Author, stars)
Everything.objects.create(slug="later")
"""


def test_a_table_that_others_refer_to_cannot_be_made_anew_there(project: Project) -> None:
    """Foreign keys cannot be switched off on a replica, as Django does on the primary."""
    done = project.python("-c", REMAKE)
    assert done.returncode == 0
    for replica in project.replicas:
        assert f"replica {replica.url} rejected write 3: constraint: " in done.stderr
    # Nothing of it is done there, and what comes after it is.
    assert project.count("SELECT count(*) FROM pragma_table_info('shop_author')") == [3, 3]
    assert project.count("SELECT slug FROM shop_everything") == ["later", "later"]


WRONG: dict[str, list[Any]] = {
    "REPLICAS": [None, "http://x", [], [5], ["ftp://x"], [{"NAME": "x"}], ["http://x"] * 2,
                 [{"URL": "http://x", "TIMEOUT": 5}]],
    "DATABASES": ["default", [], ["nowhere"]],
    "TABLES": ["users", [5]],
    "AUTH_TOKEN": [5],
    "DDL": ["yes", 1],
    "ON_REJECT": ["stop"],
    "NONDETERMINISTIC": [True],
    "MAX_LAG_WRITES": [0, "many", True, 1.5],
    "REQUEST_TIMEOUT": [-1],
    "CLOSE_TIMEOUT": [None],
    "REPLICA": ["http://x"],
}  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in WRONG.items() for v in values])
def test_wrong_settings_are_told(tmp_path: Path, key: str, value: Any) -> None:
    project = Project(tmp_path, [])
    given = {"REPLICAS": ["http://127.0.0.1:1"], "AUTH_TOKEN": "a-secret", key: value}
    done = project.manage("check", **given)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("django.core.exceptions.ImproperlyConfigured: AFTERQUERY"), done.stderr
    assert key in last
    assert "a-secret" not in done.stderr
