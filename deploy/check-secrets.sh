#!/bin/sh
# Refuse to start with the passwords of .env.example on an address that others can reach.
set -eu
case ${KANWA_BIND_ADDRESS:-127.0.0.1} in
    127.* | ::1 | localhost) exit 0 ;;
esac
# The example's passwords all hold this word.
exposed=$(env | grep -E '_PASSWORD=.*example' | cut -d= -f1 | sort | tr '\n' ' ')
if [ -n "$exposed" ]; then
    echo "kanwa: KANWA_BIND_ADDRESS=$KANWA_BIND_ADDRESS opens this to other machines, but these have the example's values: $exposed"
    echo "kanwa: write an .env with passwords of its own first: make env"
    exit 1
fi
