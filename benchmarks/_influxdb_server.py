"""A real InfluxDB 1.6 behind nginx, which gives it the v2 write endpoint and a token."""

from __future__ import annotations

import os
import secrets
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks._server_process import ServerProcess, free_port, listening

INFLUXD = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  index-version = "tsi1"
  max-series-per-database = 0
  max-values-per-tag = 0
  query-log-enabled = false
  cache-max-memory-size = "2g"
[coordinator]
[http]
  bind-address = "127.0.0.1:{http}"
  log-enabled = false
  max-body-size = {max_body}
  flux-enabled = false
[monitor]
  store-enabled = false
[logging]
  level = "warn"
"""

# 1.6 knows neither /api/v2/write nor tokens: nginx maps the one and checks the other, so that the real
# influxdb-client is what is tested.
NGINX = """
daemon off;
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{ worker_connections 256; }}
http {{
  access_log off;
  client_max_body_size 64m;
  client_body_temp_path {folder}/tmp-body;
  proxy_temp_path {folder}/tmp-proxy;
  fastcgi_temp_path {folder}/tmp-fastcgi;
  uwsgi_temp_path {folder}/tmp-uwsgi;
  scgi_temp_path {folder}/tmp-scgi;
  upstream influxd {{ server 127.0.0.1:{http}; keepalive 16; }}
  map $http_authorization $allowed {{ default 0; "Token {token}" 1; "Bearer {token}" 1; }}
  map $arg_bucket $database {{ default ""; "~^(?<d>[^/%]+)" $d; }}
  map $arg_bucket $policy {{ default ""; "~^[^/%]+(?:/|%2[Ff])(?<r>.+)$" $r; }}
  server {{
    listen 127.0.0.1:{port}{ssl};
    {certificate}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Authorization "";
    proxy_read_timeout 120s;
    if ($allowed = 0) {{ return 401 '{{"error":"unauthorized"}}'; }}
    location = /api/v2/write {{
      rewrite ^ /write?db=$database&rp=$policy&precision=$arg_precision? break;
      proxy_pass http://influxd;
    }}
    location / {{ proxy_pass http://influxd; {answers} }}
  }}
}}
"""


class InfluxServer:
    """influxd and the nginx before it; `url` and `token` are what a client gets.

    Parameters
    ----------
    folder
        Where both keep configuration, data and logs.
    certificate
        PEM files (certificate, key) to speak TLS with.
    max_body
        Bytes that influxd takes in one write; 0 means no limit.
    version
        What it calls its version, where that is not what influxd does.
    """

    def __init__(
        self,
        folder: Path,
        certificate: tuple[Path, Path] | None = None,
        max_body: int = 25_000_000,
        version: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.token = secrets.token_hex(8)
        self.port, http, rpc = free_port(), free_port(), free_port()
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        (folder / "influxd.conf").write_text(
            INFLUXD.format(folder=folder, http=http, rpc=rpc, max_body=max_body)
        )
        (folder / "nginx.conf").write_text(
            NGINX.format(
                folder=folder,
                user="user root;\n" if os.geteuid() == 0 else "",  # workers write into the folder too
                http=http,
                port=self.port,
                token=self.token,
                answers=f"proxy_hide_header X-Influxdb-Version; add_header X-Influxdb-Version {version};"
                if version
                else "",
                ssl=" ssl" if certificate else "",
                certificate=(
                    f"ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};"
                    if certificate
                    else ""
                ),
            )
        )
        self.influxd = ServerProcess(
            ["influxd", "-config", str(folder / "influxd.conf")], folder, lambda: self._pong(http)
        )
        self.nginx = ServerProcess(
            [
                "nginx",
                "-p",
                str(folder),
                "-c",
                str(folder / "nginx.conf"),
                "-e",
                str(folder / "nginx-error.log"),
            ],
            folder,
            lambda: listening(self.port),
        )

    def _pong(self, port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1) as answer:
                return bool(answer.status == 204)
        except OSError:
            return False

    def start(self) -> None:
        """Start what does not run of the two."""
        for server in (self.influxd, self.nginx):
            if not server.running:
                server.start()

    def stop(self) -> None:
        """Stop influxd; nginx answers 502 meanwhile, as a load balancer would."""
        self.influxd.stop()

    def kill(self) -> None:
        """End influxd with SIGKILL."""
        self.influxd.kill()

    def __enter__(self) -> InfluxServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.nginx.stop()
        self.influxd.stop()
