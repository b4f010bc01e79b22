#!/bin/sh
# Makes the virtual environment $1 with a Python of 3.11 or later, unless a working one is there.
set -eu
venv=$1

say() { echo "venv: $*" >&2; }

if [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

python=
for candidate in "${PYTHON:-}" python3.14 python3.13 python3.12 python3.11 python3; do
    if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    say "Python 3.11 or later is needed and none was found. Install one, or name one: make PYTHON=/path/to/python3."
    exit 1
fi

if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        say "installing python$version-venv with apt-get"
        export DEBIAN_FRONTEND=noninteractive
        if ! { apt-get update -qq && apt-get install -y -qq --no-install-recommends "python$version-venv" >/dev/null; }; then
            say "apt-get could not install python$version-venv: see its message above."
            exit 1
        fi
    else
        say "$python has no venv module. Install it (Debian: sudo apt-get install python3-venv), then run make again."
        exit 1
    fi
fi

say "making $venv with $("$python" --version)"
rm -rf "$venv"
if ! "$python" -m venv "$venv"; then
    say "$python could not make $venv: see its message above. Remove $venv and try again, or name another Python: make PYTHON=..."
    exit 1
fi
