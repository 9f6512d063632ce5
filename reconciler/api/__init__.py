"""The platform's HTTP API: the one place that knows requests, answers, pages, limits and keys of the wire.

`provider.HttpProvider` turns the declaration of a kind into calls; `client.Client` makes them. Everything that goes
wrong leaves this package as one of `reconciler.errors`.
"""
