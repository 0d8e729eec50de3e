"""The page of one's own account: its API tokens, each with a button, and its password."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from django.views.generic import TemplateView

from idempotency.errors import RateLimited
from web import api_tokens
from web.pages import error_page
from web.sign_in_limits import count_attempt

# Messages that the page shows, by the `note` in its address.
NOTES = {
    "revoked": _("The token is revoked. What used it has to sign in again."),
    "password": _("The password is changed. All API tokens and other sessions have ended."),
}


class Account(LoginRequiredMixin, TemplateView):
    """Shows one's own API tokens; nobody is shown their text."""

    template_name = "account.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        note = NOTES.get(self.request.GET.get("note", ""))
        tokens = api_tokens.tokens_of(self.request.user)
        return super().get_context_data(tokens=tokens, note=note, **kwargs)


@login_required
@require_POST
def revoke_api_token(request: HttpRequest, token_id: int) -> HttpResponse:
    """Revoke one of one's own tokens; a second click leads to the same page."""
    api_tokens.revoke(request.user, token_id)
    return _see("revoked")


class CountedPasswordForm(PasswordChangeForm):
    """Counts each try of the old password as an attempt to sign in: a session may be stolen."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request

    def clean_old_password(self) -> str:
        count_attempt(self.request, self.user.get_username())
        return super().clean_old_password()


@method_decorator(sensitive_post_parameters(), "dispatch")
class ChangePassword(PasswordChangeView):
    """Changes the password; this session goes on, all others and all API tokens end."""

    template_name = "change_password.html"
    form_class = CountedPasswordForm
    success_url = reverse_lazy("own-account")

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def form_valid(self, form: Any) -> HttpResponse:
        super().form_valid(form)
        return _see("password")

    def dispatch(self, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return super().dispatch(*args, **kwargs)
        except RateLimited as error:
            return error_page(self.request, 429, retry_after=error.retry_after)


def _see(note: str) -> HttpResponse:
    """Return the redirect to the account's page that shows a message (RFC 9110, 303)."""
    response = HttpResponseRedirect(f"{reverse('own-account')}?note={note}")
    response.status_code = 303
    return response
