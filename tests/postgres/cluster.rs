//! A PostgreSQL cluster of one's own: a primary and two streaming replicas on loopback, in a directory that
//! goes away with it. A machine without PostgreSQL is a failure that names what to install, never a test skipped.
//!
//! The servers are copies of one fresh data directory, which shares an identity and costs a copy of 23 MB
//! each, where a base backup waits for a checkpoint. They run as the user `postgres` if this process is root's,
//! whom PostgreSQL refuses. A watcher ends them and empties the directory when this process dies, however it does.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each program that has this module uses a part"
)]

#[path = "../support/patience.rs"]
mod patience;
#[path = "programs.rs"]
mod programs;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

pub use patience::{tell, wait_until};
use programs::{
    as_user, directory_of_tools, free_port, give, new_directory, run, template, tool, watch,
};
use tenfold::postgres::{LocalHost, PostgresConnector};
use tenfold::replica::Endpoint;

/// When a commit is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// When the primary has it.
    Asynchronous,
    /// When one of the replicas has it as well: `ANY 1 (db1, db2)`.
    AnyOne,
}

/// `db0`, which starts as the primary, and `db1` and `db2`, which follow it through slots of their names.
pub struct Cluster {
    servers: Vec<Server>,
    /// Says by its end that this process is gone or wants no more.
    watcher: Child,
    root: PathBuf,
}

impl Cluster {
    pub fn start(replication: Replication) -> Self {
        let root = new_directory();
        let watcher = watch(&root);
        let servers = (0..3)
            .map(|number| Server::lay_out(&root, number))
            .collect();
        let mut cluster = Self {
            servers,
            watcher,
            root,
        };
        let primary = cluster.servers[0].port;
        for replica in &cluster.servers[1..] {
            replica.configure(&format!(
                "primary_conninfo = 'host=127.0.0.1 port={primary} user=postgres application_name={0}'\n\
                 primary_slot_name = '{0}'\n",
                replica.name
            ));
            fs::write(replica.data.join("standby.signal"), "").unwrap();
            give(&replica.data.join("standby.signal"));
        }
        cluster.servers[0].start();
        for replica in ["db1", "db2"] {
            cluster.servers[0].sql(&format!(
                "SELECT pg_create_physical_replication_slot('{replica}')"
            ));
        }
        for replica in &mut cluster.servers[1..] {
            replica.spawn();
        }
        for replica in &cluster.servers[1..] {
            replica.wait_until_ready();
        }
        cluster.wait_until_streaming(2);
        if replication == Replication::AnyOne {
            // Everywhere, as a base backup would have it: a promoted replica inherits it.
            for server in &cluster.servers {
                server.sql("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (db1, db2)'");
                server.sql("SELECT pg_reload_conf()");
            }
            wait_until("replication is synchronous", || {
                !cluster.servers[0]
                    .sql("SHOW synchronous_standby_names")
                    .is_empty()
            });
        }
        cluster
    }

    /// `db0` alone.
    pub fn single() -> Self {
        let root = new_directory();
        let watcher = watch(&root);
        let mut server = Server::lay_out(&root, 0);
        server.start();
        Self {
            servers: vec![server],
            watcher,
            root,
        }
    }

    /// Has a replica receive from another one.
    pub fn cascade(&self, replica: usize, from: usize) {
        let (replica, from) = (&self.servers[replica], &self.servers[from]);
        let (name, port) = (replica.name(), from.port);
        let conninfo = format!("host=127.0.0.1 port={port} user=postgres application_name={name}");
        replica.sql("ALTER SYSTEM SET primary_slot_name = ''");
        replica.sql(&format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'"));
        replica.sql("SELECT pg_reload_conf()");
        let counted = format!(
            "SELECT count(*) FROM pg_stat_replication \
             WHERE state = 'streaming' AND application_name = '{name}'"
        );
        wait_until("the replica streams from the other", || {
            from.sql(&counted) == "1"
        });
    }

    /// A connector that knows every server's host.
    pub fn connector(&self) -> PostgresConnector {
        let mut config = tokio_postgres::Config::new();
        config.user("postgres").dbname("postgres");
        let connector = PostgresConnector::new(config).unwrap();
        self.servers.iter().fold(connector, |connector, server| {
            connector.host(&server.name, server.host())
        })
    }

    pub fn server(&self, number: usize) -> &Server {
        &self.servers[number]
    }

    pub fn server_mut(&mut self, number: usize) -> &mut Server {
        &mut self.servers[number]
    }

    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.servers.iter().map(Server::endpoint).collect()
    }

