"""PostgreSQL under Patroni, HAProxy, PgBouncer and several web servers, on hosts of one machine."""
