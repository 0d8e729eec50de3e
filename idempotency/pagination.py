"""Pages of a list in the admin, for tables that grow without end."""

from typing import Any, ClassVar

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


class LongList:
    """A list in the admin that is quick with millions of rows: mix it in before `ModelAdmin`."""

    paginator: ClassVar[Any] = FirstRows
    show_full_result_count = False
    sortable_by: ClassVar[Any] = ()  # a sort by a column without an index reads everything
