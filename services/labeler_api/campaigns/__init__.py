"""Campaigns: what they plan, how their slots are filled and reviewed, and how they end."""
