# The worker on Debian's own Python. Your handler module goes to /app: mount it, or build FROM this.
#
#     docker build -t fulfillment-worker .
#     docker run -v ./shop:/app:ro -e FULFILLMENT_HANDLER=shop:fulfil \
#         -e FULFILLMENT_REDIS_URL=redis://redis:6379/0 -p 2112:2112 fulfillment-worker

FROM docker.io/library/debian:bookworm-slim AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt/* /var/log/dpkg.log

FROM python AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv
WORKDIR /build
COPY requirements/ requirements/
# Two environments: pip and what builds the wheel stay behind in the first.
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/venv \
    && /opt/build/bin/pip install --no-deps --require-hashes -r requirements/build.txt \
    && /opt/build/bin/pip --python /opt/venv/bin/python install \
        --no-deps --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
    && /opt/build/bin/pip --python /opt/venv/bin/python install --no-deps --no-index dist/*.whl
# PEP 610's note of the commit, which `fulfillment_build_info` on /metrics shows.
ARG REVISION=""
RUN [ -z "$REVISION" ] || printf '{"url": "file:///build", "vcs_info": {"vcs": "git", "commit_id": "%s"}}' \
    "$REVISION" > "$(echo /opt/venv/lib/python3*/site-packages/fulfillment_worker-*.dist-info)/direct_url.json"

FROM python
ARG REVISION=""
LABEL org.opencontainers.image.title="fulfillment-worker" \
      org.opencontainers.image.description="Takes orders off a Redis list and never loses one" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1
WORKDIR /app
# A number, so that Kubernetes can tell that it isn't root. It needs to write nothing anywhere.
USER 10001:10001
EXPOSE 2112
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=300s --retries=3 CMD ["python", "-c", "\
import http.client, os, sys; \
port = int(os.environ.get('FULFILLMENT_METRICS_PORT') or 2112); \
live = http.client.HTTPConnection('127.0.0.1', port, timeout=2); \
live.request('GET', '/livez'); \
sys.exit(live.getresponse().status != 200)"]
# Exec form: process 1 gets the SIGTERM that makes the worker drain, and ends what handlers leave behind.
ENTRYPOINT ["fulfillment-worker"]
CMD ["run"]
