"""The REST API for energy partners."""
