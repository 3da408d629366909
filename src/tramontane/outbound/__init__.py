"""Calls to other servers: models elsewhere, webhooks, sign-in. Nothing else in the platform opens a connection."""
