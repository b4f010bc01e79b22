#!/bin/sh
# Sees to it that Node.js and the AsyncAPI parser are in the virtual environment $1, at the versions that are pinned here.
set -eu
venv=$1
here=$(dirname "$0")
folder=$venv/asyncapi

if cmp -s "$here/asyncapi/package-lock.json" "$folder/package-lock.json" && [ -d "$folder/node_modules" ]; then
    exit 0
fi
echo "asyncapi: installing Node.js and the parser of requirements/asyncapi/package-lock.json" >&2
failed() {
    echo "asyncapi: see the message above. It needs a network; then run make asyncapi again." >&2
    exit 1
}
"$venv/bin/python" -m pip --disable-pip-version-check -qq install -r "$here/asyncapi.txt" || failed
rm -rf "$folder" && mkdir -p "$folder"
cp "$here/asyncapi/package.json" "$here/asyncapi/validate.mjs" "$folder/"
cp "$here/asyncapi/package-lock.json" "$folder/"
bin=$(cd "$venv/bin" && pwd)
(cd "$folder" && PATH="$bin:$PATH" npm ci --silent --no-audit --no-fund --ignore-scripts) || { rm -f "$folder/package-lock.json"; failed; }
