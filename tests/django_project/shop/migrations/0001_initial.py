"""The schema."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Author",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                ("born", models.DateField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="Everything",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("big", models.BigIntegerField(null=True)),
                ("binary", models.BinaryField(null=True)),
                ("boolean", models.BooleanField(null=True)),
                ("char", models.CharField(max_length=100, null=True)),
                ("date", models.DateField(null=True)),
                ("moment", models.DateTimeField(null=True)),
                ("decimal", models.DecimalField(decimal_places=6, max_digits=20, null=True)),
                ("duration", models.DurationField(null=True)),
                ("email", models.EmailField(max_length=254, null=True)),
                ("file", models.FileField(null=True, upload_to="")),
                ("floating", models.FloatField(null=True)),
                ("address", models.GenericIPAddressField(null=True)),
                ("integer", models.IntegerField(null=True)),
                ("json", models.JSONField(null=True)),
                ("positive", models.PositiveIntegerField(null=True)),
                ("slug", models.SlugField(null=True)),
                ("small", models.SmallIntegerField(null=True)),
                ("text", models.TextField(null=True)),
                ("time", models.TimeField(null=True)),
                ("url", models.URLField(null=True)),
                ("uuid", models.UUIDField(null=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("changed", models.DateTimeField(auto_now=True)),
            ],
        ),
        migrations.CreateModel(
            name="Book",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("price", models.DecimalField(decimal_places=2, default=1, max_digits=8)),
                (
                    "author",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="books",
                        to="shop.author",
                    ),
                ),
            ],
        ),
    ]
