# syntax=docker/dockerfile:1
# Gateway, migration, smoke test and the command line, without torch, as two targets:
#   gateway: the default
#   backup: the same with PostgreSQL's client: 65 MB, of them 50 of Perl, which gateways do without
#   make images, or: docker build -f images/gateway.Dockerfile -t tunesmith/gateway:0.1.0 .
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-trixie@sha256:9534e5a8e315485d4061ed659af0fd78a284c015f9b73661b41d6bab25604534

FROM ${PYTHON_IMAGE} AS build
# 1 for storage at gs://
ARG GCS=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /build
COPY pyproject.toml ./
COPY requirements/lock.txt requirements/gcs.txt requirements/
COPY scripts/image_requirements.py scripts/image_requirements.py
RUN python -m venv --without-pip /opt/tunesmith \
    && python scripts/image_requirements.py gateway > requirements/gateway.txt \
    && python scripts/image_requirements.py build > requirements/build.txt \
    && pip --python /opt/tunesmith/bin/python install --no-deps --require-hashes --only-binary=:all: \
        --no-compile -r requirements/gateway.txt \
    && if [ -n "$GCS" ]; then \
        pip --python /opt/tunesmith/bin/python install --no-deps --require-hashes \
            --only-binary=:all: --no-compile -r requirements/gcs.txt; fi \
    && pip install --no-deps --require-hashes --only-binary=:all: -r requirements/build.txt
COPY README.md LICENSE ./
COPY gateway gateway
COPY platform platform
# An image carries one side: the workers' packages stay out.
RUN mkdir -p workers/tunesmith \
    && pip --python /opt/tunesmith/bin/python install --no-deps --no-build-isolation --no-compile . \
    && python -m compileall -q -j 0 /opt/tunesmith/lib

FROM ${PYTHON_IMAGE} AS runtime
ENV PATH=/opt/tunesmith/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TUNESMITH_HOME=/var/lib/tunesmith
RUN groupadd --gid 10001 tunesmith \
    && useradd --uid 10001 --gid tunesmith --home-dir /var/lib/tunesmith --create-home \
        --shell /usr/sbin/nologin tunesmith
COPY --from=build /opt/tunesmith /opt/tunesmith

FROM runtime AS backup
ARG VERSION=0.1.0
ARG REVISION=unknown
# pg_dump has to be of the server's version or newer. Debian trixie's is 17.
ARG POSTGRESQL_CLIENT=postgresql-client-17
LABEL org.opencontainers.image.title="Tunesmith backup" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends "${POSTGRESQL_CLIENT}" \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
WORKDIR /var/lib/tunesmith
HEALTHCHECK NONE
CMD ["tunesmith", "backup", "--help"]

FROM runtime AS gateway
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tunesmith gateway" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
WORKDIR /var/lib/tunesmith
EXPOSE 8000
# Kubernetes has probes of its own.
HEALTHCHECK NONE
CMD ["python", "-m", "tunesmith.gateway"]
