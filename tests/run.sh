#!/usr/bin/env bash
# Runs every test. Installs the Debian servers that the system tests talk to, when it may; otherwise the tests that
# need a missing one skip and say so (in CI they fail instead). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
# Debian keeps the programs of PostgreSQL in a folder of their version
reach() { PATH="$PATH:/usr/sbin:/sbin$(printf ':%s' /usr/lib/postgresql/*/bin)"; export PATH; }
reach

declare -A package=([mosquitto]=mosquitto [mosquitto_pub]=mosquitto-clients [snmpd]=snmpd [snmpbulkwalk]=snmp
    [influxd]=influxdb [nginx]=nginx [chromium]=chromium [ip]=iproute2 [initdb]=postgresql
    [prometheus-alertmanager]=prometheus-alertmanager)
missing=()
for program in "${!package[@]}"; do
    command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
if ! command -v cc >/dev/null; then missing+=(gcc libc6-dev); fi
if [ ${#missing[@]} -gt 0 ]; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        echo "Installing what the tests talk to: ${missing[*]}"
        # a server must not start by itself: the tests start their own, on free ports
        printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod +x /usr/sbin/policy-rc.d
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
        rm -f /usr/sbin/policy-rc.d
        reach
    else
        echo "Not installed, so the tests that need them will skip: ${missing[*]}"
        echo "To run all tests: sudo apt-get install ${missing[*]}"
    fi
fi

testdata="${HALLWATCH_TESTDATA:-../shared}"
[ -d "$testdata/snmp-walks" ] || echo "No third-party recordings in $testdata, so the tests that need them will skip."

# the suite starts hundreds of commands: what they import is compiled once
unset PYTHONDONTWRITEBYTECODE
# one thread per library: the suite itself runs in parallel
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
exec python -m pytest -n "${HALLWATCH_TEST_WORKERS:-2}" --dist loadgroup --durations=40 --durations-min=5 "$@"
