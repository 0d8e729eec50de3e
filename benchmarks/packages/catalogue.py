"""What is compared: the checks, the packages with their pins, and what their documents promise."""

import re
from dataclasses import dataclass, field

CHECKS = {
    "retry": "plain retry",
    "kill": "SIGKILL after the effect",
    "error": "exception after the effect",
    "slow": "handler slower than the lease",
    "at_once": "20 at once",
    "other_body": "other body, same key",
    "other_user": "other user, same key",
    "quoted": "quoted key",
    "lost": "records lost",
}
LEASE_SECONDS = 2

COMMON = (
    "Django==5.2.19",
    "djangorestframework==3.18.3",
    "psycopg[binary]==3.3.9",
    "gunicorn==27.0.1",
    "asgiref==3.13.0",
    "sqlparse==0.6.1",
    "typing_extensions==4.16.0",
)
REDIS_CLIENT = "redis==8.1.0"


def named(pin: str) -> str:
    """Return a pinned requirement as people write it: name and version."""
    return re.sub(r"(\[.*\])?==", " ", pin)


@dataclass(frozen=True)
class Configuration:
    """One way to set a package up.

    :param promised: the checks that its documents say it passes
    :param records: where its records are: a table, "redis", "memory", or "none"
    :param documented: False where none of its documents name this set-up
    """

    name: str
    promised: frozenset[str]
    records: str
    documented: bool = True


@dataclass(frozen=True)
class Contender:
    """A package, or ours.

    :param module: the file in `contenders/`
    :param promises: what its documents say, in one line
    :param requirements: what is installed beside COMMON
    :param header: the request header with the key
    :param hours_pass: the statement that makes its records in progress as old as it takes until
        they are run again, where no setting shortens that to LEASE_SECONDS
    """

    module: str
    promises: str
    configurations: tuple[Configuration, ...]
    requirements: tuple[str, ...] = ()
    header: str = "Idempotency-Key"
    hours_pass: str = ""
    source: str = field(default="", kw_only=True)

    @property
    def title(self) -> str:
        """The package and its version."""
        return self.source or named(self.requirements[0])


def _checks(names: str) -> frozenset[str]:
    chosen = frozenset(names.split())
    assert chosen <= CHECKS.keys(), chosen
    return chosen


_OURS = _checks("retry kill error slow at_once other_body other_user quoted")
OURS = Contender(
    "ours",
    "Key, effect and response commit in one transaction: no crash, exception or slow handler "
    "charges twice. The records are as safe as the database that holds the effect; where somebody "
    "empties their table, keys are new again.",
    (
        Configuration("README", _OURS, "idempotency_record"),
        Configuration("its tokens", _OURS, "idempotency_record"),
    ),
    source="this repository",
)

_DRF_IDEMPOTENCY = "retry at_once other_body"
_DRF_IDEMPOTENCY_TABLE = "drf_idempotency_idempotencyrecord"
_DRF_IDEMPOTENCYKEY = "retry slow at_once other_body other_user"
_DRF_IDEMPOTENCYKEY_TABLE = "drf_idempotencykey_idempotencykey"
_IDEMKIT = "retry kill at_once other_body other_user"

NAIVE = Contender(
    "naive",
    "Nothing: the row shows that the faults happen.",
    (Configuration("the view alone", frozenset(), "none"),),
    source="no package",
)

CONTENDERS = (
    OURS,
    NAIVE,
    Contender(
        "drf_idempotency",
        '"Retry … safely and get back the exact same response, with no risk of double-processing — '
        'even under concurrent retries"; 422 for another body. A lock past LOCK_TTL_SECONDS is run '
        "again; keys are not scoped to a user by default, and its page on security says how.",
        (
            Configuration("quick start", _checks(_DRF_IDEMPOTENCY), _DRF_IDEMPOTENCY_TABLE),
            Configuration("decorator", _checks(_DRF_IDEMPOTENCY), _DRF_IDEMPOTENCY_TABLE),
            Configuration(
                "user in the key",
                _checks(f"{_DRF_IDEMPOTENCY} other_user"),
                _DRF_IDEMPOTENCY_TABLE,
            ),
            Configuration(
                "decorator, JsonResponse, ATOMIC_REQUESTS",
                _checks(f"{_DRF_IDEMPOTENCY} other_user"),
                _DRF_IDEMPOTENCY_TABLE,
                documented=False,
            ),
        ),
        ("drf-idempotency==1.0.0",),
    ),
    Contender(
        "drf_idempotencykey",
        '"safe retry behavior without duplicate writes"; keys bound to the user, 409 for another '
        "request and while the first is in progress. Keys are UUIDs, for 60 minutes, a record in "
        "progress too.",
        (
            Configuration("quick start", _checks(_DRF_IDEMPOTENCYKEY), _DRF_IDEMPOTENCYKEY_TABLE),
            Configuration(
                "ATOMIC_REQUESTS",
                _checks(_DRF_IDEMPOTENCYKEY),
                _DRF_IDEMPOTENCYKEY_TABLE,
                documented=False,
            ),
        ),
        ("drf-idempotencykey==0.2.0",),
        hours_pass="UPDATE drf_idempotencykey_idempotencykey "
        "SET created_at = created_at - interval '61 minutes'",
    ),
    Contender(
        "django_idempotency_key",
        '"If the request has previously succeeded then the original data will be returned and '
        'nothing new is created"; a lock "to ensure that multiple threads do not try to call the '
        'same view … at the same time". By default both are of one process.',
        (
            Configuration("defaults", _checks("retry"), "memory"),
            Configuration("Redis cache, Redis lock", _checks("retry at_once"), "redis"),
        ),
        ("django-idempotency-key==1.3.0", "django-redis==7.0.0", REDIS_CLIENT),
    ),
    Contender(
        "djangorestframework_idempotency_key",
        'Its README is one line: "An installable DB backend idempotency key middleware"; a comment '
        'in its models adds "used for prevent re-send identical API multiple times accidentally".',
        (Configuration("middleware, decorator", _checks("retry"), "idempotency_key"),),
        (
            "djangorestframework-idempotency-key==1.0.3",
            "data-spec-validator==3.5.1",
            "python-dateutil==4.0.0",
        ),
    ),
    Contender(
        "drf_idem",
        '"detects the duplicate and returns an immediate response — without running your business '
        'logic a second time"; "atomic writes … eliminate TOCTOU race conditions"; for 60 seconds.',
        (Configuration("quick start", _checks("retry at_once"), "redis"),),
        ("drf-idem==0.1.1", REDIS_CLIENT),
        "X-Request-ID",
    ),
    Contender(
        "idemkit",
        '"Crash-safe. A worker that dies mid-operation can\'t block the key or double-execute"; '
        "duplicates wait and replay, 422 for another body, callers apart with a scope. Its "
        "limitations name a handler beyond the lease and one that raises; its page on correctness "
        '"fences the record, not a side effect already fired".',
        (
            Configuration("Redis", _checks(_IDEMKIT), "redis"),
            Configuration("PostgreSQL", _checks(_IDEMKIT), "idemkit_records"),
        ),
        ("idemkit[redis,postgres]==1.0.2", REDIS_CLIENT, "asyncpg==0.32.0"),
    ),
)
