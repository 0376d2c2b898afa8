use std::path::Path;
use std::process::Command;
use std::time::Duration;

use async_nats::jetstream::consumer::{PullConsumer, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use async_nats::jetstream::{self, Context};
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};

use super::server::{Server, installed};
use crate::queue::subject::{self, Answer, Contender, Level, Producer, Subject, reason};

pub(super) const CONTENDER: Contender = Contender {
    name: "nats",
    open,
    note: "nats-server JetStream on loopback, a work-queue stream in files: every publish is confirmed, a batch's together; fetch and explicit acks; syncs every two minutes by default",
    is_server: true,
};

const SUBJECT: &str = "jobs";

fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    let sync = match level {
        Level::Memory => return Err("is not in this process".into()),
        Level::Kill => "",
        Level::Power => {
            let version = version().ok_or("nats-server is not installed")?;
            if version < (2, 10) {
                let (major, minor) = version;
                return Err(format!(
                    "nats-server {major}.{minor} cannot sync each message, 2.10 and later can"
                ));
            }
            "sync_interval: always"
        }
    };
    std::fs::create_dir_all(directory).map_err(reason)?;
    let server = Server::start("nats-server", directory, |command, port| {
        let config = directory.join("nats.conf");
        let store = directory.display();
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{store}\" {sync} }}\n"
        );
        // If that fails, so does the server.
        let _ = std::fs::write(&config, text);
        command.arg("-c").arg(config);
    })?;
    let stream = Stream { server };
    let handle = stream.connect()?;
    handle.runtime.block_on(async {
        let config = Config {
            name: SUBJECT.into(),
            subjects: vec![SUBJECT.into()],
            retention: RetentionPolicy::WorkQueue,
            ..Config::default()
        };
        let made = handle.context.get_or_create_stream(config).await;
        let config = pull::Config {
            durable_name: Some(SUBJECT.into()),
            max_ack_pending: 10_000,
            ..pull::Config::default()
        };
        let made = made.map_err(reason)?;
        let made = made.get_or_create_consumer(SUBJECT, config).await;
        made.map_err(reason)
    })?;
    Ok(Box::new(stream))
}

/// Of the server that is installed.
fn version() -> Option<(u32, u32)> {
    let mut command = Command::new(installed("nats-server")?);
    let output = command.arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut numbers = text.trim().rsplit('v').next()?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

struct Stream {
    server: Server,
}

/// A connection with a runtime of its own, so that nothing hops between threads.
struct Handle {
    context: Context,
    runtime: Runtime,
}

impl Stream {
    fn connect(&self) -> Answer<Handle> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(reason)?;
        let address = self.server.address.to_string();
        let client = runtime.block_on(async_nats::connect(address));
        // It starts a task of its own.
        let inside = runtime.enter();
        let context = jetstream::new(client.map_err(reason)?);
        drop(inside);
        Ok(Handle { context, runtime })
    }
}

impl Subject for Stream {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(self.connect()?))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn subject::Consumer + '_>> {
        let handle = self.connect()?;
        let consumer = handle.runtime.block_on(
            handle
                .context
                .get_consumer_from_stream::<pull::Config, _, _>(SUBJECT, SUBJECT),
        );
        Ok(Box::new(Consumer {
            consumer: consumer.map_err(reason)?,
            handle,
        }))
    }

    fn process(&self) -> u32 {
        self.server.process()
    }
}

impl Producer for Handle {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        self.runtime.block_on(async {
            let mut confirmations = Vec::with_capacity(messages.len());
            for message in messages {
                let sent = self.context.publish(SUBJECT, message.into()).await;
                confirmations.push(sent.map_err(reason)?);
            }
            for confirmation in confirmations {
                confirmation.await.map_err(reason)?;
            }
            Ok(())
        })
    }
}

struct Consumer {
    consumer: PullConsumer,
    handle: Handle,
}

impl subject::Consumer for Consumer {
    fn consume(&mut self, most: usize, wait: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        self.handle.runtime.block_on(async {
            loop {
                // A fetch ends when nothing is there; a batch waits for as many as it asks for.
                let messages = if wait && most == 1 {
                    let expires = Duration::from_secs(30);
                    self.consumer
                        .batch()
                        .max_messages(1)
                        .expires(expires)
                        .messages()
                        .await
                } else {
                    self.consumer.fetch().max_messages(most).messages().await
                };
                let mut messages = messages.map_err(reason)?;
                let mut count = 0;
                while let Some(message) = messages.next().await {
                    let message = message.map_err(|error| error.to_string())?;
                    see(&message.payload);
                    message.ack().await.map_err(|error| error.to_string())?;
                    count += 1;
                }
                if count > 0 || !wait {
                    return Ok(count);
                }
            }
        })
    }

    fn waits(&self) -> bool {
        true
    }
}
