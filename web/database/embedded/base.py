"""The engine "web.database.embedded": both engines in one."""

import embedded_postgres.base
from web.database import base


class DatabaseWrapper(base.DatabaseWrapper, embedded_postgres.base.DatabaseWrapper):
    """A connection to the embedded server, with the deadlines of `web.database`."""
