"""Run by `manage.py test`, in a process of its own: see test_django_runs.py."""

from __future__ import annotations

from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

import afterquery.sqlite3
from afterquery.django.databases import follows_all
from django_project.shop.models import Author


class InATransaction(TestCase):
    """Rolled back at its end."""

    def test_it_writes(self) -> None:
        with transaction.atomic():
            Author.objects.create(name="in a TestCase")
        assert Author.objects.count() == 1


class Committing(TransactionTestCase):
    """Its tables are emptied at its end."""

    def test_it_commits(self) -> None:
        Author.objects.create(name="in a TransactionTestCase")
        assert Author.objects.count() == 1

    def test_only_if_told_its_connection_is_followed(self) -> None:
        connection.ensure_connection()
        followed = isinstance(connection.connection, afterquery.sqlite3.Connection)
        assert followed == follows_all()
