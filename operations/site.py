"""The admin site: Django's own, with a limit on signing in."""

from typing import Any
from uuid import UUID

from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.generic import RedirectView

from idempotency.errors import RateLimited
from operations import timeline
from operations.dashboard import page as dashboard
from web.sign_in import LimitedForm
from web.sign_in_limits import remember


class LimitedSignInForm(LimitedForm, AdminAuthenticationForm):
    """The admin's own form, with the shop's limit."""


class ChargeOnceSite(AdminSite):
    site_title = site_header = "Charge once"
    site_url = None  # there is no page of the site to view
    login_form = LimitedSignInForm

    @method_decorator(never_cache)
    @login_not_required
    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Sign in; past the limit, even the right password gets 429."""
        try:
            response = super().login(request, extra_context)
        except RateLimited as error:
            context = {**self.each_context(request), "title": _("Sign in"), "error": error}
            response = TemplateResponse(
                request, "admin/too_many_sign_ins.html", context, status=RateLimited.status
            )
            response["Retry-After"] = str(error.retry_after)
            return response
        if request.method == "POST" and response.status_code == 302:
            assert request.user.is_authenticated, "the form redirects whom it has signed in"
            remember(request, request.user, response)
        return response

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Add the operations dashboard and the timeline of an order to Django's pages."""
        return [
            path("dashboard/", self.admin_view(self._dashboard), name="dashboard"),
            path("desk/", RedirectView.as_view(pattern_name="admin:dashboard", query_string=True)),
            path(
                "timeline/<uuid:order_id>/", self.admin_view(self._timeline), name="order-timeline"
            ),
            path(
                "dashboard/<uuid:order_id>/requeue/",
                self.admin_view(self._requeue),
                name="dashboard-requeue",
            ),
            # Django's own is a 500 for an id that the model's key can't be. No row has such a page.
            path("r/<path:content_type_id>/<path:object_id>/", self.admin_view(_no_page)),
            *super().get_urls(),
        ]

    def _dashboard(self, request: HttpRequest) -> HttpResponse:
        return dashboard.show(request, self)

    def _timeline(self, request: HttpRequest, order_id: UUID) -> HttpResponse:
        return timeline.show(request, order_id, self)

    def _requeue(self, request: HttpRequest, order_id: UUID) -> HttpResponse:
        return dashboard.requeue(request, order_id)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """List the dashboard above the apps, at the top of index and sidebar."""
        listed = super().get_app_list(request, app_label)
        if app_label is None and dashboard.is_for(request.user):
            listed.insert(0, _dashboard_entry())
        return listed


def _no_page(request: HttpRequest, content_type_id: str, object_id: str) -> HttpResponse:
    raise Http404


def _dashboard_entry() -> dict[str, Any]:
    """Return the dashboard as Django lists an app with one model."""
    url = reverse("admin:dashboard")
    model: dict[str, Any] = {
        "model": None,
        "name": _("Operations dashboard"),
        "object_name": "Dashboard",
        "perms": {},
        "admin_url": url,
        "add_url": None,
        "view_only": True,
    }
    return {
        "name": _("Operations"),
        "app_label": "dashboard",
        "app_url": url,
        "has_module_perms": True,
        "models": [model],
    }
