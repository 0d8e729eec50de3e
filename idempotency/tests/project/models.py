import uuid
from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)


class Charge(models.Model):
    """The effect: a row for each time that a view really ran."""

    amount = models.IntegerField()

    objects: ClassVar[models.Manager["Charge"]] = models.Manager()

    def __str__(self) -> str:
        return f"{self.amount}"
