"""For schemathesis: two of three valid bodies name what the database holds, so that orders are paid.

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
    if _is_number(body.get("account")):
        return body | {"account": ACCOUNT}
    lines = body.get("lines")
    if isinstance(lines, list) and lines and all(map(_is_line, lines)):
        return body | {"lines": [{"sku": "TEA", "quantity": chance}]}
    return body


def _is_line(line: Any) -> bool:
    return (
        isinstance(line, dict)
        and isinstance(line.get("sku"), str)
        and _is_number(line.get("quantity"))
        and line["quantity"] <= 1000
        and 0 < len(line["sku"]) <= 64
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
