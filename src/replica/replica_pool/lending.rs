//! How a caller comes to a connection: to the server that its read or write may go to, now or as soon as there is one.

use std::sync::Arc;

use super::core::Core;
use super::error::is_passing;
use super::lent::WriteLease;
use super::routes::{Routes, Target};
use super::{Lent, ReplicaError};
use crate::balance::{OwnedPick, Pick};
use crate::replica::pool::{Claim, Deadline, GetError, Pooled};
use crate::replica::topology::{Input, NodeId, NodeSet, SelectError, Selection, select};
use crate::replica::ways::Ways;
use crate::replica::{Client, Fault, ReadPreference};

/// Where a read goes.
enum Route<C: Client> {
    To(Way<C>),
    /// Nowhere before this one has applied what it asks for.
    Behind(NodeId),
}

/// A server, and how it is asked.
pub(super) struct Way<C: Client> {
    target: Arc<Target<C>>,
    pick: Option<OwnedPick<Arc<Target<C>>>>,
    claim: Claim,
}

impl<C: Client> Way<C> {
    #[cold]
    fn by(pick: Pick<'_, Arc<Target<C>>>, claim: Claim) -> Self {
        Self {
            target: Arc::clone(&pick),
            pick: Some(pick.into_owned()),
            claim,
        }
    }
}

/// A read at once: no lock but the pool's, and no memory. Where it has to wait, or fails, the way it would go, if there is
/// one: whoever was chosen is the one to wait for.
#[inline]
pub(super) fn read_now<C: Client>(
    core: &Arc<Core<C>>,
    preference: &ReadPreference,
) -> Result<Lent<C>, Option<Way<C>>> {
    if let Some(stamp) = core.board.stamp()
        && let Some(least) = core.board.least(preference)
        && let Some(pick) = core
            .balancer
            .pick_likely(|place| core.board.has(place, least))
        && core.board.is_still(stamp)
    {
        return lend_now(core, pick, Claim::Full);
    }
    read_by_routes(core, preference)
}

#[inline]
fn lend_now<C: Client>(
    core: &Arc<Core<C>>,
    pick: Pick<'_, Arc<Target<C>>>,
    claim: Claim,
) -> Result<Lent<C>, Option<Way<C>>> {
    match pick.pool.get_fresh(claim) {
        Some(pooled) => Ok(Lent::read(core, pooled, pick.node, Some(pick.park()))),
        None => Err(Some(Way::by(pick, claim))),
    }
}

/// The same for whatever is not on the board.
#[cold]
fn read_by_routes<C: Client>(
    core: &Arc<Core<C>>,
    preference: &ReadPreference,
) -> Result<Lent<C>, Option<Way<C>>> {
    let routes = core.routes.load();
    let selected = select(&routes.topology, preference, NodeSet::default());
    let Ok(Selection::Nodes(nodes)) = selected else {
        return Err(None);
    };
    let pick = choose(core, nodes).ok_or(None)?;
    let claim = claim(&routes, pick.node);
    lend_now(core, pick, claim)
}

/// A write at once; `None` where it has to wait or fails. It is of the epoch that was seen before the connection was had:
/// if that is over by then, [`Lent::is_current`] says so, as it does of one that is over a moment later.
#[inline]
pub(super) fn write_now<C: Client>(core: &Arc<Core<C>>) -> Option<Lent<C>> {
    let writer = core.board.writer()?;
    // It counts as in use for a moment, so that it is there.
    let target = core.balancer.get(writer.member).ok()?;
    let pooled = target.pool.get_fresh(Claim::Full)?;
    Some(Lent::write(core, pooled, target.node, writer.lease))
}

/// The best of these.
fn choose<C: Client>(core: &Core<C>, nodes: NodeSet) -> Option<Pick<'_, Arc<Target<C>>>> {
    let any = core.balancer.pick();
    if let Ok(pick) = any
        && nodes.contains(pick.node)
    {
        return Some(pick);
    }
    let wanted = |_, target: &Arc<Target<C>>| nodes.contains(target.node);
    core.balancer.pick_where(wanted).ok()
}

