"""A process whose clock is wrong by CLOCK_SKEW_SECONDS; import it before what reads the time.

Python's own functions and Django's are shifted: a wrong system clock without touching the system.
"""

import os
import time
from datetime import datetime, timedelta

from django.utils import timezone

SKEW_SECONDS = int(os.environ.get("CLOCK_SKEW_SECONDS", "0"))

if SKEW_SECONDS:
    right_time, right_now = time.time, timezone.now

    def wrong_time() -> float:
        return right_time() + SKEW_SECONDS

    def wrong_now() -> datetime:
        return right_now() + timedelta(seconds=SKEW_SECONDS)

    time.time, timezone.now = wrong_time, wrong_now
