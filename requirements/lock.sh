#!/bin/sh
# Renews the locks of both ends from their .in files: the newer for Python 3.10 to 3.13, the older (addons) for 3.10 and
# 3.11, each on any platform:
#
#     sh requirements/lock.sh             # uv comes with `make lint`; keeps versions that still fit
#     sh requirements/lock.sh --upgrade   # newest versions that fit
#
# torch's build for Linux in the common registry asks for CUDA packages of several GB, which tests on CPU do not use:
# they are struck from the lock, see scripts/install_packages.sh.
set -eu
cd "$(dirname "$0")"
PATH=$PWD/../.venv/bin:$PATH

compile() { # compile NAME UV-ARGUMENT...
    name=$1
    shift
    uv pip compile --universal --python-version 3.10 --no-annotate --no-header --quiet \
        --no-emit-index-url --no-emit-find-links --output-file "$name.lock" "$name.in" "$@"
    {
        echo "# Made from $name.in by: sh requirements/lock.sh (uv pip compile --universal --python-version 3.10)"
        grep -vE '^(nvidia-|cuda-|triton==)' "$name.lock"
    } >"$name.lock.new"
    mv "$name.lock.new" "$name.lock"
}

compile run "$@"
compile test --constraint run.lock "$@"
compile addons "$@"
compile test-addons --constraint addons.lock "$@"