/// The primary keeps a reserve for writes.
fn claim<C: Client>(routes: &Routes<C>, node: NodeId) -> Claim {
    if routes.topology.writer() == Some(node) {
        Claim::Capped
    } else {
        Claim::Full
    }
}

/// A read by the way that was chosen, if one was, or by whichever there is.
pub(super) async fn read<C: Client, W: Ways<C>>(
    core: &Arc<Core<C>>,
    ways: W,
    preference: &ReadPreference,
    deadline: Deadline,
    mut avoid: NodeSet,
    mut chosen: Option<Way<C>>,
) -> Result<Lent<C>, ReplicaError<C::Error>> {
    let mut preference = preference.clone();
    // Until when it waits for a replica to catch up; what is left of that is asked for again.
    let patience = match &preference {
        ReadPreference::AtLeast(_, within) => deadline.at.min(core.now() + *within),
        _ => deadline.at,
    };
    // Whether the replica that it waits for may be asked ahead of its time.
    let mut hurries = true;
    loop {
        let routes = core.routes.load_full();
        if let ReadPreference::AtLeast(_, within) = &mut preference {
            *within = patience.saturating_since(core.now());
        }
        let way = match chosen.take() {
            Some(way) => Ok(Route::To(way)),
            None => route(core, &routes, &preference, avoid),
        };
        let way = match way {
            Ok(Route::To(way)) => way,
            Ok(Route::Behind(replica)) => {
                let node = routes.topology.node(replica);
                if hurries && node.is_some_and(|node| !node.is_asked()) {
                    // It is asked once for all who wait: each of these would wake the others, who would ask again.
                    core.feed(Input::Hurry(replica));
                    hurries = false;
                    continue;
                }
                core.change(ways, &routes, patience).await;
                hurries = true;
                continue;
            }
            Err(error) => {
                wait_out(core, ways, &routes, error, deadline).await?;
                continue;
            }
        };
        let node = way.target.node;
        let error = match lend(core, ways, &way, deadline).await {
            Ok(pooled) => {
                let pick = way.pick.map(OwnedPick::park);
                return Ok(Lent::read(core, pooled, node, pick));
            }
            Err(error) => error,
        };
        let again = avoid.contains(node);
        avoid = avoid.with(node);
        if let (Some(pick), GetError::Connect(_) | GetError::ConnectTimeout(_)) = (way.pick, &error)
        {
            pick.fail();
        }
        let endpoint = || way.target.pool.endpoint().name().into();
        match error {
            // Somebody purged or drained it: the routes are others now.
            GetError::Closed if !core.is_closed() => {}
            GetError::Closed => return Err(ReplicaError::Closed),
            GetError::Timeout(timeout) if way.claim == Claim::Capped => {
                return Err(ReplicaError::Overloaded {
                    endpoint: endpoint(),
                    timeout,
                });
            }
            // Another server may be had.
            GetError::Connect(_)
            | GetError::ConnectTimeout(_)
            | GetError::TooManyWaiting { .. }
                if !again => {}
            source => {
                return Err(ReplicaError::Get {
                    endpoint: endpoint(),
                    source,
                });
            }
        }
    }
}

pub(super) async fn write<C: Client, W: Ways<C>>(
    core: &Arc<Core<C>>,
    ways: W,
    deadline: Deadline,
) -> Result<Lent<C>, ReplicaError<C::Error>> {
    // Why the last attempt failed, which says more than that there is no primary.
    let mut failed = None;
    loop {
        let routes = core.routes.load_full();
        let topology = &routes.topology;
        let writer = topology.writer().and_then(|node| {
            WriteLease::of(topology, node)?;
            routes.target(node)
        });
        let Some(target) = writer else {
            let phase = topology.phase();
            let none = SelectError::NoPrimary { phase };
            if let Err(error) = wait_out(core, ways, &routes, none, deadline).await {
                return Err(failed.unwrap_or(error));
            }
            continue;
        };
        let way = Way {
            target: Arc::clone(target),
            pick: None,
            claim: Claim::Full,
        };
        let error = match lend(core, ways, &way, deadline).await {
            // It may have waited long: what counts is who is primary now.
            Ok(pooled) => {
                let now = core.routes.load();
                let Some(lease) = WriteLease::of(&now.topology, target.node) else {
                    continue;
                };
                return Ok(Lent::write(core, pooled, target.node, lease));
            }
            Err(error) => error,
        };
        let is_writer = core.routes.load().topology.writer() == Some(target.node);
        match error {
            GetError::Closed if core.is_closed() => return Err(ReplicaError::Closed),
            GetError::Closed => {}
            source => {
                let error = ReplicaError::Get {
                    endpoint: target.pool.endpoint().name().into(),
                    source,
                };
                if is_writer || core.now() >= deadline.at {
                    return Err(error);
                }
                // Nothing was sent: it may go to whoever is primary next.
                failed = Some(error);
            }
        }
    }
}

