# syntax=docker/dockerfile:1
# What an init container copies beside vLLM's own image: the plugin, and what it needs, apart.
#   make images, or: docker build -f images/engine-plugin.Dockerfile -t tunesmith/engine-plugin:0.1.0 .
# VLLM_PYTHON is the Python of vLLM's image: compiled wheels must be made for it.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-trixie@sha256:9534e5a8e315485d4061ed659af0fd78a284c015f9b73661b41d6bab25604534

FROM ${PYTHON_IMAGE} AS build
ARG VLLM_PYTHON=3.12
# 1 for storage at gs://
ARG GCS=
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY requirements/lock.txt requirements/engine-plugin.txt requirements/gcs.txt requirements/
COPY scripts/image_requirements.py scripts/image_requirements.py
RUN python scripts/image_requirements.py build > requirements/build.txt \
    && pip install --no-deps --require-hashes --only-binary=:all: -r requirements/build.txt \
    && if [ -z "$GCS" ]; then : > requirements/gcs.txt; fi \
    && pip install --no-deps --require-hashes --only-binary=:all: --no-compile \
        --implementation cp --python-version "${VLLM_PYTHON}" \
        --target /plugin/dependencies -r requirements/engine-plugin.txt \
        -r requirements/gcs.txt
COPY workers workers
COPY platform platform
RUN mkdir -p gateway/tunesmith \
    && pip install --no-deps --no-build-isolation --no-compile --target /plugin . \
    && rm -rf /plugin/bin /plugin/tunesmith/workers/pocket/model

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Tunesmith engine plugin" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /plugin /plugin
USER 10001:10001
WORKDIR /plugin
# Kubernetes has probes of its own.
HEALTHCHECK NONE
CMD ["cp", "-R", "/plugin/.", "/opt/tunesmith-plugin/"]
