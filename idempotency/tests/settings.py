"""The project of the app's tests: stock DRF and the admin. It needs a PostgreSQL: DATABASE_URL."""

import environ

env = environ.Env(DATABASE_URL=(str, ""))
OWN = {"ENGINE": "embedded_postgres", "NAME": "idempotency"}  # where this project is around it
DATABASES = {"default": env.db_url("DATABASE_URL") if env("DATABASE_URL") else OWN}
SECRET_KEY = "for-tests-only"
ROOT_URLCONF = "idempotency.tests.urls"
INSTALLED_APPS = [
    "idempotency",
    "idempotency.tests",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
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
STATIC_URL = "static/"
USE_TZ = True
REST_FRAMEWORK = {"TEST_REQUEST_DEFAULT_FORMAT": "json"}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
