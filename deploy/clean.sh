#!/bin/sh
# Stop the embedded PostgreSQL that a killed run may have left behind, then remove its folder.
set -eu
folder=$1
pid_file=$folder/postgres/postmaster.pid
if [ -f "$folder/lock" ] && command -v flock >/dev/null 2>&1 && ! flock --nonblock "$folder/lock" true; then
    echo "kanwa: a run is using $folder; stop it first (Ctrl-C in its window)" >&2
    exit 1
fi
if [ -f "$pid_file" ]; then
    pid=$(head -n 1 "$pid_file")
    # The number may belong to another program by now: only a postgres process is told to stop.
    if [ "$(ps -o comm= -p "$pid" 2>/dev/null)" = postgres ]; then
        kill -INT "$pid"
        waited=0
        while kill -0 "$pid" 2>/dev/null && [ "$waited" -lt 100 ]; do
            waited=$((waited + 1))
            sleep 0.1
        done
    fi
fi
rm -rf "$folder"
