"""How do programs see the spaces? The kernel's requests, answered from ports, and the errno table.

Rejected: a core that answers by path, which every binding but one would have to work around.
"""
