"""The admin site: Django's own, with a limit on signing in."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache

from config.sign_in import LimitedForm
from idempotency.errors import RateLimited


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
        """Sign in; past the limit, the right password is answered 429 like any other."""
        try:
            return super().login(request, extra_context)
        except RateLimited as error:
            context = {**self.each_context(request), "title": "Sign in", "error": error}
            response = TemplateResponse(
                request, "admin/too_many_sign_ins.html", context, status=RateLimited.status_code
            )
            response["Retry-After"] = str(error.retry_after)
            return response
