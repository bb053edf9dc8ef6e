#!/bin/sh
# Write requirements.lock and requirements-dev.lock: versions and hashes for every platform, no index address.
set -eu
compile() {
    # The machine's own pip settings must leave no trace in a lock file that others use.
    env -u PIP_FIND_LINKS -u PIP_INDEX_URL -u PIP_EXTRA_INDEX_URL "$UV" pip compile --quiet --universal --python-version 3.11 \
        --generate-hashes --no-header --no-emit-index-url --no-emit-find-links --no-annotate "$@"
}
compile "$@" requirements.in --output-file requirements.lock
compile "$@" requirements-dev.in --output-file requirements-dev.lock
if grep -nE '://|^--|@ file' requirements.lock requirements-dev.lock; then
    echo "kanwa: a lock file names an address or an option" >&2
    exit 1
fi
