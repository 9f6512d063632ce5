"""Reads states of Terraform and OpenTofu, and maps their resources to our kinds."""
