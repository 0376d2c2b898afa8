//! A server beside us: on loopback, on a port of its own, in a directory of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::queue::subject::{Answer, nap, reason};

/// Killed, not asked to end, when it is dropped.
pub(super) struct Server {
    child: Child,
    pub(super) address: SocketAddr,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Server {
    /// Starts a program that is told its port, and waits until it answers.
    pub(super) fn start(
        program: &str,
        directory: &Path,
        arguments: impl FnOnce(&mut Command, u16),
    ) -> Answer<Self> {
        let Some(path) = installed(program) else {
            return Err(format!("{program} is not installed"));
        };
        std::fs::create_dir_all(directory).map_err(reason)?;
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(reason)?;
        let address = free.local_addr().map_err(reason)?;
        drop(free);
        let mut command = Command::new(path);
        command.current_dir(directory);
        command.stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        arguments(&mut command, address.port());
        let child = command.spawn().map_err(reason)?;
        let mut server = Self { child, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("{program} ended at once, with {status}"));
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("{program} did not answer in {PATIENCE:?}"));
            }
            nap(Duration::from_millis(1));
        }
        Ok(server)
    }

    pub(super) fn connect(&self) -> Answer<TcpStream> {
        let stream = TcpStream::connect(self.address).map_err(reason)?;
        stream.set_nodelay(true).map_err(reason)?;
        Ok(stream)
    }

    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a program is. Debian keeps some servers where a user's path does not look.
pub(super) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}
