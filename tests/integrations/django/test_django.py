"""Django's ways to write: what commits is on the replicas, as it is on the primary."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, connections, transaction

from afterquery._failures import failures
from afterquery.django import replicator

if TYPE_CHECKING:
    from django_project.shop import models as shop
    from django_project.world import DjangoWorld
else:
    shop = SimpleNamespace()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DjangoWorld]:
    from django_project.world import django_world

    with django_world(tmp_path_factory.mktemp("django")) as world:
        from django_project.shop import models

        shop.__dict__.update(vars(models))
        yield world


@pytest.fixture
def world(started: DjangoWorld) -> Iterator[DjangoWorld]:
    shop.Author.objects.all().delete()
    shop.Everything.objects.all().delete()
    before = failures.counts()
    yield started
    started.same()
    assert failures.counts() == before


class StopError(Exception):
    """Leaves a block."""


def names() -> list[str]:
    return list(shop.Author.objects.order_by("id").values_list("name", flat=True))


def add(name: str) -> Any:
    return shop.Author.objects.create(name=name)


def test_the_migrations_made_the_replicas(world: DjangoWorld) -> None:
    tables = "SELECT name FROM sqlite_master WHERE name LIKE 'shop_%' AND type = 'table'"
    assert len(world.on_replica(tables)) == 3
    applied = world.on_replica("SELECT count(*) FROM django_migrations")
    assert applied[0][0]


def test_without_a_transaction_each_statement_is_a_write(world: DjangoWorld) -> None:
    before = world.writes()
    author = add("a")
    assert author.pk is not None
    author.name = "b"
    author.save()
    add("c").delete()
    shop.Author.objects.filter(name="b").update(name="d")
    assert world.writes() - before == 5
    assert names() == ["d"]


def test_atomic_is_one_write(world: DjangoWorld) -> None:
    before = world.writes()
    with transaction.atomic():
        author = add("a")
        shop.Book.objects.create(author=author, title="t")
        assert world.writes() == before
    with transaction.atomic(durable=True):
        add("b")
    assert world.writes() - before == 2


def test_rolled_back_is_no_write(world: DjangoWorld) -> None:
    before, dropped = world.writes(), world.dropped()
    with suppress(StopError), transaction.atomic():
        add("a")
        raise StopError
    with transaction.atomic():
        add("b")
        transaction.set_rollback(True)
    assert names() == []
    assert world.writes() == before
    assert world.dropped() - dropped == 2


def test_a_savepoint_rolled_back_takes_only_its_own(world: DjangoWorld) -> None:
    before = world.writes()
    with transaction.atomic():
        add("kept")
        with suppress(StopError), transaction.atomic():
            add("gone")
            with transaction.atomic():
                add("released, and gone with its outer one")
            raise StopError
        with transaction.atomic():
            add("kept too")
            with suppress(StopError), transaction.atomic():
                add("gone as well")
                raise StopError
            with transaction.atomic(savepoint=False):
                add("and this")
    assert names() == ["kept", "kept too", "and this"]
    assert world.writes() - before == 1


@pytest.mark.usefixtures("world")
def test_savepoints_by_hand() -> None:
    create = getattr(transaction, "savepoint_create", transaction.savepoint)  # from Django 6.1 on
    with transaction.atomic():
        first = create()
        add("a")
        second = create()
        add("b")
        transaction.savepoint_rollback(second)
        add("c")
        transaction.savepoint_commit(first)
    assert names() == ["a", "c"]


@pytest.mark.usefixtures("world")
def test_a_statement_that_fails_is_left_out() -> None:
    add("a")
    with pytest.raises(IntegrityError):
        add("a")
    with transaction.atomic():
        add("b")
        with suppress(IntegrityError), transaction.atomic():
            add("c")
            add("a")
        add("d")
    with pytest.raises(DatabaseError):
        connection.cursor().execute("INSERT INTO nowhere VALUES (1)")
    assert names() == ["a", "b", "d"]


@pytest.mark.usefixtures("world")
def test_a_commit_that_fails_is_no_write() -> None:
    """Django's foreign keys are checked at the end."""
    with pytest.raises(IntegrityError), transaction.atomic():
        shop.Book.objects.create(author_id=4711, title="t")
    with pytest.raises(IntegrityError):
        shop.Book.objects.create(author_id=4711, title="t")
    assert shop.Book.objects.count() == 0
    add("next")


@pytest.mark.usefixtures("world")
def test_in_bulk() -> None:
    author, books = add("a"), shop.Book.objects
    made = books.bulk_create([shop.Book(author=author, title=f"t{n}") for n in range(1_200)])
    for book in made:
        book.title += "'"
    books.bulk_update(made, ["title"], batch_size=100)
    rows = [shop.Author(name="a"), shop.Author(name="b")]
    shop.Author.objects.bulk_create(rows, ignore_conflicts=True)
    shop.Author.objects.bulk_create(
        [shop.Author(name="b", born=datetime.date(2000, 1, 2))],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["born"],
    )
    books.filter(title__endswith="7'").delete()
    assert books.count() == 1_080
    assert names() == ["a", "b"]
    author.delete()  # and the books with it
    assert books.count() == 0


