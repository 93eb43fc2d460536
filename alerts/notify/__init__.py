"""Channels by which people are told, one file each."""

from alerts.notify.message import Notice, Notification, Notifier

__all__ = ["Notice", "Notification", "Notifier"]
