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


class Account(models.Model):
    objects: ClassVar[models.Manager["Account"]] = models.Manager()

    owner_id = models.UUIDField()
    balance = models.IntegerField()

    def __str__(self) -> str:
        return f"account {self.pk}: {self.balance}"


class Debit(models.Model):
    """An effect without a guard of its own, so that only the boundary keeps it single."""

    objects: ClassVar[models.Manager["Debit"]] = models.Manager()

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    amount = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.amount} of {self.account}"