    /// A directory within the cluster's, that the servers may use.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(&path).unwrap();
        give(&path);
        path
    }

    /// Until so many replicas receive from `db0`.
    pub fn wait_until_streaming(&self, replicas: usize) {
        let counted = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        wait_until("the replicas stream", || {
            self.servers[0].sql(counted) == replicas.to_string()
        });
    }

    /// Until the replica has applied what the primary has written by now.
    pub fn wait_until_applied(&self, primary: usize, replica: usize) {
        let end = self.servers[primary].sql("SELECT pg_current_wal_insert_lsn()");
        let reached =
            format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{end}'::pg_lsn, false)");
        wait_until("the replica has applied everything", || {
            self.servers[replica].sql(&reached) == "t"
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in &mut self.servers {
            if std::thread::panicking() {
                server.print_log();
            }
            server.kill();
        }
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

/// One server, running or not.
pub struct Server {
    name: String,
    data: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Server {
    fn lay_out(root: &Path, number: usize) -> Self {
        let name = format!("db{number}");
        let data = root.join(&name);
        for (path, file) in template() {
            let path = data.join(path);
            match file {
                None => fs::create_dir_all(&path).unwrap(),
                Some(bytes) => fs::write(&path, bytes).unwrap(),
            }
            give(&path);
        }
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        Self {
            name,
            data,
            port: free_port(),
            process: None,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.name, &self.address()).unwrap()
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its files and processes, for the adapter.
    pub fn host(&self) -> LocalHost {
        LocalHost::new(&self.data, directory_of_tools())
            .options(&format!("-p {}", self.port))
            .quarantine_port(free_port())
    }

    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Adds to the configuration; for a server that does not run.
    pub fn configure(&self, lines: &str) {
        let path = self.data.join("postgresql.auto.conf");
        let had = fs::read_to_string(&path).unwrap_or_default();
        fs::write(&path, had + lines).unwrap();
        give(&path);
    }

    pub fn start(&mut self) {
        self.spawn();
        self.wait_until_ready();
    }

    fn spawn(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())
            .unwrap();
        let child = as_user(&mut Command::new(tool("postgres")))
            .arg("-D")
            .arg(&self.data)
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    /// Starts it, and says whether it was ready at this moment.
    pub fn starts_by(&mut self, deadline: Instant) -> bool {
        self.spawn();
        wait_until("the server is ready or late", || {
            self.is_ready() || Instant::now() >= deadline
        });
        self.is_ready() && Instant::now() < deadline
    }

    fn is_ready(&self) -> bool {
        let pid = self.process.as_ref().unwrap().id().to_string();
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let mut lines = file.lines();
        let state = (lines.next(), lines.nth(6).map(str::trim));
        matches!(state, (Some(found), Some("ready")) if found == pid)
    }

    fn wait_until_ready(&self) {
        let pid = self.process.as_ref().unwrap().id().to_string();
        wait_until("the server is ready", || {
            if self.is_ready() {
                return true;
            }
            let dead = fs::read_to_string(format!("/proc/{pid}/stat"))
                .map_or(true, |stat| stat.contains(") Z "));
            if dead {
                self.print_log();
                panic!("{} ended while it started", self.name);
            }
            false
        });
    }

    /// Ends it in good order: what it wrote is sent first.
    pub fn stop(&mut self) {
        self.signal("INT");
        self.reap();
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if self.process.is_some() {
            self.signal("KILL");
            self.reap();
            // So that nobody takes its number for it.
            let _ = fs::remove_file(self.data.join("postmaster.pid"));
            // Its children notice by themselves, and until then hold the memory that a new start must not share.
            let socket = (std::net::Ipv4Addr::LOCALHOST, self.port);
            wait_until("the port is free", || TcpListener::bind(socket).is_ok());
        }
    }

    /// Stops the process where it is: connections stay and nothing answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    pub fn thaw(&self) {
        self.signal("CONT");
    }

    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// What is to be seen in a server that is down, which takes writes meanwhile, where nobody finds it.
    pub fn aside<T>(&mut self, look: impl FnOnce(&Self) -> T) -> T {
        let port = std::mem::replace(&mut self.port, free_port());
        let signal = self.data.join("standby.signal");
        let standby = fs::rename(&signal, self.data.join("aside")).is_ok();
        self.start();
        let seen = look(self);
        self.stop();
        if standby {
            fs::rename(self.data.join("aside"), &signal).unwrap();
        }
        self.port = port;
        seen
    }

    /// Says that somebody else ended it, or will have.
    pub fn reap(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.wait().unwrap();
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("the server runs").id();
        run(Command::new("kill").args([format!("-{name}"), pid.to_string()]));
    }

    /// One statement through `psql`; answers its rows, columns divided by `|`.
    pub fn sql(&self, statement: &str) -> String {
        self.sql_each(&[statement])
    }

    /// Several, each in a transaction of its own.
    pub fn sql_each(&self, statements: &[impl AsRef<str>]) -> String {
        let mut psql = Command::new(tool("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "postgres", "-d", "postgres"])
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
        for statement in statements {
            psql.arg("-c").arg(statement.as_ref());
        }
        run(&mut psql).trim_end().to_owned()
    }

    fn log(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    pub fn print_log(&self) {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(40)..];
        eprintln!("--- {}\n{}", self.name, last.join("\n"));
    }
}
