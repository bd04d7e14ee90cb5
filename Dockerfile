# syntax=docker/dockerfile:1
# The service alone: MongoDB is outside, named by DOD_MONGODB_URI or the file dod_mongodb_uri in DOD_SECRETS_DIR.
# For a release add the digest: --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:…
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# Extras of pyproject.toml, such as `explorer`, with spaces between them.
ARG EXTRAS=""
# The dependencies first: this layer stays as long as these two files do.
RUN python -m venv /opt/dod \
    && python -c "import os, tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], \
        *(one for name in os.environ['EXTRAS'].split() for one in project['optional-dependencies'][name]), sep='\n')" \
        > /tmp/requirements.txt \
    && /opt/dod/bin/python -m pip install -c constraints.txt -r /tmp/requirements.txt
COPY README.md LICENSE ./
COPY store store
COPY ingest ingest
COPY api api
COPY samples samples
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && HATCH_BUILD_HOOK_ENABLE_MYPYC=1 PIP_CONSTRAINT=constraints.txt \
        python -m pip wheel --no-deps --wheel-dir /tmp/dist . \
    && /opt/dod/bin/python -m pip install --no-deps /tmp/dist/*.whl \
    && /opt/dod/bin/python -m pip check \
    && /opt/dod/bin/python -m pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="data on demand" \
      org.opencontainers.image.description="Accepts pushed FHIR R4 DiagnosticReports and answers searches for them" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/dod /opt/dod
# The root file system may be read-only: byte code is in the image, and only /tmp is written to.
ENV PATH=/opt/dod/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DOD_ADMIN_HOST=0.0.0.0 \
    DOD_DATA_DIR=/tmp/dod
WORKDIR /tmp
USER 65532:65532
# 8080 is the FHIR API. 9090 is for probes and metrics: never publish it.
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# No HEALTHCHECK: /livez and /readyz on 9090 are for the orchestrator's probes.
ENTRYPOINT ["dod"]
CMD ["serve", "--host", "0.0.0.0"]
