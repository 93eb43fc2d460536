"""A page of an exporter, scraped twice: no bytes raise, and what lies beside garbage is read."""

from collectors.prometheus.exposition import Exposition, Memory
from collectors.prometheus.settings import ExporterMapping, PrometheusSettings, Target
from service.configuration import SHIPPED, load

MAPPING = load(SHIPPED / "prometheus" / "dcgm-exporter.yaml", ExporterMapping)
EXPOSITION = Exposition(MAPPING, PrometheusSettings(place=r"(?P<rack>R\d+)-(?P<tray>T\d+)"), ["R001"])
# a sum would rightly be spoilt by a damaged row of its own, a clock is not
GOOD = '\nDCGM_FI_DEV_SM_CLOCK{gpu="63",rack="R001",tray="T99"} 1000\n'


def fuzz(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    memory = Memory()
    for at in (0.0, 10.0):
        page = EXPOSITION.read(GOOD + text, Target(url="http://x"), memory, at)
        told = {(r.rack, r.tray, r.gpu, r.point_type): r.value for r in page.readings}
        assert told["R001", "T99", 63, "GpuClock"] == 1e9
        assert all(len(example) <= 200 for example in page.examples.values())
        for reading in page.readings:
            assert reading.rack == "R001"
            assert 0 <= reading.gpu <= 63
            assert reading.value == reading.value
