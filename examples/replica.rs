//! One primary and two replicas in virtual time: a replica dies, the primary is replaced, and nobody reads what is older
//! than what they have written.
//!
//! `cargo run --features replica --example replica`

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tenfold::replica::topology::Settings;
use tenfold::replica::{
    Connector, Endpoint, Epoch, Fault, Op, Position, Probe, Prober, ReadPreference, ReplicaPool,
    Role, SystemId,
};
use tenfold::time::{Instant, ManualClock};

fn main() -> Result<(), Box<dyn Error>> {
    let servers = Servers::default();
    for (name, role) in [
        ("a", Role::Primary),
        ("b", Role::Replica),
        ("c", Role::Replica),
    ] {
        servers.change(name, |server| server.role = Some(role));
    }
    let endpoint = |name| Endpoint::new(name, name);
    let settings = Settings::builder()
        .primary(endpoint("a")?)
        .replica(endpoint("b")?)
        .replica(endpoint("c")?)
        .build()?;
    let clock = ManualClock::new();
    let pool = ReplicaPool::builder(servers.clone(), settings)
        .clock(clock.clock())
        .build()?;
    // In a program: `thread::spawn(move || pool.monitor().run())`, or `monitor_async` in a task.
    let monitor = pool.monitor();
    let mut events = pool.events();
    let mut pass = |time: Duration| {
        let until = clock.now() + time;
        while clock.now() < until {
            let next = monitor.turn().min(until);
            clock.advance(next.saturating_since(clock.now()));
        }
        while let Some(event) = events.try_next() {
            println!("       {event}");
        }
    };
    pass(Duration::from_secs(1));

    let mut lent = pool.write()?;
    let position = lent.write()?;
    let token = lent.commit_token(position)?;
    lent.finish()?;
    println!("write  to a, token {token}");
    let own = Op::read().preference(ReadPreference::AtLeast(token, Duration::ZERO));
    println!(
        "read   of one's own write: {}",
        pool.run(&own, Connection::read)?
    );
    println!(
        "read   of whatever is there: {}",
        pool.run(&Op::read(), Connection::read)?
    );

    println!("kill   b");
    servers.change("b", |server| server.role = None);
    for _ in 0..100 {
        pool.run(&Op::read(), Connection::read)?;
    }
    println!("read   a hundred times, and none has failed");

    println!("kill   a, and c is promoted by whoever does that here");
    servers.change("a", |server| server.role = None);
    pass(Duration::from_secs(5));
    servers.change("c", |server| {
        server.role = Some(Role::Primary);
        server.timeline += 1;
    });
    pass(Duration::from_secs(5));
    let written = pool.run(&Op::write(), Connection::write)?;
    println!("write  to c, up to {written}");
    match pool.run(&own, Connection::read) {
        Ok(position) => println!("read   of the write before: {position}"),
        Err(error) => println!("read   of the write before: {error}"),
    }
    Ok(())
}

/// Servers in memory.
#[derive(Clone, Default)]
struct Servers(Arc<Mutex<BTreeMap<String, Server>>>);

#[derive(Clone, Default)]
struct Server {
    /// None if it is down.
    role: Option<Role>,
    timeline: u64,
    position: u64,
}

struct Connection {
    name: String,
    servers: Servers,
}

impl Servers {
    fn change<R>(&self, name: &str, change: impl FnOnce(&mut Server) -> R) -> R {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(servers.entry(name.to_owned()).or_default())
    }
}

impl Connection {
    fn ask<R>(
        &self,
        ask: impl FnOnce(&mut Server, Role) -> Result<R, Problem>,
    ) -> Result<R, Problem> {
        self.servers.change(&self.name, |server| {
            let role = server.role.ok_or(Problem::Down)?;
            ask(server, role)
        })
    }

    fn read(&mut self) -> Result<Position, Problem> {
        self.ask(|server, _| Ok(Position(server.position)))
    }

    fn write(&mut self) -> Result<Position, Problem> {
        self.ask(|server, role| {
            if role == Role::Replica {
                return Err(Problem::ReadOnly);
            }
            server.position += 1;
            Ok(Position(server.position))
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("the server is down")]
    Down,
    #[error("the server takes no writes")]
    ReadOnly,
}

impl Connector for Servers {
    type Connection = Connection;
    type Error = Problem;

    fn connect(&self, endpoint: &Endpoint, _: Instant) -> Result<Connection, Problem> {
        let connection = Connection {
            name: endpoint.address().to_owned(),
            servers: self.clone(),
        };
        connection.ask(|_, _| Ok(()))?;
        Ok(connection)
    }

    fn classify(&self, problem: &Problem) -> Fault {
        match problem {
            Problem::Down => Fault::ConnectionLost,
            Problem::ReadOnly => Fault::RoleChanged,
        }
    }
}

impl Prober for Servers {
    fn probe(&self, connection: &mut Connection, _: Instant) -> Result<Probe, Problem> {
        connection.ask(|server, role| {
            let epoch = Epoch {
                timeline: server.timeline + 1,
                term: 0,
            };
            Ok(Probe::new(
                role,
                SystemId(1),
                epoch,
                Position(server.position),
            ))
        })
    }
}
