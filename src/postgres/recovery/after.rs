use std::fmt;
use std::sync::Arc;

use super::scan::Scan;
use super::sequence::{self, MovedSequence};
use super::untold::{self, Untold};
use super::{InspectedLog, PostgresLog};
use crate::postgres::{PostgresConnection, PostgresConnector, PostgresError, history, salvage};
use crate::replica::recovery::{ForkPoint, Incomplete, Recovered, Recovery, RecoveryReport};
use crate::replica::{AsyncConnector, Endpoint, Position, RecoveryOrder};

/// The recovery of what a former primary had acknowledged and a promotion left behind.
///
/// ```no_run
/// # use tenfold::postgres::PostgresConnector;
/// # use tenfold::postgres::recovery::PostgresRecovery;
/// # use tenfold::replica::{AsyncPromoter, Endpoint};
/// # async fn shown(connector: PostgresConnector, old: Endpoint, new: Endpoint) -> Result<(), Box<dyn std::error::Error>> {
/// let recovery = PostgresRecovery::open(&connector, &old, &new).await?;
/// let report = recovery.run(&connector).await?;
/// println!("{report}");
/// // Says that nothing is lost that is not in the report; and only then may the old primary's log go.
/// connector.rejoin(&old, &new, &report.complete()?).await?;
/// # Ok(()) }
/// ```
pub struct PostgresRecovery {
    old: Endpoint,
    new: Endpoint,
    fork: ForkPoint,
    scan: Arc<Scan>,
}

impl PostgresRecovery {
    /// Secures the evidence: fences the old primary by its host, puts a copy of its log aside, and reads there which transactions
    /// the new primary does not have. Nothing is changed by that but the old primary's way to start.
    ///
    /// # Errors
    /// [`PostgresError::NoHistory`] if the new primary was not promoted; what its host says.
    pub async fn open<T>(
        connector: &PostgresConnector<T>,
        old: &Endpoint,
        new: &Endpoint,
    ) -> Result<Self, PostgresError>
    where
        PostgresConnector<T>:
            AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
    {
        let primary = connector.connect(new).await?;
        let fork = history::last(&primary).await?;
        let fork = fork.ok_or_else(|| PostgresError::NoHistory {
            endpoint: new.clone(),
        })?;
        let segment = salvage::segment_size(&primary).await?.bytes;
        let scan = connector
            .on_host(old, "recovery", move |host| {
                host.fence()?;
                host.preserve_wal()?;
                // From so far before the fork that every lost transaction is there from its beginning, or as far as there
                // is log: twice as far each time, and at last from the oldest file there is.
                let number = fork.position.0 / segment;
                let scan_from = |back: u64| {
                    let first = Position(number.saturating_sub(back) * segment);
                    let mut scan = Scan::new(fork.position, segment);
                    host.dump_wal(fork.timeline, first, &mut |line| scan.line(line))
                        .map(|()| scan)
                };
                let (mut back, mut scan) = (0, scan_from(0)?);
                while !scan.has_all() && back < FARTHEST {
                    let farther = (back + 1..=(2 * back).max(1)).rev().find_map(|back| {
                        let scan = scan_from(back).ok()?;
                        Some((back, scan))
                    });
                    let Some(found) = farther else {
                        break;
                    };
                    (back, scan) = found;
                }
                Ok(scan)
            })
            .await?;
        Ok(Self {
            old: old.clone(),
            new: new.clone(),
            fork,
            scan: Arc::new(scan),
        })
    }

    /// Where the new primary's line parted from the old one's.
    pub fn fork(&self) -> ForkPoint {
        self.fork
    }

    /// How many transactions the new primary does not have; some may have changed no row.
    pub fn lost(&self) -> usize {
        self.scan.lost.len()
    }

    /// Says that the old primary may rejoin, if it has committed nothing that the new one does not have: all was sent, or
    /// salvaged.
    ///
    /// # Errors
    /// [`Incomplete::Unread`] if it has.
    pub fn nothing_lost(&self) -> Result<Recovered, Incomplete> {
        let last = self.scan.lost.last().map(|lost| lost.position);
        Recovered::nothing_lost(self.fork, last.unwrap_or(self.fork.position))
    }

    /// Recovers: starts the old primary in quarantine, decodes its log, or inspects it if there is no slot to decode by, applies
    /// what the new primary lacks to it, moves its sequences up, and stops the old primary again. Run again it changes
    /// nothing.
    ///
    /// # Errors
    /// Where it could not begin or end. What went wrong in between is in the report.
    pub async fn run<T>(
        &self,
        connector: &PostgresConnector<T>,
    ) -> Result<RecoveryReport, PostgresError>
    where
        PostgresConnector<T>:
            AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
    {
        let quarantined = self.quarantine(connector).await?;
        let report = self.recover(connector, &quarantined).await;
        self.release(connector).await?;
        report
    }

