"""The paths that probes and monitors request, by the address of a pod and not by its name."""

from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware

PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class HostChecks(CommonMiddleware):
    """Django's own middleware, which refuses an unknown Host; but not for a probe.

    Nothing that responds to a probe reads the Host, so no forged one can do harm there.
    """

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        """Refuse a Host that is not in ALLOWED_HOSTS, which Django makes a 400; not a probe's.

        :raises DisallowedHost: the Host is not in ALLOWED_HOSTS
        """
        if request.path in PROBES:
            return None
        return super().process_request(request)

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        """Redirect a read only: of anything else a redirect would lose the body, and be a GET."""
        is_read = request.method in {"GET", "HEAD"}
        return is_read and super().should_redirect_with_slash(request)
