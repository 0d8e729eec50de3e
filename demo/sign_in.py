"""The demo's sign-in page: one click is enough."""

from typing import Any

from django.conf import settings

from demo.seed import CUSTOMERS
from web.sign_in import SignInPage


class DemoSignInPage(SignInPage):
    """Offers to sign in as one of the demo's customers, where their password is public."""

    template_name = "demo/sign_in.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        customers = CUSTOMERS if settings.DEMO_SIGN_IN else ()
        password = settings.PUBLIC_PASSWORD if customers else ""
        return super().get_context_data(customers=customers, password=password, **kwargs)
