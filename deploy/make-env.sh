#!/bin/sh
# Write .env from .env.example with a random value for each password.
set -eu
if [ -e .env ]; then
    echo "kanwa: .env is there already; it stays as it is" >&2
    exit 1
fi
umask 077
while IFS= read -r line; do
    case $line in
        *_PASSWORD=*) echo "${line%%=*}=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
        *) echo "$line" ;;
    esac
done <.env.example >.env
echo "Wrote .env; keep it out of version control and of backups that others read."
