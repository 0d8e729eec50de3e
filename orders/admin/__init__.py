"""The order system in the admin."""

from orders.admin import orders, tables

__all__ = ["orders", "tables"]
