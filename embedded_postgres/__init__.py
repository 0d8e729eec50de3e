"""A Django database backend with a PostgreSQL of its own: ENGINE = "embedded_postgres"."""
