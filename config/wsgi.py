import os

import django
from django.conf import settings

from web.database.deadlines import expect_responses
from web.handler import Handler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django.setup(set_prefix=False)
expect_responses(within_seconds=settings.DATABASE_RESPONSE_SECONDS)
application = Handler()
