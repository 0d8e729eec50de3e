"""An order's page in the admin, with its story: only here are all apps known."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from orders.admin import OrderAdmin
from orders.models import Order
from shop.story import story


@admin.register(Order)
class OrderPage(OrderAdmin):
    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["story"] = story(kwargs["obj"], for_staff=True)
        return super().render_change_form(request, context, *args, **kwargs)
