use std::time::Duration;

use super::lineage::Kept;
use super::snapshot::Snapshot;
use super::{Node, NodeId, NodeSet, Phase, Topology};
use crate::replica::{CausalToken, Position, ReadPreference, SystemId, TagSet};

/// Where a read may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// To any of these. The primary is one of them only for [`ReadPreference::Any`], [`ReadPreference::Tag`] and
    /// [`ReadPreference::Tagged`], and then counts against its share for reads.
    Nodes(NodeSet),
    /// To the primary, which was asked for by name.
    Primary(NodeId),
    /// To the primary, because nobody else can, as far as its share for reads allows.
    Fallback(NodeId),
    /// To this replica, as soon as it has applied this; [`Input::Hurry`](super::Input::Hurry) asks it. When the time
    /// is up, to the primary, as far as its share for reads allows.
    Wait {
        /// Which: the one with the least to go.
        replica: NodeId,
        /// What it must have applied.
        position: Position,
        /// How long at most.
        within: Duration,
        /// The primary, if there is one.
        fallback: Option<NodeId>,
    },
}

/// Why a read, or a write, can go nowhere now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// There is no primary that takes writes.
    #[error("there is no primary now: {phase}")]
    NoPrimary {
        /// What the cluster is going through.
        phase: Phase,
    },
    /// No server serves reads.
    #[error("no replica serves reads, and there is no primary now: {phase}")]
    NoReplica {
        /// What the cluster is going through.
        phase: Phase,
    },
    /// No server with this tag serves.
    #[error("no server with the tag {key}={value} serves")]
    NoTagged {
        /// The tag.
        key: Box<str>,
        /// Its value.
        value: Box<str>,
    },
    /// No server with all the tags of any of the sets serves.
    #[error("no server with all the tags of one of {sets} sets serves")]
    NoTagSet {
        /// How many sets there are.
        sets: usize,
    },
    /// What the token stands for was lost in a failover.
    #[error("what token {token} stands for was lost: the log went on from {fork}")]
    TokenLost {
        /// The token.
        token: CausalToken,
        /// The last position that was kept, or certainly was.
        fork: Position,
    },
    /// What the token stands for may have been lost in a failover that nobody has told enough about.
    #[error(
        "whether what token {token} stands for was lost is not known: kept is all up to {kept}"
    )]
    TokenUnproven {
        /// The token.
        token: CausalToken,
        /// What certainly was kept.
        kept: Position,
    },
    /// The token is from an epoch that no server has shown yet.
    #[error("token {token} is from a later timeline than {known}")]
    TokenAhead {
        /// The token.
        token: CausalToken,
        /// The newest that is known.
        known: u64,
    },
    /// The token is from another cluster.
    #[error("expected a token of cluster {expected}, found one of {found}")]
    WrongCluster {
        /// This one.
        expected: SystemId,
        /// The token's.
        found: SystemId,
    },
}

/// Where a read of this preference may go, `deprioritized` servers only if there are no others: those that a
/// retry has tried before.
///
/// Takes no lock, allocates nothing unless it fails.
///
/// # Errors
/// [`SelectError`] if there is no such server now. Whoever can wait may try again when the topology has changed.
pub fn select(
    topology: &Topology,
    preference: &ReadPreference,
    deprioritized: NodeSet,
) -> Result<Selection, SelectError> {
    let t = &*topology.0;
    if deprioritized.is_empty() {
        return t.select(preference, deprioritized);
    }
    // Where none is left without them, they are better than nothing.
    match t.select(preference, deprioritized) {
        Ok(selection) if !matches!(selection, Selection::Wait { .. }) => Ok(selection),
        _ => t.select(preference, NodeSet::default()),
    }
}

