"""The benchmark's settings as a tutorial leaves them: Django's own way to a database and a token.

No prepared statements, and the ORM authenticates, as DRF's TokenAuthentication does.
"""

from benchmarks.baseline.settings import *  # noqa: F403
from benchmarks.baseline.settings import DATABASES, REST_FRAMEWORK

for option in ("server_side_binding", "prepare_threshold"):
    DATABASES["default"]["OPTIONS"].pop(option, None)
REST_FRAMEWORK = REST_FRAMEWORK | {
    "DEFAULT_AUTHENTICATION_CLASSES": ["benchmarks.baseline.authentication.OrmAuthentication"]
}
