//! Journals in files, torn and damaged, and messages.

use std::fs;
use std::path::PathBuf;

use tenfold::router::migration::{
    Acknowledgement, Announcement, FileJournal, FileJournalError, Follower, Journal, MemoryJournal,
    Migration, MigrationError, Part, RecordError,
};
use tenfold::router::{Router, Topology};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let name = format!("tenfold-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("journal")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn records() -> Vec<Vec<u8>> {
    (0..6_u8).map(|n| vec![n; usize::from(n) * 3]).collect()
}

fn written(directory: &Directory) -> Vec<u8> {
    let mut journal = FileJournal::open(directory.file()).unwrap();
    for record in records() {
        journal.append(&record).unwrap();
    }
    drop(journal);
    fs::read(directory.file()).unwrap()
}

#[test]
fn a_file_cut_anywhere_has_the_records_before_the_cut_and_goes_on() {
    let directory = Directory::new("cut");
    let bytes = written(&directory);
    let all = records();
    let mut seen = vec![0; all.len() + 1];
    for len in 0..=bytes.len() {
        fs::write(directory.file(), &bytes[..len]).unwrap();
        let mut journal = FileJournal::open(directory.file()).unwrap();
        let mut found = journal.replay().unwrap();
        assert_eq!(found, all[..found.len()], "cut at {len}");
        seen[found.len()] += 1;
        journal.append(b"more").unwrap();
        drop(journal);
        found.push(b"more".to_vec());
        let again = FileJournal::open(directory.file()).unwrap().replay();
        assert_eq!(again.unwrap(), found, "cut at {len}");
    }
    // Each record is lost only by a cut within it or before it.
    assert!(seen.iter().all(|&cuts| cuts > 0), "{seen:?}");
    assert_eq!(seen[all.len()], 1);
}

#[test]
fn a_flipped_byte_is_refused_or_costs_the_last_record_alone() {
    let directory = Directory::new("flip");
    let bytes = written(&directory);
    let all = records();
    let last = bytes.len() - (28 + all[5].len());
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            fs::write(directory.file(), &damaged).unwrap();
            match FileJournal::open(directory.file()) {
                Ok(mut journal) => {
                    assert!(at >= last, "byte {at} was flipped and nobody noticed");
                    assert_eq!(journal.replay().unwrap(), all[..5]);
                }
                Err(error) => {
                    assert!(at < last, "{error}");
                    // What cannot be read stays as it is.
                    assert_eq!(fs::read(directory.file()).unwrap(), damaged);
                }
            }
        }
    }
}

#[test]
fn a_tail_of_garbage_is_cut_off() {
    let directory = Directory::new("garbage");
    let bytes = written(&directory);
    for garbage in [vec![0; 100], vec![0xff; 5], bytes[10..20].to_vec()] {
        fs::write(directory.file(), [bytes.clone(), garbage].concat()).unwrap();
        let mut journal = FileJournal::open(directory.file()).unwrap();
        assert_eq!(journal.replay().unwrap(), records());
        drop(journal);
        assert_eq!(fs::read(directory.file()).unwrap(), bytes);
    }
}

#[test]
fn replacing_is_all_or_nothing_and_goes_on() {
    let directory = Directory::new("replace");
    written(&directory);
    let mut journal = FileJournal::open(directory.file()).unwrap();
    journal.replace(&[b"short".to_vec()]).unwrap();
    journal.append(b"next").unwrap();
    drop(journal);
    // A crash while the other file is written leaves that beside this one.
    let mut other = directory.file().into_os_string();
    other.push(".new");
    fs::write(&other, b"10fold\x00J half of it").unwrap();
    let mut journal = FileJournal::open(directory.file()).unwrap();
    assert_eq!(
        journal.replay().unwrap(),
        [b"short".to_vec(), b"next".to_vec()]
    );
    journal.replace(&records()).unwrap();
    assert_eq!(journal.replay().unwrap(), records());
}

