"""A Celery worker's task that charges once, whatever the broker delivers twice."""

import os
from typing import Any

import django
from celery import Celery

django.setup()

from idempotency import run_once  # noqa: E402 - Django first
from idempotency.tests.project import faults  # noqa: E402, F401 - arms the failpoints
from idempotency.tests.project.views import charge  # noqa: E402

app = Celery("project", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
app.conf.update(
    task_acks_late=True,  # acknowledge after the work: a killed worker's task comes again
    worker_prefetch_multiplier=1,
    broker_transport_options={  # seconds until it does
        "visibility_timeout": 1,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,  # look every time
    },
    broker_connection_retry_on_startup=True,
)


@app.task(name="pay")  # type: ignore[untyped-decorator]
def pay(key: str, amount: int) -> Any:
    return run_once(
        scope="tasks",
        key=key,
        args={"amount": amount},
        call=lambda: {"charges": charge(amount), "amount": amount},
    )
