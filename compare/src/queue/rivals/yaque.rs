use std::path::Path;

use ::yaque::{Receiver, Sender, TryRecvError, TrySendError, recovery};
use futures::executor::block_on;
use parking_lot::{Mutex, MutexGuard};

use crate::queue::subject::{self, Answer, Contender, Level, Producer, Subject, reason};

pub(in crate::queue) const NAME: &str = "yaque";

pub(super) const CONTENDER: Contender = Contender {
    name: NAME,
    open,
    note: "never syncs: a power cut takes what the kernel had not written; no checksum of payloads; one receiver, in order; its position is saved every 250 messages",
    is_server: false,
};

fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    match level {
        Level::Memory => return Err("always writes to its file".into()),
        Level::Power => return Err("never syncs".into()),
        Level::Kill => {}
    }
    if directory.exists() {
        // What a killed process leaves behind.
        recovery::recover(directory).map_err(reason)?;
    }
    let (sender, receiver) = ::yaque::channel(directory).map_err(reason)?;
    Ok(Box::new(Yaque {
        sender: Mutex::new(sender),
        receiver: Mutex::new(receiver),
    }))
}

struct Yaque {
    sender: Mutex<Sender>,
    receiver: Mutex<Receiver>,
}

impl Subject for Yaque {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(&self.sender))
    }

    fn consumer(&self, _: bool) -> Answer<Box<dyn subject::Consumer + '_>> {
        Ok(Box::new(Consumer(self.receiver.lock())))
    }
}

impl Producer for &Mutex<Sender> {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        let mut sender = self.lock();
        if let [message] = &*messages {
            sender.try_send(message).map_err(refused)
        } else {
            sender.try_send_batch(&messages).map_err(refused)
        }
    }
}

fn refused<T>(error: TrySendError<T>) -> String {
    match error {
        TrySendError::Io(error) => reason(error),
        TrySendError::QueueFull { .. } => "the queue is full".into(),
    }
}

struct Consumer<'a>(MutexGuard<'a, Receiver>);

impl subject::Consumer for Consumer<'_> {
    fn consume(&mut self, most: usize, wait: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        if most == 1 {
            let received = if wait {
                block_on(self.0.recv()).map_err(TryRecvError::Io)
            } else {
                self.0.try_recv()
            };
            let Some(message) = there(received)? else {
                return Ok(0);
            };
            see(&message);
            message.commit().map_err(reason)?;
            return Ok(1);
        }
        let received = if wait {
            block_on(self.0.recv_batch_up_to(most)).map_err(TryRecvError::Io)
        } else {
            self.0.try_recv_batch_up_to(most)
        };
        let Some(messages) = there(received)? else {
            return Ok(0);
        };
        messages.iter().for_each(|message| see(message));
        let count = messages.len();
        messages.commit().map_err(reason).map(|()| count)
    }

    fn waits(&self) -> bool {
        true
    }
}

fn there<T>(received: Result<T, TryRecvError>) -> Answer<Option<T>> {
    match received {
        Ok(received) => Ok(Some(received)),
        Err(TryRecvError::QueueEmpty) => Ok(None),
        Err(TryRecvError::Io(error)) => Err(reason(error)),
    }
}
