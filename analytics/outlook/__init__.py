"""What lies ahead against limits: excursions, running quarter hours, temperatures, time to the limit, and what-if."""
