"""The sink of Google Cloud: Secret Manager."""
