"""Customers click at a cluster while its parts fail, and what was lost is counted."""
