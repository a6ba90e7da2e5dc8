# syntax=docker/dockerfile:1
# The page and the command line, without TensorFlow: they call a model server.
# Build from the repository's root: -f docker/ui.Dockerfile .

# A digest pins the bytes: --build-arg PYTHON_DIGEST=@sha256:... (docker/README.md says where to get it).
ARG PYTHON_DIGEST=""

FROM python:3.11.13-slim-bookworm${PYTHON_DIGEST} AS build
COPY docker/requirements-ui.txt /tmp/requirements.txt
# /wheels is for a build without a network, see docker/README.md.
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=docker/wheels,target=/wheels \
    python -m venv --without-pip /venv \
    && if ls /wheels/*.whl >/dev/null 2>&1; then set -- --no-index --find-links=/wheels; fi \
    && pip --python /venv/bin/python install --require-hashes --disable-pip-version-check "$@" \
         -r /tmp/requirements.txt

FROM python:3.11.13-slim-bookworm${PYTHON_DIGEST}
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PATH=/venv/bin:$PATH HOME=/tmp \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0 STREAMLIT_SERVER_PORT=8080
COPY --from=build /venv /venv
WORKDIR /app
COPY .streamlit/config.toml ./.streamlit/
COPY model ./model
COPY serving ./serving
COPY ui ./ui
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/_stcore/health', timeout=4)"]
CMD ["streamlit", "run", "ui/app.py"]
