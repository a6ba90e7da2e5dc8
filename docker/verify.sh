#!/bin/sh
# Starts the deployment, runs the client's tests against it, and prints a verdict:
#   make verify-deployment          on an NVIDIA GPU
#   make verify-deployment GPU=0    on the CPU
# Needs Docker with Compose. Exit status 0 if all is well. The containers are removed at the end, their volumes are kept. It
# is a Compose project of its own on free ports, so a deployment that runs on this machine is left alone.
set -u
cd "$(dirname "$0")/.."
gpu=${GPU:-1}
files="-f docker/compose.yaml -f docker/compose.ports.yaml"
what="on the CPU"
if [ "$gpu" != 0 ]; then
  files="$files -f docker/compose.gpu.yaml"
  what="on a GPU"
fi
replicas=${REPLICAS:-1}
# These go before docker/.env; 0 is any free port.
export UI_ADDRESS=127.0.0.1 API_ADDRESS=127.0.0.1 UI_PORT=0 GRPC_PORT=0 REST_PORT=0

# shellcheck disable=SC2086 # the flags are several words
compose() { docker compose --project-name style-transfer-verify $files "$@"; }

verdict() {
  echo
  echo "VERDICT: $1"
  exit "$2"
}

compose config --quiet || verdict "FAILED: docker compose refuses the files" 1
[ -z "$(compose ps --quiet)" ] || verdict "FAILED: another verification runs" 1
trap 'compose down --remove-orphans >/dev/null 2>&1' EXIT
# --wait: until every health check passes and the export has succeeded
if ! compose up --build --detach --wait --wait-timeout "${START_S:-1200}" --scale serving="$replicas"; then
  compose ps --all
  compose logs --tail 50
  verdict "FAILED: the deployment did not become healthy" 1
fi
grpc=$(compose port balancer 8500)
rest=$(compose port balancer 8501)
if [ "$gpu" != 0 ]; then
  compose exec -T serving nvidia-smi --query-gpu=name,driver_version,memory.used --format=csv,noheader ||
    verdict "FAILED: the model server has no GPU" 1
  # The model says which device it runs on; the log does not, at its level.
  if ! curl -fsS -d '{"signature_name": "describe", "inputs": {"settings": [""]}}' \
    "http://$rest/v1/models/style_transfer:predict" | grep -qF '\"device\": \"GPU\"'; then
    compose logs serving
    verdict "FAILED: TensorFlow Serving does not use the GPU; its log, above, says why" 1
  fi
fi
curl -fsS "http://$(compose port ui 8080)/_stcore/health" || verdict "FAILED: the page does not answer" 1
make test-serving SERVER="grpc://$grpc,http://$rest" ||
  verdict "FAILED: the client's tests, against TensorFlow Serving $what" 1
verdict "OK: page, load balancer and $replicas model server(s) $what; the client's tests passed" 0
