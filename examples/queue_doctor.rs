//! Looks through the files of a queue that nobody has open, and mends them.
//!
//! ```sh
//! cargo run --features queue --example queue_doctor -- DIRECTORY            # changes nothing
//! cargo run --features queue --example queue_doctor -- DIRECTORY --repair
//! cargo run --features queue --example queue_doctor                         # on a queue of its own
//! ```

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tenfold::queue::Queue;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (options, directories): (Vec<_>, Vec<_>) = arguments
        .iter()
        .partition(|argument| argument.starts_with('-'));
    match (&directories[..], &options[..]) {
        ([], []) => {
            demonstrate()?;
            Ok(ExitCode::SUCCESS)
        }
        ([directory], []) => examine(Path::new(directory)),
        ([directory], [repair]) if *repair == "--repair" => {
            println!("{}", Queue::repair(directory)?);
            examine(Path::new(directory))
        }
        _ => {
            eprintln!("usage: queue_doctor [DIRECTORY [--repair]]");
            Ok(ExitCode::from(2))
        }
    }
}

/// Succeeds if nothing is damaged.
fn examine(directory: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let found = Queue::verify(directory)?;
    println!("{found}");
    Ok(if found.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn demonstrate() -> Result<(), Box<dyn Error>> {
    let directory = Directory::new()?;
    let path = &directory.0;
    let queue = Queue::builder().segments(16 << 10, 64 << 10).open(path)?;
    for number in 1..=50 {
        queue.publish(format!("order {number:02}, to be charged"))?;
    }
    queue.close()?;
    drop(queue);

    println!("-- a bit of message 17 flips, and a checkpoint is cut off");
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        let mut bytes = fs::read(&file)?;
        if let Some(at) = bytes.windows(8).position(|bytes| bytes == b"order 17") {
            bytes[at + 6] ^= 1;
            fs::write(&file, bytes)?;
        } else if file.extension().is_some_and(|kind| kind == "checkpoint") {
            bytes.truncate(100);
            fs::write(&file, bytes)?;
        }
    }
    let found = Queue::verify(path)?;
    println!("{found}");
    assert_eq!(found.lost.first(), Some(&(17..18)));

    println!("\n-- repaired");
    println!("{}", Queue::repair(path)?);
    println!("\n-- and looked through again");
    let found = Queue::verify(path)?;
    println!("{found}");
    assert!(found.is_clean());
    assert_eq!(Queue::repair(path)?.to_string(), "nothing had to be done");

    let queue = Queue::open(path)?;
    let orders = queue.consumer().recv_batch(100)?;
    assert_eq!(orders.len(), 49);
    println!("\n-- {} of 50 orders are delivered", orders.len());
    Ok(())
}

/// A directory that goes with the program.
struct Directory(PathBuf);

impl Directory {
    fn new() -> std::io::Result<Self> {
        let name = format!("tenfold-doctor-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
