"""What is on this disk? The home, the database, the bytes of contents, unpublished drafts.

Two kinds of durability. SQLite holds facts: a transaction is atomic at COMMIT and survives a power
cut after `Store.make_durable`. Files hold bytes, and the facts about them follow: bytes are synced,
then the bit that says so is saved. So a fact may be late, never early.

Rejected: chunks as files of their own, which costs a second copy, or a look-up, for each read;
contents in the database, which SQLite would write twice; a thread-local connection for readers,
as a thread that comes from C is a new one to Python at every callback.
"""
