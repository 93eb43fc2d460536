"""Token counters of real HTTP servers."""

import http.server
import threading

import httpx
import pytest

from collectors.nvml.settings import InferenceSettings
from collectors.nvml.tokens import TokenCounter, generated
from domain.errors import SourceProtocolError

TEXT = """# TYPE vllm:generation_tokens counter
vllm:generation_tokens_total{model_name="a"} %s
vllm:generation_tokens_total{model_name="b"} 100.0
vllm:prompt_tokens_total{model_name="a"} 7.0
"""


@pytest.fixture
def server():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(self.server.status)
            self.end_headers()
            self.wfile.write((TEXT % self.server.tokens).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.tokens, server.status = 1000.0, 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_counters_of_all_models_are_added_and_others_left_out():
    assert generated(TEXT % 1000.0, InferenceSettings(url="x").counters) == 1100
    assert generated("other 1\n", ("a",)) is None


async def test_a_rate_is_the_growth_in_a_second_also_over_a_restart(server):
    clock = [0.0]
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    counter = TokenCounter((InferenceSettings(url=url),), lambda: clock[0])
    async with httpx.AsyncClient(timeout=60) as client:
        await counter.scrape(client)
        assert (counter.rate, counter.total) == (None, 0)
        clock[0], server.tokens = 2.0, 1600.0
        await counter.scrape(client)
        assert (counter.rate, counter.total) == (300, 600)
        clock[0], server.tokens = 3.0, 50.0  # restarted
        await counter.scrape(client)
        assert counter.total == 600 + 150
        server.status = 500
        await counter.scrape(client)
        assert (counter.rate, counter.errors) == (None, 1)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/metrics", "http://[::1", "http://a..b/", "", "gopher://x"]
)
async def test_a_server_that_cannot_be_asked_is_counted_and_costs_the_others_nothing(server, url):
    good = f"http://127.0.0.1:{server.server_port}/metrics"
    counter = TokenCounter((InferenceSettings(url=url), InferenceSettings(url=good)))
    async with httpx.AsyncClient(timeout=60) as client:
        await counter.scrape(client)
        server.tokens += 5
        await counter.scrape(client)
    assert counter.errors == 2
    assert counter.total == 5


@pytest.mark.parametrize(
    "bad", ["vllm:generation_tokens_total x", "vllm:generation_tokens_total NaN", "vllm:gen"]
)
def test_a_counter_that_cannot_be_read_is_no_smaller_sum(bad):
    with pytest.raises(SourceProtocolError):
        generated(TEXT % 5 + bad + ("" if bad.endswith("gen") else "\n"), InferenceSettings(url="x").counters)
