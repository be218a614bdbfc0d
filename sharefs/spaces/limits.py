"""How long may names and tickets be, and how does a ticket begin?

Apart from what is signed, since commands check what a person gave them, and have no use for
cryptography, which takes its time to load.
"""

PERSON_NAME_SIZE_MAX = 64
SPACE_NAME_SIZE_MAX = 128
TICKET_SIZE_BYTES_MAX = 8 * 1024
TICKET_PREFIX = "sharefs1"
