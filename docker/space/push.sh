#!/bin/sh
# push.sh USER/NAME: uploads the last commit to a Hugging Face Space of the kind Docker, which builds and starts it. It needs
# `hf` of the package huggingface_hub, after `hf auth login`; a Space refuses pictures in a plain `git push`.
set -eu
space=${1:?"usage: push.sh USER/NAME"}
command -v hf > /dev/null || { echo "push.sh needs hf: pip install huggingface_hub" >&2; exit 1; }
cd "$(dirname "$0")/../.."
commit=$(git rev-parse --short HEAD)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git archive HEAD model serving ui .streamlit requirements.txt LICENSE docker/space | tar -x -C "$folder"
mv "$folder/docker/space/README.md" "$folder/docker/space/Dockerfile" "$folder"  # where a Space looks for them
rm -r "$folder/docker"
hf upload "$space" "$folder" . --repo-type=space --delete='*' --commit-message="Version $commit"
