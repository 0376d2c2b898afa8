//! Transactions that stop in the middle, when they have changed a row and not yet committed, until they may go on: what
//! otherwise only luck brings about.

#![allow(unreachable_pub, reason = "a module of each program that needs it")]

use tokio_postgres::{Client, NoTls};

use crate::cluster::{Server, wait_until};

/// While it lives, whoever changes a row of the table stops behind it.
pub struct Stall<'a> {
    server: &'a Server,
    table: String,
    holder: Client,
}

impl<'a> Stall<'a> {
    /// What a server needs once.
    pub fn prepare(server: &Server) {
        server.sql(
            "CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_advisory_xact_lock_shared(1, TG_RELID::integer); RETURN NULL; END'",
        );
    }

    /// For statements that `INSERT`, `UPDATE`, `DELETE`, or several (`INSERT OR UPDATE`).
    pub async fn of(server: &'a Server, table: &str, statements: &str) -> Self {
        server.sql(&format!(
            "CREATE TRIGGER stall AFTER {statements} ON {table} FOR EACH ROW EXECUTE FUNCTION stall()"
        ));
        let address = format!("postgres://postgres@{}/postgres", server.address());
        let (holder, connection) = tokio_postgres::connect(&address, NoTls).await.unwrap();
        tokio::spawn(connection);
        let lock = format!("SELECT pg_advisory_lock(1, '{table}'::regclass::oid::integer)");
        holder.batch_execute(&lock).await.unwrap();
        Self {
            server,
            table: table.to_owned(),
            holder,
        }
    }

    /// Waits until so many calls of the store stand still.
    pub fn wait_for(&self, calls: usize) {
        let waiting = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND wait_event_type = 'Lock'",
            self.table
        );
        wait_until("the calls stand still", || {
            self.server.sql(&waiting) == calls.to_string()
        });
    }

    /// Lets all of them go on, and stops nobody any more.
    pub async fn end(self) {
        let unlock = "SELECT pg_advisory_unlock_all()";
        self.holder.batch_execute(unlock).await.unwrap();
        // Waits until the last of them has ended.
        let drop = format!("DROP TRIGGER stall ON {}", self.table);
        self.holder.batch_execute(&drop).await.unwrap();
    }
}
