"""How do the machines and the shells become one node? The loop, and what hangs on it.

A batch goes: what arrived, what other threads asked for and which timers fired are handled in one
SQLite transaction; own records are sealed into signed commits; COMMIT; then messages are sent, but
own commits only once the disk has them. What a machine returns is done by the shells here.
"""
