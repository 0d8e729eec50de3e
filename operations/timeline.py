"""The timeline of an order in the admin: what happened to it, from all apps."""

from uuid import UUID

from django.apps import apps
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from operations.dashboard.lists import VIEW_ORDERS, may

if apps.is_installed("orders"):
    from orders.models import Order
    from shop.timeline import timeline_of


@require_safe
def show(request: HttpRequest, order_id: UUID, site: AdminSite) -> HttpResponse:
    """Show an order's timeline; reads only."""
    if not may(request.user, VIEW_ORDERS):
        raise PermissionDenied
    order = Order.objects.filter(pk=order_id).first()
    if order is None:
        raise Http404
    context = {
        **site.each_context(request),
        "title": _("Timeline"),
        "subtitle": str(order),
        "opts": Order._meta,
        "order": order,
        "timeline": timeline_of(order, for_staff=True),
    }
    return TemplateResponse(request, "admin/timeline.html", context)
