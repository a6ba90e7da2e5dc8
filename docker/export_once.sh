#!/bin/sh
# export_once.sh DIR [FLAGS]: exports a model to DIR with these flags of `python -m model.export`, unless DIR has one that
# the same flags made; a CPU's model is not for a GPU. FORCE_EXPORT=1 always writes the next version, which a running
# server picks up.
set -eu
output=$1
shift
asked=$output/.asked_for  # the last export's flags, written before it began; a failed export leaves no newer version
if [ "${FORCE_EXPORT:-0}" != 1 ] && [ "$(cat "$asked" 2>/dev/null)" = "$*" ]; then
  for version in "$output"/[0-9]*/saved_model.pb; do
    if [ "$version" -nt "$asked" ]; then
      echo "$output has a model that was made by $*; FORCE_EXPORT=1 writes another version."
      exit 0
    fi
  done
fi
mkdir -p "$output"
printf '%s\n' "$*" > "$asked"
exec python -m model.export --output="$output" "$@"
