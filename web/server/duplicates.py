"""How many requests with one key a process takes on at once, before it knows more of them."""

from collections import Counter, OrderedDict

from django.conf import settings

from web.server.pool import share_of

FINAL_KEYS_MAX = 4096  # whose response was seen; a forgotten one costs its duplicates a retry


def duplicates_max(threads: int) -> int:
    """Return how many requests of a key may come in: the first, and as many as may wait for it."""
    waiting: int = settings.IDEMPOTENCY["WAITING_THREADS_MAX"]
    return min(waiting + 1, share_of(threads))


class Duplicates:
    """Counts the requests of each key that are queued or running; of the main loop alone.

    While the first request of a key has no response, its duplicates wait in threads: so few may
    come in. Once one has got the final response, duplicates are replays: all come in.
    """

    def __init__(self, *, at_once_max: int) -> None:
        self.at_once_max = at_once_max
        self.unfinished: Counter[bytes] = Counter()
        self.final: OrderedDict[bytes, None] = OrderedDict()

    def admit(self, key: bytes | None) -> bool:
        """Return True if a request may come in; then `finish` is to be called once."""
        if key is None:
            return True
        if self.unfinished[key] >= self.at_once_max and key not in self.final:
            return False
        self.unfinished[key] += 1
        return True

    def finish(self, key: bytes | None, *, is_final: bool) -> None:
        """Count a request as done; `is_final`: it got the response that its duplicates will get."""
        if key is None:
            return
        self.unfinished[key] -= 1
        if not self.unfinished[key]:
            del self.unfinished[key]
        if is_final:
            self.final[key] = None
            self.final.move_to_end(key)
            if len(self.final) > FINAL_KEYS_MAX:
                self.final.popitem(last=False)
