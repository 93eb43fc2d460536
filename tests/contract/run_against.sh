#!/usr/bin/env bash
# Runs the telemetry-store contract on any InfluxDB: tests/contract/run_against.sh URL TOKEN [ORG [PYTEST OPTIONS]]
# The token must be allowed to create databases (1.x) or buckets (2.x); they are named test_<random>/... and stay.
# Nothing of InfluxDB needs to be installed here. Succeeds only if tests ran, none was skipped, and all passed.
set -euo pipefail
if [ $# -lt 1 ]; then
    echo "usage: $0 URL [TOKEN [ORG [PYTEST OPTIONS]]]   (for 1.8 the token is user:password)" >&2
    exit 2
fi
cd "$(dirname "$0")/../.."
export HALLWATCH_TEST_INFLUXDB_URL="$1" HALLWATCH_TEST_INFLUXDB_TOKEN="${2:-}" HALLWATCH_TEST_INFLUXDB_ORG="${3:--}"
PYTHON=.venv/bin/python
[ -x "$PYTHON" ] || PYTHON=python3
told=$(mktemp)
trap 'rm -f "$told"' EXIT
"$PYTHON" -m pytest tests/contract/test_telemetry_store.py -k influxdb -v -p no:cacheprovider "${@:4}" | tee "$told"
if ! grep -q "[0-9] passed" "$told" || grep -q "[0-9] skipped" "$told"; then
    echo "$0: tests were skipped, or none ran: nothing is said of $1" >&2
    exit 1
fi
