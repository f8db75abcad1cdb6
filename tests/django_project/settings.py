"""The settings; what differs from test to test comes from the environment."""

from __future__ import annotations

import json
import os

SECRET_KEY = "of the tests"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
ROOT_URLCONF = "django_project.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django_project.shop",
    "afterquery.django",
]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["DATABASE"],
        "ATOMIC_REQUESTS": "ATOMIC_REQUESTS" in os.environ,
        "OPTIONS": {"timeout": 60},
    },
    "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["DATABASE"] + "-other"},
}
AFTERQUERY = {
    "REPLICAS": os.environ["REPLICAS"].split(","),
    "AUTH_TOKEN": os.environ["TOKEN"],
    "DDL": True,
    "RETRY_BASE": 0.01,
    "RETRY_MAX": 0.2,
    **json.loads(os.environ.get("AFTERQUERY", "{}")),
}
