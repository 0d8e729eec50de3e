"""A project of somebody else's: a user with a UUID key, stock DRF, the admin on."""

import json
import os
from datetime import timedelta

from psycopg.conninfo import conninfo_to_dict

SECRET_KEY = "for-tests-only"
DEBUG = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "idempotency.tests.project.urls"
INSTALLED_APPS = [
    "idempotency.tests.project",
    "idempotency",
    "idempotency.journal",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "rest_framework",
    "rest_framework.authtoken",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
AUTH_USER_MODEL = "project.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if url := os.environ.get("DATABASE_URL"):
    named = conninfo_to_dict(url)
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": named["dbname"],
            "USER": named["user"],
            "PASSWORD": named.get("password", ""),
            "HOST": named["host"],
            "PORT": named.get("port", ""),
        }
    }
else:
    DATABASES = {"default": {"ENGINE": "embedded_postgres", "NAME": "shop"}}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
USE_TZ = True
STATIC_URL = "static/"
IDEMPOTENCY = json.loads(os.environ.get("IDEMPOTENCY", "{}"))  # of a live server
if "RETENTION" in IDEMPOTENCY:
    IDEMPOTENCY["RETENTION"] = timedelta(seconds=IDEMPOTENCY["RETENTION"])
