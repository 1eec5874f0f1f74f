#!/bin/sh
# new-venv.sh FOLDER PYTHON: make an empty virtual environment, from Python 3.11 or later.
set -eu
folder=$1 python=${2:-}
if [ -z "$python" ] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "$folder: Python 3.11 or later is needed and ${python:-none} was found; name one: make PYTHON=..." >&2
    exit 1
fi
rm -rf "$folder"
"$python" -m venv "$folder"
