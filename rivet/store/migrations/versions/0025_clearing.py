"""What clearing asks of all that is stored, without a look at all of it.

Which blob has a piece is found by an index of the digests. What all pieces take together is a sum: its table
has what it was when it was added up last, and a row for each change since. A trigger writes them, so that
they are written whatever version of Rivet stores a piece.
"""

from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE FUNCTION digests_of(pieces bytea) RETURNS bytea[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT array_agg(substring(pieces FROM 32 * place + 1 FOR 32))
        FROM generate_series(0, length(pieces) / 32 - 1) AS place
    $$
    """,
    # Without a list of what is to be put into the index later: each look-up would have to go through it.
    "CREATE INDEX blob_of_piece ON blob USING gin (digests_of(pieces)) WITH (fastupdate = off)",
    "CREATE TABLE stored_bytes (bytes bigint NOT NULL)",
    "INSERT INTO stored_bytes SELECT coalesce(sum(stored), 0) FROM piece",
    """
    CREATE FUNCTION note_stored_bytes() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO stored_bytes
        SELECT CASE TG_OP WHEN 'INSERT' THEN sum(stored) ELSE -sum(stored) END FROM changed
        HAVING count(*) > 0;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER piece_stored AFTER INSERT ON piece REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_stored_bytes()
    """,
    """
    CREATE TRIGGER piece_dropped AFTER DELETE ON piece REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION note_stored_bytes()
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)
