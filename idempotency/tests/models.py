from typing import ClassVar

from django.db import models


class Account(models.Model):
    objects: ClassVar[models.Manager["Account"]] = models.Manager()

    owner_id = models.IntegerField()
    balance = models.IntegerField()

    def __str__(self) -> str:
        return f"account {self.pk}: {self.balance}"


class Charge(models.Model):
    """The effect: without a guard of its own, so that only the boundary keeps it single."""

    objects: ClassVar[models.Manager["Charge"]] = models.Manager()

    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    amount = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.amount} of {self.account}"
