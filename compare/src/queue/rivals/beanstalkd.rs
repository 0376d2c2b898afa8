use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;

use super::server::Server;
use crate::queue::subject::{self, Answer, Contender, Level, Producer, Subject, reason};

pub(super) const CONTENDER: Contender = Contender {
    name: "beanstalkd",
    open,
    note: "a server on loopback: put, reserve, delete, pipelined in a batch; -f 50, or -f 0 for a power cut: a sync for each job; all in memory",
    is_server: true,
};

fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    let every = match level {
        Level::Memory => return Err("is not in this process".into()),
        Level::Kill => "50",
        Level::Power => "0",
    };
    let server = Server::start("beanstalkd", directory, |command, port| {
        command
            .args(["-l", "127.0.0.1", "-p"])
            .arg(port.to_string());
        command.arg("-b").arg(directory).args(["-f", every]);
    })?;
    Ok(Box::new(server))
}

impl Subject for Server {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(Handle::new(self.connect()?)))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn subject::Consumer + '_>> {
        Ok(Box::new(Handle::new(self.connect()?)))
    }

    fn process(&self) -> u32 {
        Server::process(self)
    }
}

/// A connection that speaks its protocol: lines, and bytes after some.
struct Handle {
    stream: BufReader<TcpStream>,
    /// What is to be sent.
    request: Vec<u8>,
}

impl Handle {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream: BufReader::with_capacity(1 << 16, stream),
            request: Vec::new(),
        }
    }

    fn send(&mut self) -> Answer<()> {
        let sent = self.stream.get_mut().write_all(&self.request);
        self.request.clear();
        sent.map_err(reason)
    }

    fn line(&mut self) -> Answer<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).map_err(reason)?;
        Ok(line.trim_end().to_owned())
    }

    fn expect(&mut self, answer: &str) -> Answer<()> {
        let line = self.line()?;
        if line.starts_with(answer) {
            return Ok(());
        }
        Err(format!("expected {answer} and got \"{line}\""))
    }
}

impl Producer for Handle {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        for message in &messages {
            let head = format!("put 0 0 600 {}\r\n", message.len());
            self.request.extend_from_slice(head.as_bytes());
            self.request.extend_from_slice(message);
            self.request.extend_from_slice(b"\r\n");
        }
        self.send()?;
        messages.iter().try_for_each(|_| self.expect("INSERTED"))
    }
}

impl subject::Consumer for Handle {
    fn consume(&mut self, most: usize, wait: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        let first: &[u8] = if wait {
            b"reserve\r\n"
        } else {
            b"reserve-with-timeout 0\r\n"
        };
        self.request.extend_from_slice(first);
        for _ in 1..most {
            self.request
                .extend_from_slice(b"reserve-with-timeout 0\r\n");
        }
        self.send()?;
        let mut ids = Vec::new();
        let mut message = Vec::new();
        for _ in 0..most {
            let line = self.line()?;
            if line == "TIMED_OUT" {
                continue;
            }
            let mut words = line.split(' ');
            let (Some("RESERVED"), Some(id), Some(Ok(size))) = (
                words.next(),
                words.next(),
                words.next().map(str::parse::<usize>),
            ) else {
                return Err(format!("expected RESERVED and got \"{line}\""));
            };
            message.resize(size + 2, 0);
            self.stream.read_exact(&mut message).map_err(reason)?;
            see(&message[..size]);
            ids.push(id.to_owned());
        }
        for id in &ids {
            let delete = format!("delete {id}\r\n");
            self.request.extend_from_slice(delete.as_bytes());
        }
        self.send()?;
        ids.iter().try_for_each(|_| self.expect("DELETED"))?;
        Ok(ids.len())
    }

    fn waits(&self) -> bool {
        true
    }
}
