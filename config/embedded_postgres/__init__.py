"""A Django database backend with a PostgreSQL of its own: ENGINE = "config.embedded_postgres"."""
