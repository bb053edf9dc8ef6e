#!/bin/sh
# Print the command of a Python that can make the virtual environment, or say in one line what to install.
set -u
usable() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}
found=
for candidate in ${KANWA_PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
    if usable "$candidate"; then
        # Debian and Ubuntu ship Python without ensurepip; a venv made there would have no pip.
        if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            echo "$candidate"
            exit 0
        fi
        found=$candidate
    fi
done
if [ -n "$found" ]; then
    echo "kanwa: $found has no venv module; install it first (Debian and Ubuntu: apt-get install python3-venv)" >&2
else
    echo "kanwa: Python 3.11 or newer was not found; install it, or name one: KANWA_PYTHON=/path/to/python3 make" >&2
fi
exit 1
