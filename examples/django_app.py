"""A Django application in one file, with replication.

AFTERQUERY_TOKEN=secret afterquery peer --db copy.db --port 9001
AFTERQUERY_TOKEN=secret REPLICAS=http://127.0.0.1:9001 \
    gunicorn --chdir examples django_app:application
curl -X POST localhost:8000/users -d name=Ada
"""

import os

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

settings.configure(
    SECRET_KEY="only for this example",
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ.get("DATABASE", "app.db"),
        }
    },
    INSTALLED_APPS=["afterquery.django"],
    AFTERQUERY={
        "REPLICAS": os.environ["REPLICAS"].split(","),
        "AUTH_TOKEN": os.environ["AFTERQUERY_TOKEN"],
        "DDL": True,
    },
)
django.setup()

from django.db import connection, models  # noqa: E402


class User(models.Model):
    name = models.TextField()  # type: ignore[var-annotated]

    class Meta:
        app_label = "users"


def users(request: HttpRequest) -> JsonResponse:
    if request.method == "POST":
        user = User.objects.create(name=request.POST["name"])
        return JsonResponse({"id": user.pk, "name": user.name}, status=201)
    return JsonResponse(list(User.objects.order_by("id").values("id", "name")), safe=False)


# A project of more than one file has migrations instead.
if User._meta.db_table not in connection.introspection.table_names():
    with connection.schema_editor() as editor:
        editor.create_model(User)
connection.close()

urlpatterns = [path("users", users)]
application = get_wsgi_application()
