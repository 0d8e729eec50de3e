"""Settings, all from the environment (12-factor). docs/configuration.md lists them."""

import warnings
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured
from psycopg import IsolationLevel

from config.environment import whole
from config.logs import logging_settings
from web.proxies import trusted_proxies

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
if (BASE_DIR / ".env").exists():
    env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)

SECRET_KEY = env.str("SECRET_KEY", default="django-insecure-for-development-only" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set. Production needs one; a local try sets DEBUG=true instead."
    )
ALLOWED_HOSTS = env.list(
    "ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"] if DEBUG else []
)
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- Roles: the order system, the payment system, or both in one process and one database
ROLE = env.str("ROLE", default="both")
if ROLE not in {"orders", "payments", "both"}:
    raise ImproperlyConfigured(f"ROLE is orders, payments or both, not {ROLE!r}.")
# Where another process is the payment system: the relay sends it requests over the network.
PAYMENTS_URL = env.str("PAYMENTS_URL", default="").rstrip("/")
PAYMENTS_TOKEN = env.str("PAYMENTS_TOKEN", default="")
if ROLE == "orders" and not PAYMENTS_URL:
    raise ImproperlyConfigured(
        "ROLE=orders needs PAYMENTS_URL: the payment system is another process."
    )
if PAYMENTS_URL and not PAYMENTS_TOKEN:
    raise ImproperlyConfigured(
        "PAYMENTS_URL needs PAYMENTS_TOKEN: a token of a user there who may charge."
    )
# A payment without a result for so long makes the outbox "stuck", in /readyz and /metrics.
OUTBOX_STUCK_SECONDS = whole("OUTBOX_STUCK_SECONDS", default=60, most=24 * 3600)

INSTALLED_APPS = [
    "simulator",
    "operations",
    "demo",
    *([] if ROLE == "payments" else ["shop"]),
    "lab",
    # Guards across the two systems' tables, where they share a database.
    *(["orders", "orders.settlement", "payments"] if ROLE == "both" else [ROLE]),
    "web",
    "idempotency",
    "idempotency.journal",
    "operations.apps.ChargeOnceAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "web.proxies.forwarded_by_trusted_proxies",  # first: what follows reads REMOTE_ADDR
    "web.middleware.RequestLog",
    "operations.metrics.measured",
    "web.middleware.cache_headers",
    "web.middleware.problems_for_the_api",
    "web.middleware.content_security_policy",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "operations.probes.HostChecks",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "web.pages.ErrorPages",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "web.pages.navigation",
            ],
        },
    },
]


# --- Database. READ COMMITTED is what the conditional UPDATEs are written for.
def _database(variable: str) -> dict[str, Any]:
    """Return the database that an environment variable names.

    :raises ImproperlyConfigured: it names no PostgreSQL; the message does not quote the URL
    """
    database: dict[str, Any] = {}
    # A bare / in the password ends the host: what stands before it is then no port, or a port.
    with warnings.catch_warnings(action="ignore"), suppress(ValueError):  # they quote the URL
        database = env.db_url(variable)
    if "postgresql" not in database.get("ENGINE", "") or "@" in database["NAME"]:
        raise ImproperlyConfigured(
            f"{variable} must name a PostgreSQL database: postgres://user:password@host/name, "
            "with % escapes for special characters."
        )
    return database | {"ENGINE": "web.database"}


DATABASES: dict[str, dict[str, Any]] = {
    "default": _database("DATABASE_URL")
    if env.str("DATABASE_URL", default="")
    else {"ENGINE": "web.database.embedded", "NAME": "shop"}
}
# The catalogue and the lists of the admin are read there: see web/database/replica.py.
DATABASE_ROUTERS = ["web.database.replica.Router"]
if env.str("DATABASE_REPLICA_URL", default=""):
    DATABASES["replica"] = _database("DATABASE_REPLICA_URL") | {"TEST": {"MIRROR": "default"}}

