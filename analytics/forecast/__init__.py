"""Probabilistic forecasts of power and temperature."""

from analytics.forecast.forecaster import PowerForecaster, Provenance

__all__ = ["PowerForecaster", "Provenance"]
