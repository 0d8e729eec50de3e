"""The WSGI application of the contender that COMPARE_CONTENDER names; gunicorn's entry."""

import os
from importlib import import_module

contender = import_module(f"benchmarks.packages.contenders.{os.environ['COMPARE_CONTENDER']}")

from django.core.wsgi import get_wsgi_application  # noqa: E402 - the contender configures Django

application = get_wsgi_application()
