"""The tables, as a list of migrations: the database's `user_version` counts how many have been applied. Only ever append.

What a device sent is kept as it came (`raw`, `birth`, `state`, `report`) beside the few columns that are searched or summed, so
that a later version can read more out of it. Times of records are never rewritten: `utc_s` or `mono_ms` is what the device said.
"""

import sqlite3

from evergrow_cloud.errors import StoreError

MIGRATIONS = (
    """
    CREATE TABLE devices (
        id INTEGER PRIMARY KEY,
        tenant TEXT NOT NULL,
        device TEXT NOT NULL,
        first_seen_s INTEGER NOT NULL,
        last_seen_s INTEGER NOT NULL,
        link INTEGER NOT NULL DEFAULT 0,
        greeted_ms INTEGER NOT NULL DEFAULT 0,  -- when the last birth that was not retained came, in the cloud's time
        boot INTEGER,
        birth BLOB,
        state BLOB,
        state_boot INTEGER,
        state_seq INTEGER,
        rejected INTEGER NOT NULL DEFAULT 0,
        last_rejection TEXT,
        conflicts INTEGER NOT NULL DEFAULT 0,
        UNIQUE (tenant, device)
    );
    CREATE INDEX devices_online ON devices (id) WHERE link = 1;

    CREATE TABLE boots (
        device_id INTEGER NOT NULL REFERENCES devices (id),
        boot INTEGER NOT NULL,
        sync_mono_ms INTEGER,
        sync_utc_s INTEGER,
        watermark INTEGER NOT NULL DEFAULT 0,  -- every usage record up to this seq is stored
        PRIMARY KEY (device_id, boot)
    ) WITHOUT ROWID;

    CREATE TABLE usage (
        device_id INTEGER NOT NULL REFERENCES devices (id),
        boot INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        received_s INTEGER NOT NULL,
        utc_s INTEGER,
        mono_ms INTEGER,
        programme INTEGER,  -- NULL, like outcome, where several cycles were merged
        outcome INTEGER,
        cycles INTEGER NOT NULL,
        energy_wh INTEGER NOT NULL,
        water_ml INTEGER NOT NULL,
        raw BLOB NOT NULL,
        PRIMARY KEY (device_id, boot, seq)
    ) WITHOUT ROWID;

    -- `publisher` has no type on purpose: 7 and '7' are different publishers.
    CREATE TABLE usage_features (
        device_id INTEGER NOT NULL,
        boot INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        publisher NOT NULL,
        feature INTEGER NOT NULL,
        PRIMARY KEY (device_id, boot, seq, publisher, feature),
        FOREIGN KEY (device_id, boot, seq) REFERENCES usage (device_id, boot, seq)
    ) WITHOUT ROWID;
    CREATE INDEX usage_features_by_feature ON usage_features (publisher, feature);

    -- A second record under a taken (boot, seq): against EG-ENV-003, kept as evidence and counted nowhere.
    CREATE TABLE usage_conflicts (
        device_id INTEGER NOT NULL REFERENCES devices (id),
        boot INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        raw BLOB NOT NULL,
        received_s INTEGER NOT NULL,
        PRIMARY KEY (device_id, boot, seq, raw)
    ) WITHOUT ROWID;

    CREATE TABLE telemetry (
        id INTEGER PRIMARY KEY,
        device_id INTEGER NOT NULL REFERENCES devices (id),
        received_s INTEGER NOT NULL,
        raw BLOB NOT NULL
    );
    CREATE INDEX telemetry_by_device ON telemetry (device_id, id);

    CREATE TABLE ids (name TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;

    CREATE TABLE blobs (sha256 BLOB PRIMARY KEY, data BLOB NOT NULL);

    CREATE TABLE transfers (
        transfer INTEGER PRIMARY KEY,
        device_id INTEGER NOT NULL REFERENCES devices (id),
        envelope BLOB NOT NULL REFERENCES blobs (sha256),
        created_s INTEGER NOT NULL,
        updated_s INTEGER NOT NULL,
        due INTEGER NOT NULL DEFAULT 1,  -- to be sent
        open INTEGER NOT NULL DEFAULT 1,  -- not yet confirmed, reverted, refused or removed
        state INTEGER,
        code INTEGER,
        report BLOB,
        report_boot INTEGER,
        report_seq INTEGER
    );
    CREATE INDEX transfers_open ON transfers (device_id, transfer) WHERE open = 1;
    CREATE INDEX transfers_due ON transfers (transfer) WHERE due = 1;

    CREATE TABLE transfer_payloads (
        transfer INTEGER NOT NULL REFERENCES transfers (transfer),
        payload INTEGER NOT NULL,
        sha256 BLOB NOT NULL REFERENCES blobs (sha256),
        PRIMARY KEY (transfer, payload)
    ) WITHOUT ROWID;

    CREATE TABLE commands (
        id INTEGER PRIMARY KEY,
        device_id INTEGER NOT NULL REFERENCES devices (id),
        message BLOB NOT NULL,
        created_s INTEGER NOT NULL,
        expires_s INTEGER NOT NULL,  -- not sent after this
        due INTEGER NOT NULL DEFAULT 1,
        code INTEGER,
        response BLOB
    );
    CREATE INDEX commands_due ON commands (id) WHERE due = 1;
    """,
    """
    -- Secrets (EG-KEY-001); read by `devicekeys` alone. The newest of a device counts, earlier ones prove earlier records.
    CREATE TABLE device_keys (
        id INTEGER PRIMARY KEY,
        tenant TEXT NOT NULL,
        device TEXT NOT NULL,
        key BLOB NOT NULL,
        enrolled_s INTEGER NOT NULL
    );
    CREATE INDEX device_keys_by_device ON device_keys (tenant, device, id);
    """,
    """
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        device_id INTEGER NOT NULL REFERENCES devices (id),
        boot INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        received_s INTEGER NOT NULL,
        raw BLOB NOT NULL,
        UNIQUE (device_id, boot, seq)
    );

    CREATE TABLE voices (
        id INTEGER PRIMARY KEY,
        device_id INTEGER NOT NULL REFERENCES devices (id),
        boot INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        received_s INTEGER NOT NULL,
        kind INTEGER NOT NULL,
        value INTEGER NOT NULL,
        publisher,
        feature INTEGER,
        text TEXT,  -- the one column that may name a person: it can be forgotten by itself
        raw BLOB NOT NULL,  -- the envelope without its text
        UNIQUE (device_id, boot, seq)
    );
    CREATE INDEX voices_by_feature ON voices (publisher, feature);

    CREATE TABLE scenes (
        id INTEGER PRIMARY KEY,
        topic TEXT NOT NULL,
        message BLOB NOT NULL,
        created_s INTEGER NOT NULL
    );
    """,
    """
    -- What each device is to be configured as, and what it said of it last.
    CREATE TABLE configs (
        device_id INTEGER PRIMARY KEY REFERENCES devices (id),
        version INTEGER NOT NULL,
        message BLOB NOT NULL,
        set_s INTEGER NOT NULL,
        due INTEGER NOT NULL DEFAULT 1,
        applied INTEGER,
        code INTEGER,
        refused INTEGER
    );
    CREATE INDEX configs_due ON configs (device_id) WHERE due = 1;
    """,
    """
    ALTER TABLE usage ADD COLUMN tag BLOB;
    -- Whether the tag follows on that of the record before: 1 yes, 0 not as far as is known now, NULL without tag or key.
    ALTER TABLE usage ADD COLUMN chained INTEGER;
    CREATE INDEX usage_unchained ON usage (device_id, boot, seq) WHERE chained = 0;

    -- What the cycles of the record used that used the feature: all of it, or its share of a merged record.
    ALTER TABLE usage_features ADD COLUMN cycles INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE usage_features ADD COLUMN finished INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE usage_features ADD COLUMN energy_wh INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE usage_features ADD COLUMN water_ml INTEGER NOT NULL DEFAULT 0;
    UPDATE usage_features SET (cycles, finished, energy_wh, water_ml) = (
        SELECT cycles, coalesce(outcome = 0, 0), energy_wh, water_ml FROM usage
        WHERE usage.device_id = usage_features.device_id AND usage.boot = usage_features.boot AND usage.seq = usage_features.seq
    );
    """,
    """
    CREATE TABLE entitlements (
        id INTEGER PRIMARY KEY,
        device_id INTEGER NOT NULL REFERENCES devices (id),
        publisher INTEGER NOT NULL,
        feature INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        uses INTEGER,
        expires_s INTEGER,
        trial INTEGER NOT NULL,
        tier INTEGER NOT NULL,
        message BLOB NOT NULL,
        issued_s INTEGER NOT NULL,
        due INTEGER NOT NULL DEFAULT 1,  -- to be sent
        open INTEGER NOT NULL DEFAULT 1,  -- neither answered for good nor replaced
        code INTEGER
    );
    CREATE INDEX entitlements_of_device ON entitlements (device_id, publisher, feature);
    CREATE INDEX entitlements_due ON entitlements (id) WHERE due = 1;
    """,
    """
    -- An offer that is taken back stays open, and is said to be cancelled, until the device has answered.
    ALTER TABLE transfers ADD COLUMN cancelled INTEGER NOT NULL DEFAULT 0;
    """,
    """
    -- 0 a feature, 1 a grant, 2 a revocation list.
    ALTER TABLE transfers ADD COLUMN content INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE trust (
        tenant TEXT NOT NULL,
        content INTEGER NOT NULL,
        publisher INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (tenant, content, publisher)
    ) WITHOUT ROWID;
    """,
    """
    ALTER TABLE usage_features ADD COLUMN trials INTEGER NOT NULL DEFAULT 0;  -- cycles under a trial: nobody is paid for them
    """,
    """
    CREATE TABLE feature_names (
        device_id INTEGER NOT NULL REFERENCES devices (id),
        publisher INTEGER NOT NULL,
        feature INTEGER NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (device_id, publisher, feature)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE feature_failures (
        device_id INTEGER NOT NULL REFERENCES devices (id),
        publisher INTEGER NOT NULL,
        feature INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        code INTEGER NOT NULL,
        text TEXT,
        utc_s INTEGER NOT NULL,
        PRIMARY KEY (device_id, publisher, feature)
    ) WITHOUT ROWID;
    """,
    """
    -- Since when a number is missing before a usage record of this boot; NULL: none is.
    ALTER TABLE boots ADD COLUMN gap_since_s INTEGER;
    -- What the device told in this boot of damage to its usage records.
    ALTER TABLE boots ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE boots ADD COLUMN unread INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE boots ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE INDEX transfers_trust ON transfers (device_id, envelope) WHERE content > 0;
    """,
    """
    -- Gaps that were there before gaps were flagged; a boot that is over is not looked at again by itself.
    UPDATE boots SET gap_since_s = (
        SELECT min(received_s) FROM usage AS u WHERE u.device_id = boots.device_id AND u.boot = boots.boot AND u.seq > watermark
    ) WHERE gap_since_s IS NULL;
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest version, whole or not at all. Safe beside another process that does the same.

    Raises StoreError for a database of a newer version of this package.
    """
    if connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),):
        return  # who only reads does not wait for who writes
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise StoreError(f"the database has version {version}, this program knows {len(MIGRATIONS)}: use a newer one")
        for script in MIGRATIONS[version:]:
            for statement in script.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
