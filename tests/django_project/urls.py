"""The views."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_project.shop.models import Author, Book


def add(_: HttpRequest, name: str) -> HttpResponse:
    author = Author.objects.create(name=name)
    Book.objects.create(author=author, title=f"of {name}")
    return HttpResponse(status=201)


def fail(_: HttpRequest, name: str) -> HttpResponse:
    Author.objects.create(name=name)
    raise ZeroDivisionError


async def add_in_the_loop(_: HttpRequest, name: str) -> HttpResponse:
    author = await Author.objects.acreate(name=name)

    def write() -> None:
        with transaction.atomic():
            Book.objects.create(author=author, title=f"first of {name}")
            Book.objects.create(author=author, title=f"second of {name}")

    await sync_to_async(write)()
    return HttpResponse(status=201)


def session(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


urlpatterns = [
    path("", lambda _: HttpResponse("here")),
    path("add/<name>", add),
    path("fail/<name>", fail),
    path("add-in-the-loop/<name>", add_in_the_loop),
    path("session", session),
]
