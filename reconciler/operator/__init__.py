"""The Kubernetes operator: keeps `Stack` resources of a cluster in sync with the API."""
