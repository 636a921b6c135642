# syntax=docker/dockerfile:1
# The serving image: service/ and the demo package, no training code, no torch, no compiler.
#   docker build .                     CPU
#   docker build --target gpu .        CUDA, libraries from wheels: the host brings only the driver
ARG PYTHON=3.11-slim

FROM python:${PYTHON} AS install
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /install
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt ./
# Only the dependencies: a change of code then rebuilds no layer of wheels.
COPY <<'REQUIREMENTS' requirements.py
import sys, tomllib
project = tomllib.load(open("pyproject.toml", "rb"))["project"]
print(*project["dependencies"], *project["optional-dependencies"][sys.argv[1]], sep="\n")
REQUIREMENTS

FROM install AS install-cpu
RUN --mount=type=cache,target=/root/.cache/pip \
    python requirements.py cpu > cpu.txt \
    && /opt/venv/bin/pip install -c constraints.txt -r cpu.txt

FROM install AS install-gpu
RUN --mount=type=cache,target=/root/.cache/pip \
    python requirements.py gpu > gpu.txt \
    && /opt/venv/bin/pip install -c constraints.txt -r gpu.txt

FROM python:${PYTHON} AS serving
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    FINERANK_STATE_DIR=/var/lib/finerank
# The state directory holds the last accepted plans: a start without the store serves from it.
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin finerank \
    && install --directory --owner=10001 --group=10001 /var/lib/finerank \
    && printf '#!/bin/sh\nexec python -m service "$@"\n' > /usr/local/bin/finerank \
    && chmod 755 /usr/local/bin/finerank
WORKDIR /app
COPY service/ service/
COPY models/demo/ models/demo/
USER 10001:10001
VOLUME /var/lib/finerank
EXPOSE 8000
# A slim image has no curl, and importing the service would cost more than the check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --start-interval=1s \
    CMD ["python", "-c", "import urllib.request as http; http.urlopen('http://127.0.0.1:8000/readyz', timeout=2)"]
ENTRYPOINT ["finerank"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]

FROM serving AS gpu
COPY --from=install-gpu /opt/venv /opt/venv

# Last, so that it is what a plain `docker build .` makes.
FROM serving AS cpu
COPY --from=install-cpu /opt/venv /opt/venv
