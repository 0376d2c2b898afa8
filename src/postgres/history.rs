//! Where timelines part, as a primary's history file has it.

use super::{PostgresConnection, PostgresError};
use tokio_postgres::error::SqlState;

use crate::replica::recovery::ForkPoint;
use crate::replica::{self, Position};

/// Where the line that the primary is on left this timeline: the last position that both have. `None` if it is still
/// on it, or never was.
pub(super) async fn fork(
    primary: &PostgresConnection,
    timeline: u64,
) -> Result<Option<Position>, PostgresError> {
    let text = read(primary).await?;
    parse(&text, timeline)
}

/// How the line with this timeline came about, oldest first; nothing if the server does not let this role read its files.
pub(super) async fn line(
    connection: &PostgresConnection,
    timeline: u64,
) -> Result<Vec<replica::Fork>, PostgresError> {
    let file = format!("SELECT pg_read_file('pg_wal/{timeline:08X}.history', 0, 1048576, true)");
    let text = match connection.value(&file).await {
        Ok(text) => text.unwrap_or_default(),
        Err(PostgresError::Client(error))
            if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) =>
        {
            String::new()
        }
        Err(error) => return Err(error),
    };
    let left = |line: &str| {
        let mut fields = line.split_whitespace();
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let left: Vec<(u64, Position)> = text.lines().filter_map(left).collect();
    // Each line of the log began where the one before was left.
    let began = left.iter().skip(1).map(|(parent, _)| *parent);
    Ok(left
        .iter()
        .zip(began.chain([timeline]))
        .map(|(&(parent, at), timeline)| replica::Fork {
            timeline,
            parent,
            at,
        })
        .collect())
}

/// The timeline that the primary's line left last, and where; `None` if it is on its first.
pub(super) async fn last(primary: &PostgresConnection) -> Result<Option<ForkPoint>, PostgresError> {
    let text = read(primary).await?;
    let last = text
        .lines()
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .next_back();
    let Some(timeline) = last else {
        return Ok(None);
    };
    Ok(parse(&text, timeline)?.map(|position| ForkPoint::new(timeline, position)))
}

async fn read(primary: &PostgresConnection) -> Result<String, PostgresError> {
    let text = primary
        .value(
            "SELECT pg_read_file('pg_wal/' || left(pg_walfile_name(pg_current_wal_lsn()), 8) || '.history', 0, 1048576, true)",
        )
        .await?;
    Ok(text.unwrap_or_default())
}

/// Lines of the timeline that was left, where, and why.
fn parse(history: &str, timeline: u64) -> Result<Option<Position>, PostgresError> {
    for line in history.lines() {
        let mut fields = line.split_whitespace();
        let (Some(left), Some(position)) = (fields.next(), fields.next()) else {
            continue;
        };
        if left.parse() == Ok(timeline) {
            let position = position.parse().map_err(|_| PostgresError::Answer {
                expected: "a history of timelines",
                found: line.to_owned(),
            })?;
            return Ok(Some(position));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeline_was_left_where_its_line_says() {
        let history =
            "1\t0/3000148\tno recovery target specified\n\n2\t1/A0\tno recovery target specified\n";
        assert_eq!(parse(history, 1).unwrap(), Some(Position(0x0300_0148)));
        assert_eq!(parse(history, 2).unwrap(), Some(Position(0x1_0000_00A0)));
        assert_eq!(parse(history, 3).unwrap(), None);
        assert!(parse("1\tnowhere\t", 1).is_err());
    }
}
