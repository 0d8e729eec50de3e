"""The embedded PostgreSQL with deadlines: ENGINE = "web.database.embedded"."""
