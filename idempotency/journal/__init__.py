"""The journal of duplicates: every request that reached the boundary and was not the first.

An app of its own: a project that has `idempotency.journal` among its INSTALLED_APPS gets a table.
A request only adds a row to the memory of its process; a thread writes these behind, in batches
(`idempotency.journal.recorder`). So a replay writes nothing itself. What a killed process had not
written is lost: the journal is for people, and nothing about keys or money reads it.
"""
