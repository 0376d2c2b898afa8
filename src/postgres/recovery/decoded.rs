//! Reading what the slot decodes, a few rows at a time.
//!
//! The slot is only peeked at, so that reading it again gives the same; and through a cursor, so that the log is decoded once,
//! and what nobody has asked for yet lies with the server, in a file if it is much.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::ops::Bound;

use tokio_postgres::SimpleQueryRow;

use super::PostgresLog;
use super::change::Transaction;
use super::decoding::{self, Line};
use super::log::entry;
use super::slot::SLOT;
use super::untold::with_missing;
use crate::postgres::connection::parse_position;
use crate::postgres::{PostgresConnection, PostgresError};
use crate::replica::Position;
use crate::replica::recovery::{AsyncEntries, ForkPoint, Read};

/// What is decoded behind a fork.
pub(super) struct Decoded<'a> {
    log: &'a PostgresLog,
    from: ForkPoint,
    rows_at_once: NonZeroU32,
    /// The transaction whose end has not come yet.
    open: Transaction,
    /// Of what was fetched, what was not asked for yet.
    ready: VecDeque<Read<Transaction>>,
    /// Up to where that reaches.
    through: Position,
    is_over: bool,
}

/// As its statements know it; it ends with the transaction that it is declared in.
const CURSOR: &str = "tenfold_decoded";

impl<'a> Decoded<'a> {
    pub(super) async fn open(
        log: &'a PostgresLog,
        from: ForkPoint,
        rows_at_once: NonZeroU32,
    ) -> Result<Self, PostgresError> {
        let mut end = log.end().lock().await;
        end.clear().await?;
        let connection = &end.connection;
        let begins = connection
            .value(&format!(
                "SELECT confirmed_flush_lsn FROM pg_replication_slots \
                 WHERE slot_name = '{SLOT}' AND database = current_database()"
            ))
            .await?;
        let Some(begins) = begins else {
            return Err(PostgresError::NoSlot { behind: None });
        };
        let begins = parse_position(Some(begins))?;
        if begins > from.position {
            let behind = Some((begins, from.position));
            return Err(PostgresError::NoSlot { behind });
        }
        end.is_open = true;
        end.connection
            .rows(&format!(
                "BEGIN; DECLARE {CURSOR} NO SCROLL CURSOR FOR \
                 SELECT lsn, data FROM pg_logical_slot_peek_changes('{SLOT}', NULL, NULL, \
                 'include-xids', '1', 'skip-empty-xacts', '0')"
            ))
            .await?;
        Ok(Self {
            log,
            from,
            rows_at_once,
            open: Transaction::default(),
            ready: VecDeque::new(),
            through: from.position,
            is_over: false,
        })
    }

    async fn fetch(&mut self) -> Result<(), PostgresError> {
        // Not held from one fetch to the next: whoever uses the connection in between ends this reading with an error, and
        // waits for nobody.
        let end = self.log.end().lock().await;
        let connection = &end.connection;
        let count = self.rows_at_once;
        let rows = connection
            .rows(&format!("FETCH {count} FROM {CURSOR}"))
            .await?;
        for row in &rows {
            self.take(row)?;
        }
        if rows.len() < count.get() as usize {
            self.end(connection).await?;
        }
        Ok(())
    }

    fn take(&mut self, row: &SimpleQueryRow) -> Result<(), PostgresError> {
        let line = row.get(1).unwrap_or_default();
        match decoding::parse(line) {
            Some(Line::Begin(xid)) => {
                self.open = Transaction {
                    xid,
                    changes: Vec::new(),
                }
            }
            Some(Line::Changes(changes)) => self.open.changes.extend(changes),
            Some(Line::Other) => {}
            Some(Line::Commit) => {
                let position = parse_position(row.get(0).map(str::to_owned))?;
                let transaction = std::mem::take(&mut self.open);
                if position > self.from.position {
                    self.tell_before(position);
                    let missing = self.log.untold().get(&position);
                    let read = entry(self.from.timeline, position, transaction);
                    self.ready.push_back(with_missing(read, missing));
                    self.through = position;
                }
            }
            None => {
                return Err(PostgresError::Answer {
                    expected: "a line of test_decoding",
                    found: line.to_owned(),
                });
            }
        }
        Ok(())
    }

    /// What was committed before this position and is not decoded at all.
    fn tell_before(&mut self, position: Position) {
        if self.through >= position {
            return;
        }
        let between = (Bound::Excluded(self.through), Bound::Excluded(position));
        for (at, missing) in self.log.untold().range(between) {
            self.ready.push_back(Read::Partly {
                position: *at,
                rest: None,
                missing: missing.clone(),
            });
        }
    }

    async fn end(&mut self, connection: &PostgresConnection) -> Result<(), PostgresError> {
        self.is_over = true;
        let end = connection
            .value("ROLLBACK; SELECT pg_current_wal_flush_lsn()")
            .await?;
        self.tell_before(Position(u64::MAX));
        let end = parse_position(end)?;
        if end > self.from.position {
            self.ready.push_back(Read::Upto(end));
        }
        Ok(())
    }
}

impl AsyncEntries for Decoded<'_> {
    type Write = Transaction;
    type Error = PostgresError;

    async fn next(&mut self) -> Option<Result<Read<Transaction>, PostgresError>> {
        while self.ready.is_empty() && !self.is_over {
            if let Err(error) = self.fetch().await {
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}
