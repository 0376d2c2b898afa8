//! What nobody can be faster than: system calls alone, and a copy in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;

use super::subject::{Answer, Consumer, Contender, Level, Producer, Subject, reason};

pub(super) const FLOOR: &str = "floor";

/// By level: copying, one write a call, or a write and an fdatasync a call into a file of zeros.
pub(super) const CONTENDER: Contender = Contender {
    name: FLOOR,
    open,
    note: "a copy in memory; or a write a call; or a pwrite and an fdatasync a call, into a file that was filled with zeros, and for acks that must last; taking from memory",
    is_server: false,
};

const FILE: u64 = 16 << 20;

fn open(directory: &Path, level: Level) -> Answer<Box<dyn Subject>> {
    std::fs::create_dir_all(directory).map_err(reason)?;
    let mut file = File::create(directory.join("floor")).map_err(reason)?;
    if level == Level::Power {
        file.write_all(&vec![0; FILE as usize]).map_err(reason)?;
        file.sync_all().map_err(reason)?;
    }
    Ok(Box::new(Floor {
        level,
        end: Mutex::new(End {
            file,
            at: 0,
            buffer: Vec::new(),
            pending: VecDeque::new(),
        }),
    }))
}

struct Floor {
    level: Level,
    end: Mutex<End>,
}

struct End {
    file: File,
    at: u64,
    buffer: Vec<u8>,
    /// What is pending, in memory.
    pending: VecDeque<Vec<u8>>,
}

impl Subject for Floor {
    fn producer(&self) -> Answer<Box<dyn Producer + '_>> {
        Ok(Box::new(self))
    }

    fn consumer(&self, durable_acks: bool) -> Answer<Box<dyn Consumer + '_>> {
        Ok(Box::new(Reader {
            floor: self,
            durable_acks,
        }))
    }

    fn is_floor(&self) -> bool {
        true
    }
}

impl Producer for &Floor {
    fn publish(&mut self, messages: Vec<Vec<u8>>) -> Answer<()> {
        let mut end = self.end.lock();
        if self.level != Level::Memory || end.buffer.len() > 1 << 20 {
            end.buffer.clear();
        }
        for message in &messages {
            end.buffer.extend_from_slice(message);
        }
        end.pending.extend(messages);
        match self.level {
            Level::Memory => Ok(()),
            Level::Kill => end.append(),
            Level::Power => end.sync(),
        }
    }
}

impl End {
    fn append(&mut self) -> Answer<()> {
        self.file.write_all(&self.buffer).map_err(reason)
    }

    fn sync(&mut self) -> Answer<()> {
        if self.at + self.buffer.len() as u64 > FILE {
            self.at = 0;
        }
        let written = self.file.write_all_at(&self.buffer, self.at);
        written.map_err(reason)?;
        self.at += self.buffer.len() as u64;
        self.file.sync_data().map_err(reason)
    }
}

/// Takes from memory; an acknowledgement that must last is another sync.
struct Reader<'a> {
    floor: &'a Floor,
    durable_acks: bool,
}

impl Consumer for Reader<'_> {
    fn consume(&mut self, most: usize, _: bool, see: &mut dyn FnMut(&[u8])) -> Answer<usize> {
        let mut end = self.floor.end.lock();
        let count = most.min(end.pending.len());
        end.pending.drain(..count).for_each(|message| see(&message));
        if self.durable_acks && count > 0 {
            end.buffer.clear();
            end.buffer.extend_from_slice(&[0; 40]);
            end.sync()?;
        }
        Ok(count)
    }
}
