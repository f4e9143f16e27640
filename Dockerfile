# The bridge and the worker: two small images over the same layers.
#
#   docker build -t activemq-rest-bridge:local .                            the bridge (the last stage)
#   docker build -t activemq-rest-bridge-worker:local --target worker .     the worker, for handlers of yours
#
# Both run as user 10001, need nothing to write but /tmp (the bridge also its store, /var/lib/mqbridge), and stop in
# order on SIGTERM. What is installed is locked with hashes: scripts/lock.
ARG BASE=python:3.13.16-slim-bookworm

FROM ${BASE} AS build
WORKDIR /build
COPY deploy/build.lock deploy/requirements.lock ./
RUN python3 -m venv /opt/mqbridge \
 && /opt/mqbridge/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r requirements.lock \
 && python3 -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --only-binary :all: --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY activemq activemq
COPY bridge bridge
COPY consumers consumers
COPY mqbridge mqbridge
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /build/wheel . \
 && /opt/mqbridge/bin/pip install --no-cache-dir --no-deps --no-index /build/wheel/*.whl \
 && find /opt/mqbridge/lib '(' -name '*.c' -o -name '*.cpp' -o -name '*.pyx' ')' -delete \
 && /opt/mqbridge/bin/python -m compileall -q /opt/mqbridge/lib \
 && /opt/mqbridge/bin/pip uninstall --yes --quiet setuptools pip \
 && mkdir -p /opt/state/mqbridge

FROM ${BASE} AS runtime
COPY --from=build /opt/mqbridge /opt/mqbridge
# Its owner is also the owner of a named volume that is mounted there.
COPY --from=build --chown=10001:10001 /opt/state/mqbridge /var/lib/mqbridge
COPY deploy/health.py /opt/mqbridge/health.py
ENV PATH=/opt/mqbridge/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["mqbridge"]

FROM runtime AS worker
# The worker tells here each second how it is; see docs/command-line.md.
ENV MQBRIDGE_HEALTH_FILE=/tmp/mqbridge-health
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python3", "-I", "-S", "/opt/mqbridge/health.py", "/tmp/mqbridge-health"]
CMD ["work", "--help"]

FROM runtime AS bridge
EXPOSE 8080
# Alive, not ready: a bridge whose broker is away says so to its callers, and a restart would not help it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python3", "-I", "-S", "/opt/mqbridge/health.py", "http://127.0.0.1:8080/-/live"]
CMD ["serve", "--config", "/etc/mqbridge/bridge.toml"]
