//! A Redis server of one's own, on loopback, in a directory that goes away with it. A machine without Redis is a
//! failure that names what to install, never a test skipped.
//!
//! A watcher ends the server and removes the directory when this process dies, however it does.

#![allow(unreachable_pub, reason = "a module of each program that needs it")]

#[path = "../support/patience.rs"]
mod patience;

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use patience::PATIENCE;
pub use patience::{tell, wait_until};

pub struct Server {
    process: Option<Child>,
    port: u16,
    directory: PathBuf,
    settings: Vec<String>,
    /// Says by its end that this process is gone.
    _watcher: Child,
}

impl Server {
    /// One that keeps nothing.
    pub fn start() -> Self {
        Self::start_with(&["--appendonly", "no"])
    }

    /// One that has every write on disk before it answers.
    pub fn start_durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// One that knows no functions, as before version 7.
    pub fn start_old() -> Self {
        Self::start_with(&["--rename-command", "FCALL", ""])
    }

    /// A cluster of one server, which has all slots, and refuses calls with keys of two.
    pub fn start_cluster() -> Self {
        let server = Self::start_with(&["--cluster-enabled", "yes"]);
        let slots = ["CLUSTER", "ADDSLOTSRANGE", "0", "16383"];
        let () = server.ask(&slots);
        wait_until("the cluster is up", || {
            let info: String = server.ask(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok")
        });
        server
    }

    /// Two nodes of a cluster, each with half of the slots.
    pub fn start_two_of_a_cluster() -> [Self; 2] {
        let nodes = [(); 2].map(|()| Self::start_with(&["--cluster-enabled", "yes"]));
        for (node, [first, last]) in nodes.iter().zip([["0", "8191"], ["8192", "16383"]]) {
            let () = node.ask(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
        }
        // Else both begin in the same era, and need time to settle which of them is meant.
        let () = nodes[1].ask(&["CLUSTER", "SET-CONFIG-EPOCH", "2"]);
        let port = nodes[1].port.to_string();
        let () = nodes[0].ask(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        wait_until("both nodes know each other", || {
            nodes.iter().all(|node| {
                let info: String = node.ask(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            })
        });
        nodes
    }

    /// One that has what this one has, by now.
    pub fn start_replica_of(primary: &Self) -> Self {
        let port = primary.port.to_string();
        let replica = Self::start_with(&["--replicaof", "127.0.0.1", &port]);
        wait_until("the replica has caught up", || {
            let info: String = replica.ask(&["INFO", "replication"]);
            info.contains("master_link_status:up")
        });
        replica
    }

    fn start_with(settings: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tenfold-redis-{}-{number}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir(&directory).unwrap();
        let mut server = Self {
            process: None,
            port: free_port(),
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            _watcher: watch(&directory),
            directory,
        };
        server.resume();
        server
    }

    /// Starts it again, with what it kept.
    pub fn resume(&mut self) {
        assert!(self.process.is_none(), "it runs already");
        let port = self.port.to_string();
        let process = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", ""])
            .arg("--dir")
            .arg(&self.directory)
            .arg("--logfile")
            .arg(self.directory.join("log"))
            .args(&self.settings)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("`redis-server` cannot be run ({error}): install the Debian package `redis-server`")
            });
        fs::write(self.directory.join("pid"), process.id().to_string()).unwrap();
        self.process = Some(process);
        wait_until("the server answers", || {
            let client = redis::Client::open(self.url()).unwrap();
            let connection = client.get_connection_with_timeout(PATIENCE);
            connection.is_ok_and(|mut it| redis::cmd("PING").exec(&mut it).is_ok())
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        process.kill().unwrap();
        process.wait().unwrap();
        let _ = fs::remove_file(self.directory.join("pid"));
    }

    /// Stops the process where it is: connections stay and nothing answers.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.process.as_ref().expect("it runs").id().to_string();
        let status = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(status.success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// A connection beside the store's.
    pub fn connect(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_connection().unwrap()
    }

    /// Makes it do something, and answers what it says.
    pub fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        command(words).query(&mut self.connect()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
            eprintln!("--- redis-server\n{log}");
        }
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

pub fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    command.arg(words);
    command
}

fn free_port() -> u16 {
    // The bus of a cluster takes the port 10000 above.
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if port < 55_000 && TcpStream::connect((Ipv4Addr::LOCALHOST, port + 10_000)).is_err() {
            return port;
        }
    }
}

/// Waits for the end of its input, which comes with the end of this process.
fn watch(directory: &PathBuf) -> Child {
    let script = "trap '' INT TERM HUP; read -r _
        [ -e \"$0/pid\" ] && kill -KILL \"$(cat \"$0/pid\")\" 2> /dev/null
        rm -rf \"$0\"";
    Command::new("sh")
        .args(["-c", script])
        .arg(directory)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