    async fn recover<T>(
        &self,
        connector: &PostgresConnector<T>,
        quarantined: &Endpoint,
    ) -> Result<RecoveryReport, PostgresError>
    where
        PostgresConnector<T>:
            AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
    {
        let decoded = self.decoded(connector, quarantined).await?;
        let inspected = self.inspected(connector, quarantined).await?;
        let target = self.target(connector).await?;
        let report = Recovery::after(self.fork)
            .order(RecoveryOrder::AvailabilityFirst)
            .async_source("the old primary's log, decoded", &decoded)
            .async_source("the old primary's log, inspected", &inspected)
            .run_async(&target)
            .await;
        self.carry_sequences(connector, quarantined).await?;
        Ok(report)
    }

    /// Starts the old primary where only the recovery finds it, and says where that is.
    ///
    /// # Errors
    /// What its host says.
    pub async fn quarantine<T>(
        &self,
        connector: &PostgresConnector<T>,
    ) -> Result<Endpoint, PostgresError> {
        let address = connector
            .on_host(&self.old, "recovery", crate::postgres::Host::quarantine)
            .await?;
        let name = format!("{} in quarantine", self.old.name());
        Endpoint::new(&name, &address).map_err(|_| PostgresError::Answer {
            expected: "the address of the quarantine",
            found: address,
        })
    }

    /// Stops the old primary again.
    ///
    /// # Errors
    /// What its host says.
    pub async fn release<T>(&self, connector: &PostgresConnector<T>) -> Result<(), PostgresError> {
        connector
            .on_host(&self.old, "recovery", |host| {
                host.stop()?;
                host.fence()
            })
            .await
    }

    /// The old primary's log by its slot.
    ///
    /// # Errors
    /// The client's.
    pub async fn decoded<T>(
        &self,
        connector: &PostgresConnector<T>,
        quarantined: &Endpoint,
    ) -> Result<PostgresLog, PostgresError>
    where
        PostgresConnector<T>:
            AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
    {
        let (old, _, untold) = self.both(connector, quarantined).await?;
        Ok(PostgresLog::source(old).telling(untold))
    }

    /// The old primary's log without a slot.
    ///
    /// # Errors
    /// The client's.
    pub async fn inspected<T>(
        &self,
        connector: &PostgresConnector<T>,
        quarantined: &Endpoint,
    ) -> Result<InspectedLog, PostgresError>
    where
        PostgresConnector<T>:
            AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
    {
        let (old, new, untold) = self.both(connector, quarantined).await?;
        Ok(InspectedLog::new(Arc::clone(&self.scan), untold, old, new))
    }

    /// Connections to the old primary and the new one, and what none of the sources can tell of what was lost.
    async fn both<T>(
        &self,
        connector: &PostgresConnector<T>,
        quarantined: &Endpoint,
    ) -> Result<(PostgresConnection, PostgresConnection, Untold), PostgresError>
    where
        PostgresConnector<T>:
            AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
    {
        let old = connector.connect(quarantined).await?;
        let new = connector.connect(&self.new).await?;
        let untold = untold::find(&self.scan, &old, &new).await?;
        Ok((old, new, untold))
    }

    /// The new primary, to apply to.
    ///
    /// # Errors
    /// The client's.
    pub async fn target<T>(
        &self,
        connector: &PostgresConnector<T>,
    ) -> Result<PostgresLog, PostgresError>
    where
        PostgresConnector<T>:
            AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
    {
        let connection = connector.connect(&self.new).await?;
        PostgresLog::target(connection, self.scan.first_of_new_line()).await
    }

    /// Moves the new primary's sequences up to where the old primary's were: they are not in what is decoded, and would give
    /// numbers that recovered rows have.
    ///
    /// # Errors
    /// The client's.
    pub async fn carry_sequences<T>(
        &self,
        connector: &PostgresConnector<T>,
        quarantined: &Endpoint,
    ) -> Result<Vec<MovedSequence>, PostgresError>
    where
        PostgresConnector<T>:
            AsyncConnector<Connection = PostgresConnection, Error = PostgresError>,
    {
        let from = connector.connect(quarantined).await?;
        let to = connector.connect(&self.new).await?;
        sequence::carry(&from, &to).await
    }
}

/// So many files of the log are looked through before the fork. A checkpoint, which says what was free, comes more often.
const FARTHEST: u64 = 256;

impl fmt::Debug for PostgresRecovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresRecovery")
            .field("old", &self.old)
            .field("new", &self.new)
            .field("fork", &self.fork)
            .field("lost", &self.scan.lost.len())
            .finish_non_exhaustive()
    }
}
