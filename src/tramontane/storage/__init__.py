"""The database: sessions, schema, and the folder where data lives."""
