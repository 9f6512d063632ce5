# An image with reconciler and the libraries of all backends and sinks.
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY reconciler reconciler
COPY schemas schemas
RUN python -m venv /opt/reconciler \
    && /opt/reconciler/bin/pip install --no-cache-dir --disable-pip-version-check '.[all]'

FROM python:3.12-slim
LABEL org.opencontainers.image.title="reconciler" \
      org.opencontainers.image.description="Infrastructure as code for the OpenAI platform" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/reconciler /opt/reconciler
RUN useradd --create-home --uid 10001 reconciler
USER 10001
WORKDIR /stack
ENV PATH="/opt/reconciler/bin:$PATH" PYTHONUNBUFFERED=1
ENTRYPOINT ["reconciler"]
