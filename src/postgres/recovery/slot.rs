//! The slot by which a dead primary's log can be decoded.

use crate::postgres::connection::parse_position;
use crate::postgres::{PostgresConnection, PostgresConnector, PostgresError};
use crate::replica::{AsyncConnector, Endpoint, Position};

/// Its name.
pub(super) const SLOT: &str = "tenfold_recovery";

impl<T> PostgresConnector<T>
where
    Self: AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
{
    /// Sees to it that the log of the primary can be decoded from where its replicas are, if it dies: makes a logical slot
    /// `tenfold_recovery` in the connector's database, or moves it up to what every replica has. To be called every minute or so,
    /// and on each new primary. Answers where the slot is now.
    ///
    /// Costs the log between the slowest replica and the primary's end, which the primary keeps until the slot moves; so does a
    /// replica's own slot. Slots are of one database: what other databases lose is not decoded.
    ///
    /// # Errors
    /// The client's: `wal_level` has to be `logical`, and a slot has to be free.
    pub async fn keep_recovery_slot(&self, primary: &Endpoint) -> Result<Position, PostgresError> {
        let connection = self.connect(primary).await?;
        connection
            .rows(&format!(
                "SELECT pg_create_logical_replication_slot('{SLOT}', 'test_decoding') \
                 WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{SLOT}')"
            ))
            .await?;
        // A replica that is away is known by its slot.
        connection
            .rows(&format!(
                "SELECT pg_replication_slot_advance(s.slot_name, r.has) FROM pg_replication_slots s, \
                 (SELECT min(has) AS has FROM (SELECT replay_lsn AS has FROM pg_stat_replication UNION ALL \
                 SELECT restart_lsn FROM pg_replication_slots WHERE slot_type = 'physical') a) r \
                 WHERE s.slot_name = '{SLOT}' AND r.has > s.confirmed_flush_lsn"
            ))
            .await?;
        let text = connection
            .value(&format!(
                "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{SLOT}'"
            ))
            .await?;
        parse_position(text)
    }
}