DATABASE_POOLER = env.bool("DATABASE_POOLER", default=False)
# Of a web server and a relay. The server's own timeouts come first, unless it is frozen.
DATABASE_RESPONSE_SECONDS = whole("DATABASE_RESPONSE_SECONDS", default=15, least=0, most=3_600)
STATEMENT_TIMEOUTS = {
    "statement_timeout": "10s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "15s",
    # The web server sets it: what a storm opened is given back when it is over.
    "idle_session_timeout": f"{whole('DATABASE_IDLE_SECONDS', default=0, least=0, most=86_400)}s",
}
for _each in DATABASES.values():
    _each |= {
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "DISABLE_SERVER_SIDE_CURSORS": DATABASE_POOLER,
        "OPTIONS": {
            "isolation_level": IsolationLevel.READ_COMMITTED,
            "connect_timeout": 2,
            "tcp_user_timeout": 3000,
            "keepalives_idle": 2,
            "keepalives_interval": 1,
            "keepalives_count": 2,
            **_each.get("OPTIONS", {}),
        },
    }
    if not DATABASE_POOLER:
        # A pooler refuses `options`; there the role carries them: `manage.py set_role_timeouts`.
        _each["OPTIONS"]["options"] = " ".join(
            f"-c {name}={value}" for name, value in STATEMENT_TIMEOUTS.items()
        )
        # Parsing and planning are half of a short statement's time; a pooler's sessions know no
        # plans.
        _each["OPTIONS"] |= {"server_side_binding": True, "prepare_threshold": 3}

# --- REST
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "web.authentication.ApiTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["web.api.JSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "web.api.ByAcceptHeader",
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "web.api.Pagination",
    "DEFAULT_SCHEMA_CLASS": "web.schema.Schema",
    "EXCEPTION_HANDLER": "config.problems.handler",
    "UNICODE_JSON": True,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
MAX_BODY_BYTES = 64 * 1024
# The docs page replaces each one by a new UUID, so that the first click on "Execute" is a first
# request and the next click its retry.
EXAMPLE_KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
DOCS_PAGE_SETTINGS = f"""{{
  persistAuthorization: true,
  responseInterceptor: (response) => {{
    if (response.url.includes("/api/schema/"))
      response.text = response.text.replace(/{EXAMPLE_KEY}/g, () => crypto.randomUUID());
    return response;
  }}
}}"""
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "Orders and payments that charge once",
    "DESCRIPTION": "Send the same request as often as you like: it has the effect of one.",
    "VERSION": "1.0.0",
    "CONTACT": {"name": "The charge-once contributors"},
    "LICENSE": {"name": "MIT", "identifier": "MIT"},
    "SERVERS": [{"url": "/", "description": "The server that this document comes from"}],
    "TAGS": [
        {"name": "sign-in", "description": "A user's API tokens: issued, listed, revoked"},
        {"name": "products", "description": "The catalogue"},
        {"name": "orders", "description": "A customer's orders: place, pay, list"},
        {"name": "accounts", "description": "A customer's accounts: balances and entries"},
        {"name": "payments", "description": "The payment system's own interface, for services"},
        {"name": "tokens", "description": "Single-use tokens that serve as an Idempotency-Key"},
    ],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": DOCS_PAGE_SETTINGS,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "KeyState": ["in_flight", "completed", "expired"],
        "OrderStatusLabel": ["submitted", "paying", "paid", "failed"],
        "PaymentOutcome": ["succeeded", "declined"],
        "ProblemOutcome": ["none", "done", "unknown"],
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "web.schema.complete",
    ],
}

