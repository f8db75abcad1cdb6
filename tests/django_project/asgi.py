"""For uvicorn."""

import os

from django.core.asgi import get_asgi_application

from afterquery.django import drained

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django_project.settings")
application = drained(get_asgi_application())
