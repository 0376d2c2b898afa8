//! PostgreSQL's programs on this machine: where they are, whom they run as, and a fresh data directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The path of one of PostgreSQL's programs.
pub fn tool(name: &str) -> PathBuf {
    directory_of_tools().join(name)
}

/// Where PostgreSQL's programs are.
pub fn directory_of_tools() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut places: Vec<PathBuf> = Vec::new();
        places.extend(std::env::var_os("TENFOLD_PG_BIN").map(PathBuf::from));
        let path = std::env::var_os("PATH").unwrap_or_default();
        places.extend(std::env::split_paths(&path));
        let mut versions: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| {
                let version = entry.file_name().to_string_lossy().parse().unwrap_or(0);
                (version, entry.path().join("bin"))
            })
            .collect();
        versions.sort();
        places.extend(versions.into_iter().rev().map(|(_, place)| place));
        let needed = ["initdb", "postgres", "psql", "pg_rewind", "pg_waldump"];
        places
            .into_iter()
            .find(|place| needed.iter().all(|name| place.join(name).exists()))
            .unwrap_or_else(|| {
                panic!(
                    "PostgreSQL's programs ({}) were found neither in TENFOLD_PG_BIN nor in PATH nor in \
                     /usr/lib/postgresql/*/bin: install the Debian package `postgresql`",
                    needed.join(", ")
                )
            })
    })
}

/// A fresh data directory, as its files; `None` is a directory. Made once, kept in memory.
pub fn template() -> &'static BTreeMap<PathBuf, Option<Vec<u8>>> {
    static TEMPLATE: OnceLock<BTreeMap<PathBuf, Option<Vec<u8>>>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let root = new_directory();
        let data = root.join("template");
        let mut initdb = Command::new(tool("initdb"));
        run(as_user(&mut initdb).arg("-D").arg(&data).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--wal-segsize=1",
            "--data-checksums",
            "--no-sync",
        ]));
        let path = data.join("postgresql.conf");
        let settings = fs::read_to_string(&path).unwrap() + SETTINGS;
        fs::write(&path, settings).unwrap();
        let mut files = BTreeMap::new();
        read_tree(&data, Path::new(""), &mut files);
        fs::remove_dir_all(&root).unwrap();
        files
    })
}

const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 16MB
wal_level = logical
wal_log_hints = on
min_wal_size = 4MB
max_wal_size = 32MB
wal_keep_size = 16MB
wal_retrieve_retry_interval = 100ms
wal_receiver_status_interval = 1s
hot_standby_feedback = off
log_min_messages = warning
jit = off
";

fn read_tree(root: &Path, below: &Path, files: &mut BTreeMap<PathBuf, Option<Vec<u8>>>) {
    files.insert(below.to_owned(), None);
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            read_tree(root, &path, files);
        } else {
            let bytes = fs::read(entry.path()).unwrap();
            files.insert(path, Some(bytes));
        }
    }
}

pub fn new_directory() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tenfold-postgres-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    fs::create_dir(&path).unwrap();
    give(&path);
    path
}

/// Waits for the end of its input, which comes with the end of this process, then ends the servers and removes all.
pub fn watch(root: &Path) -> Child {
    let script = "trap '' INT TERM HUP; read -r _
        for file in \"$0\"/*/postmaster.pid; do
            [ -e \"$file\" ] && read -r pid < \"$file\" && kill -QUIT \"$pid\" 2> /dev/null
        done
        rm -rf \"$0\" || { sleep 1; rm -rf \"$0\"; }";
    Command::new("sh")
        .args(["-c", script])
        .arg(root)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Whom the servers run as, if it cannot be this process's user.
fn user() -> Option<(u32, u32)> {
    static FOUND: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
        root.then(|| {
            let accounts = BufReader::new(fs::File::open("/etc/passwd").unwrap());
            accounts
                .lines()
                .map_while(Result::ok)
                .find_map(|line| {
                    let fields: Vec<&str> = line.split(':').collect();
                    let [name, _, uid, gid, ..] = fields[..] else {
                        return None;
                    };
                    (name == "postgres").then_some((uid.parse().ok()?, gid.parse().ok()?))
                })
                .expect(
                    "PostgreSQL does not run as root, and there is no user `postgres`: install the Debian \
                     package `postgresql`, or run as another user",
                )
        })
    })
}

pub fn as_user(command: &mut Command) -> &mut Command {
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir(std::env::temp_dir())
}

/// Makes a file the servers' own.
pub fn give(path: &Path) {
    if let Some((uid, gid)) = user() {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
}

pub fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