@pytest.mark.usefixtures("world")
def test_what_reads_before_it_writes() -> None:
    from django.db.models import F, Value
    from django.db.models.functions import Concat, Upper

    shop.Author.objects.get_or_create(name="a")
    shop.Author.objects.update_or_create(name="a", defaults={"born": datetime.date(1999, 9, 9)})
    shop.Author.objects.update(name=Concat(Upper(F("name")), Value(" 100%")))
    assert names() == ["A 100%"]


@pytest.mark.usefixtures("world")
def test_raw_statements() -> None:
    insert = "INSERT INTO shop_author (name) VALUES"
    with connection.cursor() as cursor:
        cursor.execute(f"{insert} (%s)", ["50%'s"])
        cursor.execute(f"{insert} ('100%%' || %s)", ("x",))
        cursor.execute(f"{insert} (%(name)s)", {"name": "named", "unused": 1})
        cursor.execute(f"{insert} ('plain %s')")
        cursor.executemany(f"{insert} (%s)", ((name,) for name in ("m1", "m2")))
        cursor.execute(f"{insert} (%s) RETURNING id, name", ["returned"])
        assert cursor.fetchone()[1] == "returned"
        cursor.executescript(f"{insert} ('s1'); {insert} ('s;2');")
        connection.connection.execute(f"{insert} (?)", ("below Django",))
        list(shop.Author.objects.raw("SELECT * FROM shop_author WHERE name = %s", ["m1"]))
    assert names()[0:6] == ["50%'s", "100%x", "named", "plain %s", "m1", "m2"]
    assert names()[6:] == ["returned", "s1", "s;2", "below Django"]


def test_transactions_without_atomic(world: DjangoWorld) -> None:
    before = world.writes()
    transaction.set_autocommit(False)
    try:
        add("a")
        add("b")
        transaction.commit()
        add("rolled back")
        transaction.rollback()
        add("c")
        assert world.writes() - before == 1
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert world.writes() - before == 2
    assert names() == ["a", "b", "c"]


def test_a_connection_closed_in_a_transaction(world: DjangoWorld) -> None:
    before = world.writes()
    with transaction.atomic():
        add("gone")
        connection.close()
    transaction.set_autocommit(False)
    add("gone too")
    connection.close()
    assert names() == []
    assert world.writes() == before


VALUES: dict[str, list[Any]] = {
    "big": [2**63 - 1, -(2**63), 0],
    "binary": [b"\x00\xff'", bytearray(b"ab"), memoryview(b"cd"), b""],
    "boolean": [True, False],
    "char": ["", "é'☃\x00x", "%s %% ?"],
    "date": [datetime.date(1, 1, 1), datetime.date(2024, 2, 29)],
    "moment": [
        datetime.datetime(2024, 2, 29, 23, 59, 59, 999999, datetime.timezone.utc),
        datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=5))),
    ],
    "decimal": [decimal.Decimal("12345678901234.567890"), decimal.Decimal("-0.000001")],
    "duration": [datetime.timedelta(days=-3, microseconds=7)],
    "email": ["ada@example.com"],
    "file": ["a/b.txt"],
    "floating": [0.1, -1e300, float("inf"), 3.0],
    "address": ["::1", "10.0.0.1"],
    "integer": [2**31 - 1],
    "json": [{"a": [1, None, "é", 2.5]}, [], "text", 5, True],
    "positive": [0, 7],
    "slug": ["a-b"],
    "small": [-5],
    "text": ["x" * 100_000],
    "time": [datetime.time(23, 59, 59, 999999)],
    "url": ["https://example.com/?a=%20"],
    "uuid": [uuid.UUID(int=5)],
}


@pytest.mark.parametrize("field", VALUES)
@pytest.mark.usefixtures("world")
def test_every_type_of_field(field: str) -> None:
    from django.utils.safestring import mark_safe

    values = [*VALUES[field], None]
    if field in {"char", "text"}:
        values.append(mark_safe("<b>"))
    for value in values:
        row = shop.Everything.objects.create(**{field: value})
        shop.Everything.objects.filter(pk=row.pk).update(**{field: value})
    shop.Everything.objects.bulk_create([shop.Everything(**{field: value}) for value in values])
    shop.Everything.objects.filter(**{field: values[0]}).update(slug="found")


@pytest.mark.usefixtures("world")
def test_what_would_differ_is_frozen() -> None:
    from django.db.models import DateTimeField, functions

    before = replicator().stats().nondeterministic
    shop.Everything.objects.create(moment=functions.Now())
    shop.Everything.objects.update(moment=functions.Now())
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO shop_author (name) VALUES (hex(randomblob(8)))")
        cursor.execute("INSERT INTO shop_author (name) VALUES (CURRENT_TIMESTAMP)")
    assert isinstance(shop.Everything._meta.get_field("moment"), DateTimeField)
    assert replicator().stats().nondeterministic == before


