"""The pages of the console: each is a file with a `PAGE`, and a line here."""

from dashboard.page import Page
from dashboard.pages import (
    alerts,
    audit,
    cooling,
    energy,
    forecast,
    health,
    incidents,
    oncall,
    overview,
    power,
    rack,
    reports,
    settings,
    thing,
)

PAGES: tuple[Page, ...] = (
    overview.PAGE,
    energy.PAGE,
    reports.PAGE,
    power.PAGE,
    cooling.PAGE,
    forecast.PAGE,
    incidents.PAGE,
    incidents.ONE,
    alerts.PAGE,
    oncall.PAGE,
    rack.PAGE,
    thing.PAGE,
    health.PAGE,
    audit.PAGE,
    settings.PAGE,
)
"""In the order of the navigation."""
