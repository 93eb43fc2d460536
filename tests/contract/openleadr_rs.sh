#!/bin/bash
# Runs Hallwatch's VEN once against openleadr-rs, an independent VTN, on a PostgreSQL of its own; all on loopback, all ended afterwards.
# Needs cargo with access to crates.io, cmake, libssl-dev and PostgreSQL 16 or newer (initdb and pg_ctl on the PATH); the VTN is
# compiled first, which takes minutes. Not part of the test suite.
#   usage: tests/contract/openleadr_rs.sh [WORK-FOLDER]
set -euo pipefail
work=$(realpath -m "${1:-$(mktemp -d)}"); mkdir -p "$work/run"
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)"
for program in cargo initdb pg_ctl; do
  command -v $program >/dev/null || { echo "needs $program"; exit 2; }
done
[ -x "$work/bin/openleadr-vtn" ] ||
  cargo install --debug --no-default-features --features postgres,internal-oauth --root "$work" openleadr-vtn
as=(); pg=$(mktemp -d)
[ "$(id -u)" = 0 ] && { chown postgres "$pg"; as=(runuser -u postgres --); }
(cd "$pg" && "${as[@]}" "$(command -v initdb)" -D "$pg/data" -A trust -U openadr >/dev/null)
(cd "$pg" && "${as[@]}" "$(command -v pg_ctl)" -D "$pg/data" -o "-p 15432 -k $pg -c listen_addresses=127.0.0.1" -l "$pg/log" -w start >/dev/null)
vtn=""
trap '[ -n "$vtn" ] && kill $vtn; (cd "$pg" && "${as[@]}" "$(command -v pg_ctl)" -D "$pg/data" -m fast stop >/dev/null); rm -rf "$pg"' EXIT
export PORT=13000 DATABASE_URL="postgres://openadr@127.0.0.1:15432/postgres" OAUTH_TYPE=INTERNAL
export RUST_LOG=warn OAUTH_BASE64_SECRET OAUTH_TOKEN_URL="http://127.0.0.1:$PORT/auth/token"
OAUTH_BASE64_SECRET=$(head -c 48 /dev/urandom | base64 -w0)
"$work/bin/openleadr-vtn" >"$work/vtn.log" 2>&1 & vtn=$!
for _ in $(seq 300); do curl -sf "http://127.0.0.1:$PORT/health" >/dev/null && break; sleep 0.2; done
rm -rf "$work/run"; mkdir -p "$work/run"
python -m tests.contract.openleadr_rs "http://127.0.0.1:$PORT" "$OAUTH_BASE64_SECRET" "$work/run"
