"""The project's settings for tests and the processes they start: passwords are hashed fast."""

from config.settings import *  # noqa: F403

# PBKDF2 takes a third of a second by design, twice for each user that the demo's seed makes.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
