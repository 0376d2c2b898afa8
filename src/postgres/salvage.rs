//! What a dead primary wrote and did not send, handed to the candidate before it is promoted.

use std::io;

use super::connection::{literal, parse_position};
use super::promotion::{blocking, reach, set, until};
use super::waldump::Record;
use super::{PostgresConnection, PostgresConnector, PostgresError};
use crate::replica::{AsyncConnector, AsyncProber, Endpoint, Position};

pub(super) async fn salvage<T>(
    connector: &PostgresConnector<T>,
    old: &Endpoint,
    candidate: &Endpoint,
) -> Result<Position, PostgresError>
where
    PostgresConnector<T>: AsyncProber<Connection = PostgresConnection, Error = PostgresError>,
{
    let from_host = connector.host_of(old, "salvage")?;
    let to_host = connector.host_of(candidate, "salvage")?;
    let mut connection = connector.connect(candidate).await?;
    let timeline = connector.probe(&mut connection).await?.epoch.timeline;
    let segment = segment_size(&connection).await?;
    let from = replayed(&connection).await?;

    let restore = to_host.restore_command();
    let kept = blocking(move || {
        let mut last = None;
        let dumped = from_host.dump_wal(timeline, from, &mut |line| {
            if let Some(record) = Record::parse(line) {
                last = Some(record.start);
            }
        });
        let Some(last) = last else {
            // Either there is nothing behind, or nothing can be read; only the file itself tells.
            return match from_host.read_wal(&segment.name(timeline, from)) {
                Ok(_) => Ok(None),
                Err(error) => Err(dumped.err().unwrap_or(error)),
            };
        };
        for number in segment.number(from)..=segment.number(last) {
            let name = segment.name_of(timeline, number);
            to_host.keep_wal(&name, &mut from_host.read_wal(&name)?)?;
        }
        Ok(Some(last))
    })
    .await
    .map_err(|source: io::Error| PostgresError::Host {
        endpoint: old.clone(),
        source,
    })?;
    let Some(last) = kept else {
        return reach(&connection).await;
    };

    let before = own_setting(&connection, "restore_command").await?;
    let retry = own_setting(&connection, "wal_retrieve_retry_interval").await?;
    set(&connection, candidate, "wal_retrieve_retry_interval", "100").await?;
    set(&connection, candidate, "restore_command", &restore).await?;
    // One that was held back for readers has to move now.
    connection
        .rows("SELECT pg_wal_replay_resume() WHERE pg_is_wal_replay_paused()")
        .await?;
    // Replay stands at the end of the last record it has replayed, so behind the start of that.
    until(
        &connection,
        &format!("SELECT pg_last_wal_replay_lsn() > '{last}'::pg_lsn"),
    )
    .await?;
    put_back(&connection, "restore_command", before).await?;
    put_back(&connection, "wal_retrieve_retry_interval", retry).await?;
    connection.rows("SELECT pg_reload_conf()").await?;
    reach(&connection).await
}

async fn replayed(connection: &PostgresConnection) -> Result<Position, PostgresError> {
    let text = connection.value("SELECT pg_last_wal_replay_lsn()").await?;
    parse_position(text)
}

/// What `ALTER SYSTEM` has set before.
async fn own_setting(
    connection: &PostgresConnection,
    setting: &str,
) -> Result<Option<String>, PostgresError> {
    connection
        .value(&format!(
            "SELECT setting FROM pg_file_settings WHERE name = '{setting}' \
             AND sourcefile LIKE '%postgresql.auto.conf' ORDER BY seqno DESC LIMIT 1"
        ))
        .await
}

async fn put_back(
    connection: &PostgresConnection,
    setting: &str,
    before: Option<String>,
) -> Result<(), PostgresError> {
    let statement = match before {
        Some(value) => format!("ALTER SYSTEM SET {setting} = {}", literal(&value)),
        None => format!("ALTER SYSTEM RESET {setting}"),
    };
    connection.rows(&statement).await?;
    Ok(())
}

/// How large the files of the log are, and so what they are called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segments {
    pub(super) bytes: u64,
}

impl Segments {
    fn number(self, position: Position) -> u64 {
        position.0 / self.bytes
    }

    fn name(self, timeline: u64, position: Position) -> String {
        self.name_of(timeline, self.number(position))
    }

    fn name_of(self, timeline: u64, number: u64) -> String {
        let per_log = (1 << 32) / self.bytes;
        format!(
            "{timeline:08X}{:08X}{:08X}",
            number / per_log,
            number % per_log
        )
    }
}

pub(super) async fn segment_size(
    connection: &PostgresConnection,
) -> Result<Segments, PostgresError> {
    let text = connection
        .value("SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'")
        .await?
        .unwrap_or_default();
    match text.parse() {
        Ok(bytes @ 1..=0x4000_0000) => Ok(Segments { bytes }),
        _ => Err(PostgresError::Answer {
            expected: "the size of a segment of the log",
            found: text,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_named_as_postgresql_names_them() {
        let usual = Segments { bytes: 16 << 20 };
        assert_eq!(
            usual.name(1, Position(0x0300_0148)),
            "000000010000000000000003"
        );
        assert_eq!(
            usual.name(0x1F, Position(0x2_FF00_0000)),
            "0000001F00000002000000FF"
        );
        let small = Segments { bytes: 1 << 20 };
        assert_eq!(
            small.name(2, Position(0x1_FFF0_0000)),
            "000000020000000100000FFF"
        );
    }
}
