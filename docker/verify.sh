#!/bin/sh
# Starts the deployment, holds it against all that a client expects of a model server, and says whether it does:
#   make verify-deployment          on an NVIDIA GPU
#   make verify-deployment GPU=0    on the CPU
# Needs Docker with Compose; exit status 0 if all is well. What was started is removed, its volumes are kept.
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

# shellcheck disable=SC2086 # the flags are several words
compose() { docker compose $files "$@"; }

verdict() {
  echo
  echo "VERDICT: $1"
  exit "$2"
}

compose config --quiet || verdict "FAILED: docker compose does not take the files" 1
trap 'compose down --remove-orphans >/dev/null 2>&1' EXIT
# --wait: until every health check is well, and the export has ended well
if ! compose up --build --detach --wait --wait-timeout "${START_S:-1200}" --scale serving="$replicas"; then
  compose ps --all
  compose logs --tail 50
  verdict "FAILED: the deployment did not become healthy" 1
fi
if [ "$gpu" != 0 ]; then
  compose exec -T serving nvidia-smi --query-gpu=name,driver_version,memory.used --format=csv,noheader ||
    verdict "FAILED: the model server has no GPU" 1
  compose logs serving | grep -q "Created device.*GPU" ||
    verdict "FAILED: TensorFlow Serving does not use the GPU; its log says why" 1
fi
# Where Compose has put them, whatever docker/.env says.
server="grpc://$(compose port balancer 8500),http://$(compose port balancer 8501)"
curl -fsS "http://$(compose port ui 8080)/_stcore/health" || verdict "FAILED: the page does not answer" 1
make test-serving SERVER="$server" || verdict "FAILED: the client's tests, against TensorFlow Serving $what" 1
verdict "OK: page, load balancer and $replicas model server(s) $what; the client's tests passed" 0
