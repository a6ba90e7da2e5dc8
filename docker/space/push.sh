#!/bin/sh
# push.sh GIT_URL: puts this checkout's last commit on a Hugging Face Space of the kind Docker, which builds and starts it:
#   docker/space/push.sh https://huggingface.co/spaces/USER/NAME
set -eu
cd "$(dirname "$0")/../.."
commit=$(git rev-parse --short HEAD)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git clone --quiet --depth 1 "$1" "$folder/space"
git -C "$folder/space" rm -rq --ignore-unmatch .
git archive HEAD model serving ui .streamlit requirements.txt LICENSE docker/space | tar -x -C "$folder/space"
cd "$folder/space"
mv docker/space/README.md docker/space/Dockerfile .  # where a Space looks for them
rm -r docker
git add --all
git -c user.name="${GIT_AUTHOR_NAME:-push.sh}" -c user.email="${GIT_AUTHOR_EMAIL:-push.sh@localhost}" \
  commit --quiet --allow-empty --message "Version $commit"
git push --quiet origin HEAD:main
echo "$1 has version $commit."
