"""How do programs on this machine talk to the node?

HTTP over a Unix socket that only this user can open: JSON of the reports in `sharefs.node.reports`.
The command line, the local page and the file managers' extensions are all clients of it. Browsers
can not reach a Unix socket, so no page of the web can either. TCP on 127.0.0.1 was rejected: every
user and every page on the machine could try it, so it would need passwords of its own.
"""