impl Snapshot {
    fn select(&self, preference: &ReadPreference, not: NodeSet) -> Result<Selection, SelectError> {
        let replicas = self.serving.minus(not);
        let writer = self.writer().filter(|&writer| !not.contains(writer));
        let phase = self.phase;
        match preference {
            ReadPreference::Primary => writer
                .map(Selection::Primary)
                .ok_or(SelectError::NoPrimary { phase }),
            ReadPreference::Any => {
                let all = writer.map_or(replicas, |writer| replicas.with(writer));
                some(all).ok_or(SelectError::NoReplica { phase })
            }
            ReadPreference::Replica => self.or_primary(replicas, writer),
            ReadPreference::ReplicaOnly => some(replicas).ok_or(SelectError::NoReplica { phase }),
            ReadPreference::Tag(key, value) => {
                let all = writer.map_or(replicas, |writer| replicas.with(writer));
                let tagged = self.only(all, |node| node.endpoint.has_tag(key, value));
                some(tagged).ok_or_else(|| SelectError::NoTagged {
                    key: key.clone(),
                    value: value.clone(),
                })
            }
            ReadPreference::Tagged(sets) => {
                let all = writer.map_or(replicas, |writer| replicas.with(writer));
                let tagged =
                    |set: &TagSet| some(self.only(all, |node| set.matches(&node.endpoint)));
                let mut found = sets.iter().filter_map(tagged);
                found
                    .next()
                    .ok_or(SelectError::NoTagSet { sets: sets.len() })
            }
            ReadPreference::MaxLag(limit) => {
                // What was so when it answered may have grown by an interval since.
                let interval = self.settings.probe_interval;
                let recent = |node: &Node| node.lag().is_some_and(|lag| lag + interval <= *limit);
                self.or_primary(self.only(replicas, recent), writer)
            }
            ReadPreference::AtLeast(token, within) => {
                self.select_at_least(*token, *within, replicas, writer)
            }
        }
    }

    fn or_primary(
        &self,
        replicas: NodeSet,
        writer: Option<NodeId>,
    ) -> Result<Selection, SelectError> {
        let fallback = || writer.map(Selection::Fallback);
        some(replicas)
            .or_else(fallback)
            .ok_or(SelectError::NoReplica { phase: self.phase })
    }

    fn select_at_least(
        &self,
        token: CausalToken,
        within: Duration,
        replicas: NodeSet,
        writer: Option<NodeId>,
    ) -> Result<Selection, SelectError> {
        let phase = self.phase;
        let (Some(system), Some(epoch)) = (self.system, self.epoch) else {
            return Err(SelectError::NoPrimary { phase });
        };
        if token.system() != system {
            return Err(SelectError::WrongCluster {
                expected: system,
                found: token.system(),
            });
        }
        let has = |line: u64| self.lineage.kept(token.timeline(), token.position(), line);
        let is_of_the_past = token.timeline() <= epoch.timeline;
        if is_of_the_past {
            match has(epoch.timeline) {
                Kept::Yes => {}
                Kept::No(fork) => return Err(SelectError::TokenLost { token, fork }),
                Kept::Unproven(kept) => return Err(SelectError::TokenUnproven { token, kept }),
            }
        }
        let by_all = self.applied_by_all >= Some(token.position());
        if by_all && is_of_the_past && !replicas.is_empty() {
            return Ok(Selection::Nodes(replicas));
        }
        let (mut have_it, mut furthest) = (NodeSet::default(), None::<&Node>);
        for node in self.each(replicas) {
            // One of another line has it only if what it stands for is on that line as well: positions alone prove
            // nothing.
            let on_its_line =
                |line| (is_of_the_past && line == epoch.timeline) || has(line) == Kept::Yes;
            if !node
                .epoch()
                .is_some_and(|epoch| on_its_line(epoch.timeline))
            {
                continue;
            }
            if node.applied() >= Some(token.position()) {
                have_it = have_it.with(node.id);
            }
            if furthest.is_none_or(|other| node.applied() >= other.applied()) {
                furthest = Some(node);
            }
        }
        if let Some(nodes) = some(have_it) {
            return Ok(nodes);
        }
        let writer = writer.filter(|_| is_of_the_past);
        if let Some(node) = furthest.filter(|_| !within.is_zero()) {
            return Ok(Selection::Wait {
                replica: node.id,
                position: token.position(),
                within,
                fallback: writer,
            });
        }
        if !is_of_the_past {
            let known = epoch.timeline;
            return Err(SelectError::TokenAhead { token, known });
        }
        writer
            .map(Selection::Fallback)
            .ok_or(SelectError::NoReplica { phase })
    }

    fn each(&self, nodes: NodeSet) -> impl Iterator<Item = &Node> {
        nodes.iter().filter_map(|id| self.get(id))
    }

    fn only(&self, nodes: NodeSet, wanted: impl Fn(&Node) -> bool) -> NodeSet {
        self.each(nodes)
            .filter(|node| wanted(node))
            .map(Node::id)
            .collect()
    }
}

fn some(nodes: NodeSet) -> Option<Selection> {
    (!nodes.is_empty()).then_some(Selection::Nodes(nodes))
}
