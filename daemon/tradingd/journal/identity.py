"""What tells a journal from any other file, readable without the database libraries."""

SCHEMA_VERSION = 5
"""The newest revision in migrations/versions as a number; `PRAGMA user_version` has the journal's."""

APPLICATION_ID = 0x74726164
"""`PRAGMA application_id` of every journal ("trad")."""
