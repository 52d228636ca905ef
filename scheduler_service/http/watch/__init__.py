"""Health and metrics, and the periodic tasks of the service."""
