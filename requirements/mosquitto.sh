#!/bin/sh
# Sees to it that the mosquitto broker is there for the tests: installs it where that needs no questions, else says how.
set -eu

if PATH="$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin" command -v mosquitto >/dev/null; then
    exit 0
fi
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "broker: installing mosquitto with apt-get" >&2
    # The package would start a broker of its own; the tests start theirs. A policy of 101 forbids that, where there is none yet.
    policy=/usr/sbin/policy-rc.d
    made=
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy" && made=$policy
    fi
    status=0
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends mosquitto >/dev/null; } || status=$?
    [ -z "$made" ] || rm -f "$made"
    if [ "$status" = 0 ]; then
        exit 0
    fi
    echo "broker: apt-get could not install mosquitto: see its message above." >&2
else
    echo "broker: mosquitto is not installed; the tests that need a full MQTT broker will be skipped." >&2
    echo "  Debian: sudo apt-get install mosquitto; macOS: brew install mosquitto; Windows: winget install EclipseFoundation.Mosquitto" >&2
fi
if [ -n "${CI:-}" ]; then
    echo "broker: in CI that is a failure." >&2
    exit 1
fi
