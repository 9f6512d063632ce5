"""Metrics, traces and notices about runs, for monitoring a fleet.

`recorder.py` has the protocol through which runs report; it imports no library. `metrics.py` keeps
Prometheus metrics, `traces.py` exports OpenTelemetry spans, and `notices.py` announces changes of
state through apprise. Each needs an extra, and is imported only on request.
"""
