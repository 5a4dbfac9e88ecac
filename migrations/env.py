"""Alembic's environment: runs the versions on the connection that tradingd.journal.migrate hands over.

There is no command line and no offline mode: a journal is migrated by the daemon at its start, in one transaction that
migrate.py opens and commits, after a backup. In versions, mind two things. Views are gone while they run and are made
again afterwards. And `op.batch_alter_table` does not work here: it would copy the generated columns, which SQLite
refuses, and lose the checks. Use ALTER TABLE (add, rename, drop column), or copy a table in SQL of your own.
"""

from alembic import context

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations run when tradingd starts; they have no command line")

context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
