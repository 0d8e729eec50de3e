"""The project's settings for tests and the processes they start: passwords are hashed fast."""

import os

from config.settings import *  # noqa: F403
from config.settings import SIGN_IN_RATE

# PBKDF2 takes a third of a second by design, twice for each user that the demo's seed makes.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# A window that no test runs across the end of.
SIGN_IN_RATE = (SIGN_IN_RATE[0], int(os.environ.get("SIGN_IN_SECONDS", SIGN_IN_RATE[1])))
