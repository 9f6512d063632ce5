"""reconciler: the OpenAI platform as code. Manifests in git, a plan in the pull request, an apply from CI."""

__version__ = "0.1.0"
