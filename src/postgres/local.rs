use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Host, connection};
use crate::replica::Position;

/// A server on this machine: its data directory, and where PostgreSQL's programs are.
///
/// If this process is root's, the programs run as the owner of the data directory, as PostgreSQL demands.
///
/// ```
/// use tenfold::postgres::LocalHost;
///
/// let host = LocalHost::new("/var/lib/postgresql/15/main", "/usr/lib/postgresql/15/bin")
///     .options("-c config_file=/etc/postgresql/15/main/postgresql.conf")
///     .quarantine_port(15432);
/// # let _ = host;
/// ```
#[derive(Debug, Clone)]
pub struct LocalHost {
    data: PathBuf,
    programs: PathBuf,
    options: String,
    aside: PathBuf,
    quarantine_port: u16,
}

impl LocalHost {
    /// The server with this data directory, and the directory of `pg_ctl`, `pg_rewind` and `pg_waldump`.
    pub fn new(data: impl Into<PathBuf>, programs: impl Into<PathBuf>) -> Self {
        let data = data.into();
        let aside = data.with_extension("tenfold");
        Self {
            data,
            programs: programs.into(),
            options: String::new(),
            aside,
            quarantine_port: 54320,
        }
    }

    /// What the server is started with, as `pg_ctl -o` takes it.
    #[must_use]
    pub fn options(mut self, options: &str) -> Self {
        options.clone_into(&mut self.options);
        self
    }

    /// Where copies of the log go, and what the quarantined server says. By default beside the data directory, with
    /// `.tenfold` at the end.
    #[must_use]
    pub fn aside(mut self, directory: impl Into<PathBuf>) -> Self {
        self.aside = directory.into();
        self
    }

    /// The port, on loopback, of a server in quarantine. By default 54320.
    #[must_use]
    pub fn quarantine_port(mut self, port: u16) -> Self {
        self.quarantine_port = port;
        self
    }

    fn wal(&self) -> PathBuf {
        self.data.join("pg_wal")
    }

    fn signal_file(&self) -> PathBuf {
        self.data.join("standby.signal")
    }

    /// A program, as the owner of the data directory.
    fn program(&self, name: &str) -> io::Result<Command> {
        let mut command = Command::new(self.programs.join(name));
        command
            .current_dir(&self.data)
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
        run_as_owner(&mut command, &self.data)?;
        Ok(command)
    }

    fn control(&self, arguments: &[&str]) -> io::Result<()> {
        let mut command = self.program("pg_ctl")?;
        command.arg("-D").arg(&self.data).args(arguments);
        finish(command)
    }

    /// Whether a process has the data directory; if none has, the file that said so is gone afterwards.
    fn runs(&self) -> io::Result<bool> {
        let path = self.data.join("postmaster.pid");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(named(&path, &error)),
        };
        let alive = text.lines().next().is_some_and(is_alive);
        if !alive {
            fs::remove_file(&path).map_err(|error| named(&path, &error))?;
        }
        Ok(alive)
    }

    fn run(&self, options: &str) -> io::Result<()> {
        if self.runs()? {
            return Ok(());
        }
        self.make_aside()?;
        let log = self.aside.join("server.log");
        let log = log.to_string_lossy();
        self.control(&["start", "-w", "-o", options, "-l", &log])
    }

    fn make_aside(&self) -> io::Result<()> {
        fs::create_dir_all(&self.aside).map_err(|error| named(&self.aside, &error))?;
        give_to_owner(&self.aside, &self.data)
    }

    fn write(&self, path: &Path, content: &mut dyn Read) -> io::Result<()> {
        // Whoever looks finds all of it or nothing.
        let unfinished = path.with_extension("unfinished");
        let copied = File::create(&unfinished).and_then(|mut file| {
            io::copy(content, &mut file)?;
            file.sync_all()
        });
        copied
            .and_then(|()| give_to_owner(&unfinished, &self.data))
            .and_then(|()| fs::rename(&unfinished, path))
            .map_err(|error| named(path, &error))
    }
}

impl Host for LocalHost {
    fn fence(&self) -> io::Result<()> {
        // First, so that whatever restarts servers brings back a replica.
        self.write(&self.signal_file(), &mut io::empty())?;
        if self.runs()? {
            self.control(&["stop", "-m", "immediate", "-w"])?;
        }
        Ok(())
    }

    fn start(&self) -> io::Result<()> {
        self.run(&self.options)
    }

    fn stop(&self) -> io::Result<()> {
        if self.runs()? {
            self.control(&["stop", "-m", "fast", "-w"])?;
        }
        Ok(())
    }

    fn quarantine(&self) -> io::Result<String> {
        if !self.runs()? {
            let signal = self.signal_file();
            if signal.exists() {
                fs::remove_file(&signal).map_err(|error| named(&signal, &error))?;
            }
        }
        let port = self.quarantine_port;
        let options = format!(
            "{} -c listen_addresses=127.0.0.1 -p {port} -c default_transaction_read_only=on \
             -c autovacuum=off -c synchronous_standby_names= -c archive_mode=off",
            self.options
        );
        self.run(&options)?;
        Ok(format!("127.0.0.1:{port}"))
    }

