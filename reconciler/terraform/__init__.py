"""States of Terraform and OpenTofu: reading them, and what their resources are called here."""
