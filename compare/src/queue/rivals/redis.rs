use std::path::Path;
use std::time::Duration;

use ::redis::streams::{StreamReadOptions, StreamReadReply};
use ::redis::{Client, Commands, Connection, Value, cmd, pipe};

use super::server::Server;
use crate::queue::subject::{self, Answer, Contender, Level, Producer, Subject, nap, reason};

pub(super) const CONTENDER: Contender = Contender {
    name: "redis",
    open,
    note: "redis-server on loopback, a stream and a group: XADD, XREADGROUP, XACK with XDEL, a pipeline a batch; appendfsync everysec, or always for a power cut; all in memory; what it rewrites it compresses",
    is_server: true,
};

const STREAM: &str = "jobs";
const GROUP: &str = "workers";

fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    let appendfsync = match level {
        Level::Memory => return Err("is not in this process".into()),
        Level::Kill => "everysec",
        Level::Power => "always",
    };
    let server = Server::start("redis-server", directory, |command, port| {
        command.arg("--port").arg(port.to_string());
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", appendfsync]);
    })?;
    let stream = Stream { server };
    let mut connection = stream.connect()?;
    // It answers before it has read what it had.
    loop {
        let made: ::redis::RedisResult<Value> = cmd("XGROUP")
            .arg("CREATE")
            .arg(STREAM)
            .arg(GROUP)
            .arg("0")
            .arg("MKSTREAM")
            .query(&mut connection);
        match made {
            Err(error) if error.code() == Some("LOADING") => {
                nap(Duration::from_millis(1));
            }
            Err(error) if error.code() == Some("BUSYGROUP") => break,
            made => {
                made.map_err(reason)?;
                break;
            }
        }
    }
    Ok(Box::new(stream))
}

struct Stream {
    server: Server,
}

impl Stream {
    fn connect(&self) -> Answer<Connection> {
        let client = Client::open(format!("redis://{}/", self.server.address));
        client
            .and_then(|client| client.get_connection())
            .map_err(reason)
    }
}

impl Subject for Stream {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(Handle(self.connect()?)))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn subject::Consumer + '_>> {
        Ok(Box::new(Handle(self.connect()?)))
    }

    fn process(&self) -> u32 {
        self.server.process()
    }
}

struct Handle(Connection);

impl Producer for Handle {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        let mut commands = pipe();
        for message in &messages {
            commands.xadd(STREAM, "*", &[("m", message)]).ignore();
        }
        commands.query(&mut self.0).map_err(reason)
    }
}

impl subject::Consumer for Handle {
    fn consume(&mut self, most: usize, wait: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        let mut options = StreamReadOptions::default().group(GROUP, "one").count(most);
        if wait {
            options = options.block(0);
        }
        let reply: Option<StreamReadReply> = self
            .0
            .xread_options(&[STREAM], &[">"], &options)
            .map_err(reason)?;
        let keys = reply.map(|reply| reply.keys).unwrap_or_default();
        let mut ids = Vec::new();
        for entry in keys.into_iter().flat_map(|key| key.ids) {
            if let Some(Value::BulkString(message)) = entry.map.get("m") {
                see(message);
            }
            ids.push(entry.id);
        }
        if !ids.is_empty() {
            let mut commands = pipe();
            commands.xack(STREAM, GROUP, &ids).ignore();
            commands.xdel(STREAM, &ids).ignore();
            commands.query::<()>(&mut self.0).map_err(reason)?;
        }
        Ok(ids.len())
    }

    fn waits(&self) -> bool {
        true
    }
}
