"""For schemathesis: two of three valid bodies name what the database holds: orders are paid.

The account's number is in the environment. The choice depends on the body alone: a seed repeats.
"""

import os
from typing import Any
from zlib import crc32

import schemathesis

ACCOUNT = int(os.environ["SCHEMATHESIS_ACCOUNT"])


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """Return a body with a product that is sold and an account that is the caller's."""
    chance = crc32(repr(body).encode(errors="replace")) % 3
    if not isinstance(body, dict) or chance == 0:
        return body
    if _is_number(body.get("account"), up_to=2**63 - 1):
        return body | {"account": ACCOUNT}
    lines = body.get("lines")
    if isinstance(lines, list) and 0 < len(lines) <= 100 and all(map(_is_line, lines)):
        return body | {"lines": [{"sku": "TEA", "quantity": chance}]}
    return body


def _is_line(line: Any) -> bool:
    return (
        isinstance(line, dict)
        and _is_number(line.get("quantity"), up_to=1000)
        and isinstance(line.get("sku"), str)
        and 0 < len(line["sku"]) <= 64
    )


def _is_number(value: Any, *, up_to: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= up_to
