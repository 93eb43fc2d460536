"""Profiles for devices that nobody knows yet, drafted from their MIB and from what they answer."""
