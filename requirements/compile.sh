#!/usr/bin/env bash
# Locks every requirements file with hashes, for Python 3.11 and later, on any platform. Needs uv. Usage: requirements/compile.sh
# No index address is written, so a lock works with whatever index a machine is set up for.
set -euo pipefail
cd "$(dirname "$0")"
lock() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header "$@"; }
lock core.in -o core.txt
lock demo.in -o demo.txt
lock dev.in -o dev.txt
lock browser.in -o browser.txt
lock reload.in -o reload.txt
lock flower.in -o flower.txt
lock peers.in -o peers.txt
lock data.in --no-deps -o data.txt
