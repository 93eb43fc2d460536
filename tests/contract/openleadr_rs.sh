#!/bin/bash
# Runs Hallwatch's VEN once against openleadr-rs, an independent VTN. Needs cargo, PostgreSQL (initdb, pg_ctl on the PATH or in
# /usr/lib/postgresql/*/bin), and access to crates.io; takes minutes, since the VTN is compiled. Not part of the test suite.
#   usage: tests/contract/openleadr_rs.sh [WORK-FOLDER]
set -euo pipefail
work=$(realpath -m "${1:-$(mktemp -d)}"); mkdir -p "$work"
here=$(cd "$(dirname "$0")/../.." && pwd)
export PATH="$here/.venv/bin:$work/bin:$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)"
for program in cargo initdb pg_ctl; do
  command -v $program >/dev/null || { echo "needs $program: apt-get install cargo postgresql"; exit 2; }
done
[ -x "$work/bin/openleadr-vtn" ] || cargo install --locked --root "$work" openleadr-vtn
as=(); [ "$(id -u)" = 0 ] && { chown -R postgres "$work"; as=(runuser -u postgres --); }
"${as[@]}" "$(command -v initdb)" -D "$work/pg" -A trust -U openadr >"$work/initdb.log"
"${as[@]}" "$(command -v pg_ctl)" -D "$work/pg" -o "-p 15432 -k $work" -l "$work/pg.log" -w start
trap '"${as[@]}" "$(command -v pg_ctl)" -D "$work/pg" -m fast stop >/dev/null; kill ${vtn:-} 2>/dev/null || true' EXIT
export DATABASE_URL="postgres://openadr@127.0.0.1:15432/postgres" OAUTH_TYPE=INTERNAL PORT=13000
export OAUTH_BASE64_SECRET; OAUTH_BASE64_SECRET=$(head -c 48 /dev/urandom | base64 -w0)
"$work/bin/openleadr-vtn" >"$work/vtn.log" 2>&1 & vtn=$!
echo "The VTN runs at http://127.0.0.1:$PORT (log $work/vtn.log). Make a user and a program as its README says, name them under"
echo "grid.openadr in a hallwatch.yaml, and run 'hallwatch run -c DIR'; 'hallwatch grid status -c DIR' tells whether it answers."
echo "Ctrl-C ends VTN and database."
wait $vtn
