//! A failover that lost what a recovery is to bring back.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program that has this module uses a part"
)]

use tenfold::postgres::PostgresConnector;
use tenfold::replica::{AsyncPromoter, Endpoint, Epoch};

use super::cluster::{Cluster, Replication, Server};
use super::workload;

/// A former primary with what it has not sent, dead, and a new one.
pub struct Loss {
    pub cluster: Cluster,
    pub connector: PostgresConnector,
    pub servers: Vec<Endpoint>,
    pub runtime: tokio::runtime::Runtime,
    pub expected: String,
}

impl Loss {
    pub fn new(slot: bool) -> Self {
        Self::of(slot, workload::create, workload::write_unsent)
    }

    /// With these statements, sent and not sent, each in a transaction of its own.
    pub fn with(slot: bool, sent: &[&str], unsent: &[&str]) -> Self {
        let (sent, unsent) = (sent.to_vec(), unsent.to_vec());
        Self::of(
            slot,
            move |primary| {
                workload::create(primary);
                primary.sql_each(&sent);
            },
            move |primary| {
                primary.sql_each(&unsent);
            },
        )
    }

    pub fn of(slot: bool, sent: impl FnOnce(&Server), unsent: impl FnOnce(&Server)) -> Self {
        let mut cluster = Cluster::start(Replication::Asynchronous);
        let connector = cluster.connector();
        let servers = cluster.endpoints();
        let runtime = workload::runtime();
        let keep_slot = || {
            if slot {
                runtime
                    .block_on(connector.keep_recovery_slot(&servers[0]))
                    .unwrap();
            }
        };
        keep_slot();
        sent(cluster.server(0));
        cluster.wait_until_applied(0, 1);
        cluster.wait_until_applied(0, 2);
        keep_slot();
        runtime.block_on(async {
            for replica in &servers[1..] {
                connector.stop_receiver(replica).await.unwrap();
            }
        });
        let before = workload::digest(cluster.server(0));
        unsent(cluster.server(0));
        let expected = workload::digest(cluster.server(0));
        cluster.server_mut(0).kill();
        runtime.block_on(async {
            connector
                .fence(&servers[0], Epoch::default())
                .await
                .unwrap();
            connector.promote(&servers[1]).await.unwrap();
        });
        assert_eq!(workload::digest(cluster.server(1)), before);
        Self {
            cluster,
            connector,
            servers,
            runtime,
            expected,
        }
    }

    pub fn digest(&self, server: usize) -> String {
        workload::digest(self.cluster.server(server))
    }
}