# --- Limits and retention: (how many, in how many seconds)
A_MINUTE_MAX = 100_000_000
WEB_WORKERS = whole("WEB_WORKERS", default=2, most=1_000)
WEB_THREADS = whole("WEB_THREADS", default=16, most=1_000)
WEB_CONNECTIONS = whole("WEB_CONNECTIONS", default=1_000, least=10, most=100_000)
# From a request's first byte to its last, and for taking a response; or the connection ends.
WEB_CLIENT_SECONDS = whole("WEB_CLIENT_SECONDS", default=10, most=3_600)
# Of one caller: what it places and pays, and its edits of the basket. A demo's customer is a crowd.
WRITE_RATE = (
    whole("WRITES_PER_MINUTE", default=100_000 if DEBUG else 300, most=A_MINUTE_MAX),
    60,
)
# Of one service at the payment system's own interface.
CHARGE_RATE = (whole("CHARGES_PER_MINUTE", default=60_000, most=A_MINUTE_MAX), 60)
IDEMPOTENCY = {
    "WAITING_THREADS_MAX": min(
        whole("IDEMPOTENCY_WAITERS", default=WEB_THREADS // 2, least=0, most=1_000),
        WEB_THREADS - 1,
    ),
    "POOLER": DATABASE_POOLER,
    "RETENTION": timedelta(days=whole("IDEMPOTENCY_RETENTION_DAYS", default=30, most=3_650)),
    "TOKEN_LIFETIME": timedelta(
        minutes=whole("IDEMPOTENCY_TOKEN_LIFETIME_MINUTES", default=30, most=24 * 60)
    ),
    "TOKEN_RATE": (whole("TOKENS_PER_MINUTE", default=60, most=A_MINUTE_MAX), 60),
    "EXECUTION_RATE": WRITE_RATE,
    "JOURNAL_RETENTION": timedelta(days=whole("JOURNAL_RETENTION_DAYS", default=7, most=3_650)),
    # For the timelines of the demo: first executions too, and what each request's statements did.
    "JOURNAL_EXECUTED": DEBUG,
}
API_TOKEN_LIFETIME_DAYS = whole("API_TOKEN_LIFETIME_DAYS", default=90, most=3_650)
SIGN_IN_RATE = (whole("SIGN_INS_PER_MINUTE", default=20, most=A_MINUTE_MAX), 60)

# --- Lab: it makes tables of its own and throws them away, so never in production
LAB_ENABLED = DEBUG and not DATABASE_POOLER
REDIS_URL = env.str("REDIS_URL", default="")

# --- Demo: a public password, so only where nothing is at stake
PUBLIC_PASSWORD = "only-for-the-demo"  # noqa: S105 - that is what it says
DEMO_PASSWORD = env.str("DEMO_PASSWORD", default=PUBLIC_PASSWORD if DEBUG else "")
# One click signs a visitor in as a customer of the demo's.
DEMO_SIGN_IN = DEBUG and DEMO_PASSWORD == PUBLIC_PASSWORD
# The proxy between the two services of a demo, which its pages turn. Without one, a visitor breaks
# the network of their own requests.
DEMO_NETWORK_URL = env.str("DEMO_NETWORK_URL", default="")
if DEMO_SIGN_IN and ROLE != "payments":
    _network = "between.services_network" if DEMO_NETWORK_URL else "network.VisitorsNetwork"
    MIDDLEWARE.insert(0, f"demo.{_network}")  # first: it loses what all others have completed

# --- Security
HTTPS = env.bool("HTTPS", default=not DEBUG)
SECURE_SSL_REDIRECT = HTTPS
SESSION_COOKIE_SECURE = HTTPS
# The two systems may share a host, whose cookies don't know of ports.
SESSION_COOKIE_NAME = "sessionid" if ROLE == "both" else f"sessionid_{ROLE}"
CSRF_COOKIE_SECURE = HTTPS
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
# Whose X-Forwarded-* headers are read; without any, BEHIND_TLS_PROXY trusts every peer's.
TRUSTED_PROXIES = trusted_proxies(env.list("TRUSTED_PROXIES", default=[]))
if env.bool("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# No script or style within a page, and nothing from anywhere else.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
LOGIN_URL = "sign-in-page"
CSRF_FAILURE_VIEW = "web.pages.csrf_failure"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("zh-hans", "简体中文")]
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = HTTPS
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "var" / "static"
if DEBUG:
    STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # or WhiteNoise warns that it is missing
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = False

LOGGING_CONFIG = "logging.config.dictConfig"
LOGGING = logging_settings(level=env.str("LOG_LEVEL", default="INFO"), human=DEBUG)