def test_on_commit_and_queries_are_as_before(world: DjangoWorld) -> None:
    from django.test.utils import CaptureQueriesContext

    seen: list[int] = []
    before = world.writes()
    with CaptureQueriesContext(connection) as queries:
        add("a")
        with transaction.atomic():
            transaction.on_commit(lambda: seen.append(world.writes() - before))
            add("b")
    # Django shows its own statements and none of ours; its hooks run when the write is on its way.
    assert [query["sql"].split()[0] for query in queries] == ["INSERT", "BEGIN", "INSERT", "COMMIT"]
    assert seen == [2]


def test_another_database_is_left_alone(world: DjangoWorld) -> None:
    before = world.writes()
    with connections["other"].cursor() as cursor:
        cursor.execute("CREATE TABLE notes (id INTEGER)")
        cursor.execute("INSERT INTO notes VALUES (1)")
    assert world.writes() == before


def in_threads(work: Callable[[int], object], count: int) -> None:
    def run(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    errors: list[BaseException] = []
    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_threads_are_replicated_in_the_order_of_their_commits(world: DjangoWorld) -> None:
    """Each statement needs the ones before it: another order would give another row."""
    book = shop.Book.objects.create(author=add("a"), title="1")
    step = "UPDATE shop_book SET title = (title * 31 + %s) %% 1000003 WHERE id = %s"

    def work(number: int) -> None:
        for turn in range(25):
            if turn % 3:
                with connection.cursor() as cursor:
                    cursor.execute(step, [number, book.pk])
                continue
            with transaction.atomic():
                connection.cursor().execute(step, [number, book.pk])
                shop.Author.objects.create(name=f"{number} {turn}")

    before = world.writes()
    in_threads(work, 6)
    assert world.writes() - before == 150


@pytest.mark.usefixtures("world")
def test_event_loops() -> None:
    async def work(number: int) -> None:
        for turn in range(5):
            await shop.Author.objects.acreate(name=f"{number} {turn}")
        await shop.Author.objects.filter(name__endswith="3").aupdate(born="2000-01-01")

    async def several() -> None:
        await asyncio.gather(work(1), work(2))

    asyncio.run(several())
    asyncio.run(work(3))
    assert shop.Author.objects.count() == 15


def test_each_request_of_atomic_requests_is_one_write(world: DjangoWorld) -> None:
    from django.test import Client

    client = Client(raise_request_exception=False)
    settings = connection.settings_dict
    for atomic, writes in ((False, 3), (True, 1)):
        settings["ATOMIC_REQUESTS"] = atomic
        before = world.writes()
        assert client.get(f"/add/atomic{atomic}").status_code == 201
        assert client.get(f"/fail/failed{atomic}").status_code == 500
        assert world.writes() - before == writes
    settings["ATOMIC_REQUESTS"] = False
    # Autocommitted before the exception, it is there.
    assert names() == ["atomicFalse", "failedFalse", "atomicTrue"]
    assert [client.get("/session").content for _ in range(2)] == [b"1", b"2"]


@pytest.mark.usefixtures("world")
def test_no_replicator_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ZeroDivisionError

    count = len(failures.counts())
    connection.close()
    with monkeypatch.context() as patch:
        patch.setattr("afterquery.django.databases.replicator", broken)
        with transaction.atomic():
            add("a")
            transaction.set_rollback(True)
    connection.close()
    assert len(failures.counts()) == count + 1
    failures._counts.pop("there is no replicator, and nothing is replicated")


def column(model: Any, name: str, field: Any) -> Any:
    field.set_attributes_from_name(name)
    field.model = model
    return field


def test_changes_of_the_schema(world: DjangoWorld) -> None:
    from django.db import models

    author = add("a")
    shop.Book.objects.create(author=author, title="1")
    index = models.Index(fields=["title"], name="by_title")
    nullable = column(shop.Author, "alias", models.CharField(max_length=9, null=True))
    stars = column(shop.Book, "stars", models.IntegerField(default=3))
    wider = column(shop.Book, "stars", models.BigIntegerField(null=True))
    with connection.schema_editor() as editor:
        editor.add_index(shop.Book, index)
        editor.remove_index(shop.Book, index)
        editor.add_field(shop.Author, nullable)
        editor.add_field(shop.Book, stars)  # Django makes the table anew for this
    world.same()
    with connection.schema_editor() as editor:
        editor.alter_field(shop.Book, stars, wider)
    assert world.on_replica("SELECT stars FROM shop_book") == [(3,)]
    world.same()
    shop.Book.objects.all().delete()
    with connection.schema_editor() as editor:
        editor.remove_field(shop.Book, wider)
        editor.remove_field(shop.Author, nullable)
