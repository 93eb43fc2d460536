"""What the energy contract asks: tariff and calendar as data, the month's peaks and what they cost, baselines of demand response."""
