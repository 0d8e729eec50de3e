from django.apps import AppConfig


class SettlementConfig(AppConfig):
    """Guards across orders and payments, for a database that holds the tables of both."""

    name = "orders.settlement"
    label = "settlement"
