"""Who may say it? Keys, certificates, the roster of a space, rights, tickets. Pure."""