/// Whether a read of this preference could be had now from a server that is none of these.
pub(super) fn is_another<C: Client>(
    core: &Core<C>,
    preference: &ReadPreference,
    than: NodeSet,
) -> bool {
    match select(&core.routes.load().topology, preference, than) {
        Ok(Selection::Nodes(nodes)) => !nodes.minus(than).is_empty(),
        Ok(Selection::Primary(node) | Selection::Fallback(node)) => !than.contains(node),
        Ok(Selection::Wait { .. }) | Err(_) => false,
    }
}

/// Waits for the routes to change, if that may help, until the deadline.
async fn wait_out<C: Client, W: Ways<C>>(
    core: &Core<C>,
    ways: W,
    routes: &Arc<Routes<C>>,
    error: SelectError,
    deadline: Deadline,
) -> Result<(), ReplicaError<C::Error>> {
    if core.is_closed() {
        return Err(ReplicaError::Closed);
    }
    if !is_passing(&error) || core.change(ways, routes, deadline.at).await {
        return Err(ReplicaError::Select(error));
    }
    Ok(())
}

fn route<C: Client>(
    core: &Core<C>,
    routes: &Routes<C>,
    preference: &ReadPreference,
    avoid: NodeSet,
) -> Result<Route<C>, SelectError> {
    let phase = routes.topology.phase();
    let nobody = || SelectError::NoReplica { phase };
    let (node, claim) = match select(&routes.topology, preference, avoid)? {
        Selection::Nodes(nodes) => {
            if let Some(pick) = choose(core, nodes) {
                let claim = claim(routes, pick.node);
                return Ok(Route::To(Way::by(pick, claim)));
            }
            // It is not chosen while there are others.
            let writer = routes.topology.writer();
            let writer = writer.filter(|&writer| nodes.contains(writer));
            (writer.ok_or_else(nobody)?, Claim::Capped)
        }
        Selection::Primary(node) => (node, Claim::Full),
        Selection::Fallback(node) => (node, Claim::Capped),
        Selection::Wait { replica, .. } => return Ok(Route::Behind(replica)),
    };
    let target = routes.target(node).ok_or_else(nobody)?;
    Ok(Route::To(Way {
        target: Arc::clone(target),
        pick: None,
        claim,
    }))
}

/// Asks the pool of a server, and says what came of connecting.
async fn lend<C: Client, W: Ways<C>>(
    core: &Core<C>,
    ways: W,
    way: &Way<C>,
    deadline: Deadline,
) -> Result<Pooled<C>, GetError<C::Error>> {
    let pool = &way.target.pool;
    let generation = pool.generation();
    let lent = match pool.get_now(way.claim) {
        Ok(lent) => return Ok(lent),
        Err(found) => pool.wait(ways, found, deadline).await,
    };
    let fault = match &lent {
        Err(GetError::Connect(error)) => core.client.classify(error),
        Err(GetError::ConnectTimeout(_)) => Fault::ConnectionLost,
        _ => return lent,
    };
    // Nothing was sent, whatever the client cannot tell.
    let fault = match fault {
        Fault::Unknown => Fault::ConnectionLost,
        known => known,
    };
    core.feed(Input::Faulted {
        node: way.target.node,
        generation,
        fault,
    });
    lent
}

/// Until when a caller waits that says nothing else.
pub(super) fn deadline<C: Client>(core: &Core<C>, wait: Option<std::time::Duration>) -> Deadline {
    let wait = wait.unwrap_or(core.options.longest_wait());
    Deadline::new(core.now(), wait)
}