    fn dump_wal(
        &self,
        timeline: u64,
        from: Position,
        line: &mut dyn FnMut(&str),
    ) -> io::Result<()> {
        // As it was before anything was started on it.
        let kept = self.aside.join("pg_wal");
        let mut command = self.program("pg_waldump")?;
        command
            .arg("-p")
            .arg(if kept.exists() { kept } else { self.wal() })
            .args(["-t", &timeline.to_string(), "-s", &from.to_string()])
            // All that is looked at; indexes are half of the lines.
            .args(RECORDS.iter().flat_map(|name| ["-r", name]))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut lines = 0_u64;
        if let Some(output) = child.stdout.take() {
            for found in BufReader::new(output).lines() {
                line(&found?);
                lines += 1;
            }
        }
        // It always ends with an error, at the end of the log; only one before the first record is one.
        let said = child.wait_with_output()?;
        if lines == 0 && !said.status.success() {
            return Err(failed("pg_waldump", &said.stderr));
        }
        Ok(())
    }

    fn read_wal(&self, name: &str) -> io::Result<Box<dyn Read>> {
        let path = self.wal().join(name);
        let file = File::open(&path).map_err(|error| named(&path, &error))?;
        Ok(Box::new(file))
    }

    fn keep_wal(&self, name: &str, content: &mut dyn Read) -> io::Result<()> {
        self.make_aside()?;
        self.write(&self.aside.join(name), content)
    }

    fn restore_command(&self) -> String {
        let aside = self.aside.to_string_lossy().replace('%', "%%");
        format!("cp \"{aside}/%f\" \"%p\"")
    }

    fn preserve_wal(&self) -> io::Result<String> {
        self.make_aside()?;
        let copy = self.aside.join("pg_wal");
        if !copy.exists() {
            let unfinished = self.aside.join("pg_wal.unfinished");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished)?;
            }
            fs::create_dir(&unfinished)?;
            for entry in fs::read_dir(self.wal())? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    let file = unfinished.join(entry.file_name());
                    fs::copy(entry.path(), &file)?;
                    give_to_owner(&file, &self.data)?;
                }
            }
            give_to_owner(&unfinished, &self.data)?;
            fs::rename(&unfinished, &copy)?;
        }
        Ok(copy.to_string_lossy().into_owned())
    }

    fn rewind(&self, primary: &str) -> io::Result<()> {
        if self.runs()? {
            return Err(io::Error::other(
                "the server has to be stopped before its data directory is rewound",
            ));
        }
        // It recovers a killed server by a start of its own, which refuses to be a replica.
        let signal = self.signal_file();
        if signal.exists() {
            fs::remove_file(&signal).map_err(|error| named(&signal, &error))?;
        }
        // It copies every file that differs, and the configuration is the other server's.
        let mut own = Vec::new();
        for name in CONFIGURATION {
            let path = self.data.join(name);
            match fs::read(&path) {
                Ok(content) => own.push((path, content)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(named(&path, &error)),
            }
        }
        let mut command = self.program("pg_rewind")?;
        command
            .arg("-D")
            .arg(&self.data)
            .args(["--source-server", primary]);
        let rewound = finish(command);
        for (path, content) in own {
            self.write(&path, &mut content.as_slice())?;
        }
        // Before anything else may start it.
        self.write(&signal, &mut io::empty())?;
        rewound
    }

    fn follow(&self, settings: &[(&str, String)]) -> io::Result<()> {
        let path = self.data.join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&path).map_err(|error| named(&path, &error))?;
        for (name, value) in settings {
            let ours = |line: &&str| line.split(['=', ' ']).next() != Some(name);
            text = text
                .lines()
                .filter(ours)
                .fold(String::new(), |text, line| text + line + "\n");
            text = format!("{text}{name} = {}\n", connection::setting(value));
        }
        self.write(&path, &mut text.as_bytes())?;
        self.write(&self.signal_file(), &mut io::empty())
    }
}

const RECORDS: [&str; 5] = ["Transaction", "Heap", "Heap2", "Standby", "XLOG"];

const CONFIGURATION: [&str; 4] = [
    "postgresql.conf",
    "postgresql.auto.conf",
    "pg_hba.conf",
    "pg_ident.conf",
];

fn finish(mut command: Command) -> io::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|error| named(Path::new(&name), &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(failed(&name, &said))
}

fn failed(program: &str, said: &[u8]) -> io::Error {
    let said = String::from_utf8_lossy(said);
    io::Error::other(format!("{program}: {}", said.trim()))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// A process that ended and that nobody asked about is none.
#[cfg(target_os = "linux")]
fn is_alive(pid: &str) -> bool {
    let process = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    process.is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| !state.starts_with('Z'))
    })
}

/// Where there is no telling, PostgreSQL finds out by itself.
#[cfg(not(target_os = "linux"))]
fn is_alive(_pid: &str) -> bool {
    true
}

#[cfg(unix)]
fn run_as_owner(command: &mut Command, data: &Path) -> io::Result<()> {
    use std::os::unix::{fs::MetadataExt, process::CommandExt};

    let owner = fs::metadata(data).map_err(|error| named(data, &error))?;
    if is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    Ok(())
}

#[cfg(unix)]
fn give_to_owner(path: &Path, data: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};

    if is_root() {
        let owner = fs::metadata(data)?;
        chown(path, Some(owner.uid()), Some(owner.gid())).map_err(|error| named(path, &error))?;
    }
    Ok(())
}

/// Whether this process may become another user, as far as the file system shows it.
#[cfg(unix)]
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;

    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(not(unix))]
fn run_as_owner(_command: &mut Command, _data: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn give_to_owner(_path: &Path, _data: &Path) -> io::Result<()> {
    Ok(())
}
