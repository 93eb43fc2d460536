"""Examples of answers, as the specification shows them. The figures are made up."""

from __future__ import annotations

from typing import Any

_SEAL = {"number": 4711, "hash": "9b" * 32, "previous": "51" * 32}
_ISSUE = {"issue_time": "2026-11-22T09:45:20Z", "data_cutoff": "2026-11-22T09:45:00Z"}

ANSWERS: dict[str, dict[str, Any]] = {
    "/forecasts/power": {
        "object_id": "taipei-1",
        **_ISSUE,
        "interval_minutes": 15,
        "interval_label": "start",
        "unit": "W",
        "quantiles": [0.1, 0.5, 0.9],
        "model": "PowerForecaster",
        "quality": "good",
        "intervals": [
            {
                "start": "2026-11-22T09:45:00Z",
                "values": [13912000.0, 14240500.0, 14620300.0],
                "limit": 16000000.0,
                "breach_probability": 0.0021,
            }
        ],
        "ramps": {
            "minutes": 60,
            "quantiles": [0.05, 0.5, 0.95],
            "windows": [
                {
                    "seconds": 2,
                    "rise": [310000.0, 620000.0, 1240000.0],
                    "fall": [290000.0, 640000.0, 1310000.0],
                }
            ],
        },
        "seal": _SEAL,
    },
    "/forecasts/power/issues": {
        "object_id": "taipei-1",
        "issues": [
            {**_ISSUE, "intervals": 192, "model": "PowerForecaster", "quality": "good", "seal": _SEAL}
        ],
        "next": "1795340720000-90210",
    },
    "/forecasts/power/accuracy": {
        "object_id": "taipei-1",
        "start": "2026-11-15T06:00:00Z",
        "end": "2026-11-22T12:00:00Z",
        "unit": "W",
        "leads": [
            {
                "lead_minutes": 60,
                "scored": 686,
                "missing": 2,
                "revised": 0,
                "coverage_90": 0.9038,
                "below": 0.0423,
                "above": 0.0539,
                "mean_error": -8100.2,
                "mean_absolute_error": 153900.5,
                "width_90": 661000.0,
                "pinball": 55120.8,
                "pinball_to_persistence": 0.7431,
                "pinball_to_naive": 0.4112,
                "skill": 0.2569,
                "limited": 686,
                "breaches": 9,
                "brier": 0.0121,
                "brier_persistence": 0.0204,
                "reliability": [
                    {
                        "low": 0.0,
                        "high": 0.01,
                        "forecasts": 590,
                        "mean_probability": 0.0011,
                        "happened": 0.0017,
                    }
                ],
            }
        ],
    },
    "/demand": {
        "object_id": "taipei-1",
        "unit": "W",
        "interval_minutes": 15,
        "interval_label": "start",
        "intervals": [
            {
                "start": "2026-11-22T09:30:00Z",
                "power": 14187300.0,
                "quality": "metered",
                "provisional": True,
            }
        ],
        "next": None,
    },
    "/demand/running": {
        "object_id": "taipei-1",
        "time": "2026-11-22T09:51:02Z",
        "start": "2026-11-22T09:45:00Z",
        "end": "2026-11-22T10:00:00Z",
        "elapsed": 0.4022,
        "unit": "W",
        "power": 14302000.0,
        "so_far": 14251000.0,
        "expected": 14270500.0,
        "deviation": 41000.0,
        "limit": 16000000.0,
        "breach_probability": 0.0,
    },
    "/limits": {
        "object_id": "taipei-1",
        "unit": "W",
        "limit": 16000000.0,
        "standing": 16000000.0,
        "changes": [
            {
                "start": "2026-11-23T08:00:00Z",
                "end": "2026-11-23T10:00:00Z",
                "limit": 14500000.0,
                "reason": "demand response",
            }
        ],
    },
    "/plans": {
        "object_id": "taipei-1",
        "unit": "W",
        "changes": [{"time": "2026-11-22T14:00:00Z", "change": -2110000.0}],
        "work": [
            {
                "start": "2026-11-20T02:00:00Z",
                "end": "2026-11-22T14:00:00Z",
                "power": 2110000.0,
                "known_since": "2026-11-19T07:12:00Z",
            }
        ],
    },
    "/contract/month": {
        "object_id": "taipei-1",
        "contract": "High voltage, time of use (illustrative)",
        "month": "2026-11",
        "season": "other",
        "currency": "TWD",
        "start": "2026-10-31T16:00:00Z",
        "end": "2026-11-30T16:00:00Z",
        "measured": 0.9995,
        "energy": {"peak": 1.2e13, "half-peak": 9.1e12, "off-peak": 6.4e12},
        "energy_cost": 31250400.0,
        "quantiles": [0.05, 0.25, 0.5, 0.75, 0.95],
        "peaks": [
            {
                "name": "regular",
                "contracted": 15000000.0,
                "so_far": 14910000.0,
                "at": "2026-11-18T07:15:00Z",
                "end": [14910000.0, 14930000.0, 14980000.0, 15040000.0, 15130000.0],
                "exceeds": 0.42,
                "basic": 2505000.0,
                "excess_so_far": 0.0,
                "excess": 9800.0,
            }
        ],
        "periods": [
            {
                "period": "half-peak",
                "season": "other",
                "start": "2026-11-24T02:00:00Z",
                "end": "2026-11-24T03:00:00Z",
                "price": 5.47,
            },
            {
                "period": "off-peak",
                "season": "other",
                "start": "2026-11-24T03:00:00Z",
                "end": "2026-11-24T06:00:00Z",
                "price": 2.32,
            },
        ],
    },
    "/site": {
        "object_id": "taipei-1",
        "name": "Taipei AI Factory 1",
        "timezone": "Asia/Taipei",
        "country": "TW",
        "unit": "W",
        "limit": 16000000.0,
        "installed": 17200000.0,
        "idle": 4200000.0,
        "nodes": [{"object_id": "FEED-A", "kind": "Feed", "limit": 16500000.0}],
        "shows": ["forecasts", "site"],
    },
    "/energy": {
        "object_id": "taipei-1",
        "timezone": "Asia/Taipei",
        "by": "day",
        "it_measured_at": "ups",
        "factors": [{"start": "2025-01-01", "kg_per_kwh": 0.474, "source": "illustrative"}],
        "periods": [
            {
                "period": "2026-11-21",
                "start": "2026-11-20T16:00:00Z",
                "end": "2026-11-21T16:00:00Z",
                "measured": 1.0,
                "energy": 1227000000000.0,
                "it_measured": 1.0,
                "it_energy": 1031000000000.0,
                "pue": 1.1901,
                "carbon": 161555.0,
                "highest": 14910000.0,
            }
        ],
    },
    "/tokens": {
        "object_id": "taipei-1",
        "interval_minutes": 15,
        "intervals": [
            {
                "start": "2026-11-22T09:30:00Z",
                "tokens_per_second": 2012000.0,
                "tokens_per_joule": 0.141818,
                "reporting": 1.0,
            }
        ],
    },
    "/oauth/token": {
        "access_token": "hwt_...",
        "token_type": "Bearer",
        "expires_in": 3600,
        "scope": "forecasts",
    },
}
"""By the route, without the prefix."""
ANSWERS["/forecasts/power/issues/{issue_time}"] = ANSWERS["/forecasts/power"]
