use std::time::Duration;

use tokio_postgres::SimpleQueryRow;

use super::{PostgresConnection, PostgresError, history};
use crate::replica::{Epoch, Position, Probe, Role, SystemId};

/// Asks a server what it is, in one round trip, and in a second one, after a promotion, how it came to its timeline.
pub(super) async fn probe(connection: &PostgresConnection) -> Result<Probe, PostgresError> {
    let rows = connection.rows(QUESTION).await?;
    let row = rows.first().ok_or_else(|| PostgresError::Answer {
        expected: "one row",
        found: "none".into(),
    })?;
    let mut probe = read(row)?;
    if probe.epoch.timeline > 1 {
        probe.history = history::line(connection, probe.epoch.timeline).await?;
    }
    Ok(probe)
}

/// A primary's timeline stands in the name of the file it writes; the control file has it only after the next
/// checkpoint. A replica's is the newest of those it receives, was at when it last flushed, or restarted from.
///
/// The lag is zero when everything that arrived is applied and more may arrive, and otherwise the age of the last commit
/// applied, by the clocks of both servers. A role without `pg_monitor` sees no receiver.
const QUESTION: &str = "\
SELECT s.replica, (pg_control_system()).system_identifier, \
CASE WHEN s.replica THEN greatest(r.received_tli, (pg_control_checkpoint()).timeline_id, \
(pg_control_recovery()).min_recovery_end_timeline)::text \
ELSE 'x' || left(pg_walfile_name(s.written), 8) END, \
CASE WHEN s.replica THEN s.replayed ELSE s.written END, \
s.received, r.status = 'streaming', \
CASE WHEN NOT s.replica THEN NULL \
WHEN r.status = 'streaming' AND s.replayed >= greatest(s.received, r.latest_end_lsn) THEN 0 \
ELSE extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) END, \
CASE WHEN r.status = 'streaming' THEN r.sender_host END, r.sender_port \
FROM (SELECT pg_is_in_recovery() AS replica, pg_last_wal_replay_lsn() AS replayed, \
pg_last_wal_receive_lsn() AS received, \
CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_lsn() END AS written) s \
LEFT JOIN pg_stat_wal_receiver r ON true";

fn read(row: &SimpleQueryRow) -> Result<Probe, PostgresError> {
    let replica = text(row, 0, "whether it is in recovery")? == "t";
    // Written with a sign, which it does not have.
    let system = match text(row, 1, "the system identifier")?.parse::<i64>() {
        Ok(number) => number as u64,
        Err(_) => number(row, 1, "the system identifier", 10)?,
    };
    let timeline = match text(row, 2, "the timeline")?.strip_prefix('x') {
        Some(hexadecimal) => parse(hexadecimal, "the timeline", 16)?,
        None => number(row, 2, "the timeline", 10)?,
    };
    let position = position(row, 3)?.ok_or_else(|| missing("a position in the log"))?;
    let role = if replica {
        Role::Replica
    } else {
        Role::Primary
    };
    let epoch = Epoch { timeline, term: 0 };
    let mut probe = Probe::new(role, SystemId(system), epoch, position);
    if replica {
        probe.received = self::position(row, 4)?;
        probe.receiving = Some(row.get(5) == Some("t"));
        // As it stands in `primary_conninfo`: of several hosts, the one that answered.
        probe.upstream = row.get(7).zip(row.get(8)).map(|(host, port)| {
            let is_bare = host.contains(':') && !host.starts_with('/');
            let address = if is_bare {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            };
            address.into()
        });
        probe.lag = match row.get(6) {
            None => None,
            Some(seconds) => {
                let seconds: f64 = seconds.parse().map_err(|_| PostgresError::Answer {
                    expected: "the lag in seconds",
                    found: seconds.to_owned(),
                })?;
                // A clock that runs ahead shows a commit from the future.
                Duration::try_from_secs_f64(seconds.max(0.0)).ok()
            }
        };
    }
    Ok(probe)
}

fn text<'a>(
    row: &'a SimpleQueryRow,
    column: usize,
    expected: &'static str,
) -> Result<&'a str, PostgresError> {
    row.get(column).ok_or_else(|| missing(expected))
}

fn number(
    row: &SimpleQueryRow,
    column: usize,
    expected: &'static str,
    radix: u32,
) -> Result<u64, PostgresError> {
    parse(text(row, column, expected)?, expected, radix)
}

fn parse(text: &str, expected: &'static str, radix: u32) -> Result<u64, PostgresError> {
    u64::from_str_radix(text, radix).map_err(|_| PostgresError::Answer {
        expected,
        found: text.to_owned(),
    })
}

fn position(row: &SimpleQueryRow, column: usize) -> Result<Option<Position>, PostgresError> {
    row.get(column)
        .map(|text| super::connection::parse_position(Some(text.to_owned())))
        .transpose()
}

fn missing(expected: &'static str) -> PostgresError {
    PostgresError::Answer {
        expected,
        found: String::new(),
    }
}
