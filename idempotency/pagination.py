"""Pages of a list in the admin, for tables that grow without end."""

from typing import Any

from django.core.paginator import Paginator
from django.utils.functional import cached_property

ROWS_COUNTED_MAX = 10_000


class FirstRows(Paginator):  # type: ignore[type-arg]
    """Pages of the first rows of a list: a table of millions is never counted to its end."""

    @cached_property
    def count(self) -> int:
        """The number of rows, up to ROWS_COUNTED_MAX."""
        rows: Any = self.object_list
        return int(rows.order_by()[:ROWS_COUNTED_MAX].count())

    @property
    def is_cut_off(self) -> bool:
        """Whether there may be more rows."""
        return self.count == ROWS_COUNTED_MAX