#[test]
fn strangers_newer_files_and_files_in_use_are_told_apart() {
    let directory = Directory::new("strange");
    let mut bytes = written(&directory);
    let open = FileJournal::open(directory.file()).unwrap();
    let second = FileJournal::open(directory.file()).unwrap_err();
    assert!(matches!(second, FileJournalError::InUse { .. }));
    drop(open);
    bytes[8] = 2;
    fs::write(directory.file(), &bytes).unwrap();
    let future = FileJournal::open(directory.file()).unwrap_err();
    let FileJournalError::FutureVersion {
        found: 2,
        supported: 1,
    } = future
    else {
        panic!("{future}");
    };
    fs::write(directory.file(), b"somebody's diary").unwrap();
    let strange = FileJournal::open(directory.file()).unwrap_err();
    assert!(matches!(strange, FileJournalError::Magic { .. }));
    assert_eq!(fs::read(directory.file()).unwrap(), b"somebody's diary");
}

fn two_to_three() -> (Router, Topology) {
    let old = Topology::builder().nodes(["a", "b"]).slots(16).build();
    let router = Router::new(old.unwrap());
    let new = router.topology().edit().node("c").build().unwrap();
    (router, new)
}

#[test]
fn records_that_make_no_sense_are_refused_and_the_router_stays() {
    let (router, new) = two_to_three();
    let kept = MemoryJournal::new();
    let mut migration = Migration::begin(&router, &new, kept.clone()).unwrap();
    let part = migration.part_ids().next().unwrap();
    migration.prepare(part).unwrap();
    drop(migration);
    let whole = kept.clone().replay().unwrap();
    let old = router.topology();
    for record in 0..whole.len() {
        for len in 0..whole[record].len() {
            let mut records = whole.clone();
            records[record].truncate(len);
            let mut journal = MemoryJournal::new();
            journal.replace(&records).unwrap();
            let fresh = Router::new(old.clone());
            let error = Migration::resume(&fresh, journal).unwrap_err();
            assert!(matches!(error, MigrationError::Record(_)), "{error}");
            fresh.swap(old.edit().build().unwrap()).unwrap();
        }
        for at in 0..whole[record].len() {
            let mut records = whole.clone();
            records[record][at] ^= 0x55;
            let mut journal = MemoryJournal::new();
            journal.replace(&records).unwrap();
            // Whatever comes of it, it does not panic.
            let _ = Migration::resume(&Router::new(old.clone()), journal);
        }
    }
    let mut future = whole;
    future[0][1] = 9;
    let mut journal = MemoryJournal::new();
    journal.replace(&future).unwrap();
    assert!(matches!(
        Migration::resume(&Router::new(old), journal).unwrap_err(),
        MigrationError::Record(RecordError::FutureVersion { found: 9, .. })
    ));
}

#[test]
fn messages_come_back_whole_or_are_refused() {
    let (router, new) = two_to_three();
    let there = Router::new(router.topology());
    let mut migration = Migration::begin(&router, &new, MemoryJournal::new()).unwrap();
    let told = migration.join("there", 1).unwrap();
    let mut follower = Follower::join(&there, &new, "there", &told).unwrap();
    let part = migration.part_ids().next().unwrap();
    migration.prepare(part).unwrap();
    follower.apply(&migration.announcement()).unwrap();
    migration.acknowledge(&follower.acknowledgement()).unwrap();
    migration.start_copying(part).unwrap();
    follower.apply(&migration.announcement()).unwrap();
    let key = (0..9999_u64).find(|key| migration.part_of(*key).map(Part::id) == Some(part));
    there.write_route(key.unwrap()).failed_second();
    let (told, answer) = (migration.announcement(), follower.acknowledgement());
    assert_eq!(Announcement::from_bytes(&told.to_bytes()), Ok(told.clone()));
    assert_eq!(
        Acknowledgement::from_bytes(&answer.to_bytes()),
        Ok(answer.clone())
    );
    for bytes in [told.to_bytes(), answer.to_bytes()] {
        let read = |bytes: &[u8]| {
            let told = Announcement::from_bytes(bytes).err();
            told.zip(Acknowledgement::from_bytes(bytes).err())
        };
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_some());
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(read(&damaged).is_some(), "byte {at}");
        }
        let mut future = bytes.clone();
        future[8] = 7;
        let (told, answer) = read(&future).unwrap();
        let is = |error: &RecordError| matches!(error, RecordError::FutureVersion { found: 7, .. });
        assert!(is(&told) || is(&answer));
    }
}
