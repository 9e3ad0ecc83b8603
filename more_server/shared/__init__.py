"""What servers on several machines have in common where there is a database: small files, consents, the audit log.

Jobs keep theirs in the same database, in tables of their own.
"""
