"""The SQLite record of everything the daemon believes and why; the only package that imports SQLAlchemy and Alembic.

Nothing is imported here: commands that only read the journal must start without the database libraries.
"""
