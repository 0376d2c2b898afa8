use std::sync::Arc;

use crate::balance::{Balancer, Member, MemberId};
use crate::replica::Client;
use crate::replica::pool::{Pool, PoolOptions};
use crate::replica::topology::{Node, NodeId, Topology};

/// A topology and the pools of its servers: what a caller sees of a cluster, all of one moment.
pub(super) struct Routes<C: Client> {
    pub(super) topology: Topology,
    /// By the number of the server.
    servers: Vec<Option<Server<C>>>,
}

/// A server that connections can be made to.
pub(super) struct Server<C: Client> {
    pub(super) target: Arc<Target<C>>,
    member: Option<MemberId>,
}

/// What the balancer chooses among.
pub(super) struct Target<C: Client> {
    pub(super) node: NodeId,
    pub(super) pool: Pool<C>,
}

impl<C: Client> Routes<C> {
    pub(super) fn new(topology: Topology) -> Self {
        Self {
            topology,
            servers: Vec::new(),
        }
    }

    pub(super) fn target(&self, node: NodeId) -> Option<&Arc<Target<C>>> {
        let server = self.servers.get(node.index())?.as_ref()?;
        Some(&server.target)
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &Arc<Target<C>>> {
        self.servers.iter().flatten().map(|server| &server.target)
    }

    /// Every server of the topology that the balancer knows.
    pub(super) fn members(&self) -> impl Iterator<Item = (&Node, MemberId)> {
        let nodes = self.topology.nodes();
        nodes.filter_map(|node| Some((node, self.member(node.id())?)))
    }

    pub(super) fn member(&self, node: NodeId) -> Option<MemberId> {
        self.servers.get(node.index())?.as_ref()?.member
    }

    /// The routes of the next topology; pools of servers that are gone are closed by whoever has them last.
    pub(super) fn next(
        &self,
        topology: Topology,
        client: &Arc<C>,
        options: &PoolOptions,
        balancer: &Balancer<Arc<Target<C>>>,
    ) -> (Self, Vec<Arc<Target<C>>>) {
        let mut servers: Vec<Option<Server<C>>> = Vec::new();
        for node in topology.nodes() {
            let index = node.id().index();
            servers.resize_with(servers.len().max(index + 1), || None);
            servers[index] = Some(match self.server(node) {
                Some(known) => known.again(),
                None => Server::new(node, client, options, balancer),
            });
        }
        let mut gone = Vec::new();
        for (index, server) in self.servers.iter().enumerate() {
            let Some(server) = server else { continue };
            let stays = servers.get(index).and_then(Option::as_ref);
            if !stays.is_some_and(|stays| Arc::ptr_eq(&stays.target, &server.target)) {
                if let Some(member) = server.member {
                    // It may be gone already, which is as well.
                    let _ = balancer.remove(member);
                }
                gone.push(Arc::clone(&server.target));
            }
        }
        let next = Self { topology, servers };
        next.tell(balancer, self);
        (next, gone)
    }

    /// Those that serve are up, and those that come back begin slowly.
    fn tell(&self, balancer: &Balancer<Arc<Target<C>>>, before: &Self) {
        let (served, serving) = (before.topology.serving(), self.topology.serving());
        for server in self.servers.iter().flatten() {
            let (Some(member), node) = (server.member, server.target.node) else {
                continue;
            };
            // A member that is gone by now is none of them any more.
            let _ = match (served.contains(node), serving.contains(node)) {
                (false, true) => balancer.mark_up(member),
                (true, false) => balancer.mark_down(member),
                _ => continue,
            };
        }
    }

    fn server(&self, node: &Node) -> Option<&Server<C>> {
        let server = self.servers.get(node.id().index())?.as_ref()?;
        (server.target.pool.endpoint() == node.endpoint()).then_some(server)
    }
}

impl<C: Client> Server<C> {
    fn new(
        node: &Node,
        client: &Arc<C>,
        options: &PoolOptions,
        balancer: &Balancer<Arc<Target<C>>>,
    ) -> Self {
        let endpoint = node.endpoint().clone();
        let weight = endpoint.share();
        let client = Arc::clone(client);
        let pool = options
            .clone()
            .build_at(client, endpoint, node.generation());
        let target = Arc::new(Target {
            node: node.id(),
            pool,
        });
        let member = Member::new(Arc::clone(&target));
        let added = balancer.add_member(member.weight(weight));
        // A weight that is out of its bounds is as much as another's.
        let added = added.or_else(|_| balancer.add(Arc::clone(&target)));
        let member = added.ok();
        if let Some(member) = member {
            // Up as soon as it serves; it cannot be gone.
            let _ = balancer.mark_down(member);
        }
        Self { target, member }
    }

    fn again(&self) -> Self {
        Self {
            target: Arc::clone(&self.target),
            member: self.member,
        }
    }
}
