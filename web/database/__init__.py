"""Django's PostgreSQL engine with deadlines for a silent server: ENGINE = "web.database"."""
