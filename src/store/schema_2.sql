-- Version 2: accounts and users can be changed, tokens revoked, categories stopped.

ALTER TABLE accounts ADD COLUMN api_key TEXT CHECK (length(api_key) = 64);
ALTER TABLE accounts ADD COLUMN document TEXT NOT NULL DEFAULT '{}';
ALTER TABLE users ADD COLUMN document TEXT NOT NULL DEFAULT '{}';

CREATE UNIQUE INDEX one_account_per_key ON accounts (api_key) WHERE api_key IS NOT NULL;

-- Tokens that somebody logged out with, by the SHA-256 of what is signed; until when (Unix seconds)
-- they would be good otherwise.
CREATE TABLE revoked (
    digest  TEXT PRIMARY KEY CHECK (length(digest) = 64),
    expires INTEGER NOT NULL
) STRICT;

-- The last change of each account and user that a node with a copy of this database has to learn:
-- what is no secret of it, and when (Unix milliseconds).
CREATE TABLE changes (
    kind  TEXT NOT NULL CHECK (kind IN ('account', 'user')),
    id    TEXT NOT NULL,
    at    INTEGER NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
