"""Planned work in the forecast: bookings as the models see them, and what booked racks will draw."""
