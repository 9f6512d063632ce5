"""The sink of Microsoft Azure: Key Vault."""
