use std::collections::HashMap;

use serde_json::Value;

use crate::session::Loaded;

/// What becomes of a save when somebody else has saved since the session was loaded.
///
/// ```
/// use std::sync::Arc;
/// use tenfold::session::{Conflicts, MemoryStore, TowerSessions};
///
/// let store = Arc::new(MemoryStore::builder().build()?);
/// let store = TowerSessions::new(store).on_conflict(Conflicts::MergeKeys);
/// # let _ = store;
/// # Ok::<(), tenfold::session::BuildError>(())
/// ```
///
/// To find out, the last two keep a note among the data of every session that they hand out, under the key
/// `__tenfold_v`. It is never stored, and no key of tower-sessions' users should have that name. A save without it, of a session
/// whose data was [cleared](tower_sessions_core::Session::clear), replaces whatever there is. Of one request that saves several times
/// each save after the first is compared with what the one before has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflicts {
    /// It replaces what the other has saved, as in the stores of tower-sessions.
    #[default]
    LastWriterWins,
    /// It is an error, and nothing is saved: of a layer, the request is answered with a 500.
    Refuse,
    /// Its keys that changed since the load are put into what is there now; of one that both have changed the later
    /// value stays. A key that is changed, saved, and changed back in the same request, after somebody else has saved
    /// in between, stays as it was saved first. The note holds the data once more.
    MergeKeys,
}

pub(super) type Data = HashMap<String, Value>;

/// What is noted in the data of a session that is handed out.
#[derive(Debug, PartialEq)]
pub(super) struct Note {
    /// Who has it: drawn by each load, and stored with what they save.
    pub(super) holder: u64,
    /// The version they have.
    version: u64,
    /// The data as it was.
    base: Option<Data>,
}

/// What a save is to do.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    /// Nobody else has saved, or it does not matter.
    Replace,
    Refuse,
    /// This is to be saved instead.
    Merge(Data),
}

impl Conflicts {
    /// Whether what is handed out has a note.
    pub(super) fn are_noticed(self) -> bool {
        self != Self::LastWriterWins
    }

    /// Puts a note into data that is about to be handed out.
    pub(super) fn note(self, data: &mut Data, holder: u64, version: u64) {
        let mut note = serde_json::Map::new();
        note.insert(HOLDER.to_owned(), holder.into());
        note.insert(VERSION.to_owned(), version.into());
        if self == Self::MergeKeys {
            let base = data.clone().into_iter().collect();
            note.insert(BASE.to_owned(), Value::Object(base));
        }
        data.insert(NOTE.to_owned(), Value::Object(note));
    }

    /// What to do with data that is to be saved over what is there.
    pub(super) fn decide(
        self,
        data: &Data,
        note: Option<&Note>,
        there: &Loaded,
        last: u64,
        read: impl FnOnce() -> Option<Data>,
    ) -> Decision {
        let Some(note) = note else {
            return Decision::Replace;
        };
        if there.version().to_u64() == note.version || last == note.holder {
            return Decision::Replace;
        }
        match (self, &note.base) {
            (Self::LastWriterWins, _) => Decision::Replace,
            (Self::MergeKeys, Some(base)) => match read() {
                Some(mut there) => {
                    merge(base, data, &mut there);
                    Decision::Merge(there)
                }
                None => Decision::Refuse,
            },
            // Handed out by a store that refuses.
            (Self::MergeKeys, None) | (Self::Refuse, _) => Decision::Refuse,
        }
    }
}

impl Note {
    /// Takes the note out of data that came back.
    pub(super) fn take(data: &mut Data) -> Option<Self> {
        let Value::Object(mut note) = data.remove(NOTE)? else {
            return None;
        };
        let number = |note: &serde_json::Map<String, Value>, name| note.get(name)?.as_u64();
        let (holder, version) = (number(&note, HOLDER)?, number(&note, VERSION)?);
        let base = match note.remove(BASE) {
            Some(Value::Object(base)) => Some(base.into_iter().collect()),
            _ => None,
        };
        Some(Self {
            holder,
            version,
            base,
        })
    }
}

/// Makes the changes from `base` to `data` in what is there.
fn merge(base: &Data, data: &Data, there: &mut Data) {
    for key in base.keys().filter(|key| !data.contains_key(*key)) {
        there.remove(key);
    }
    let changed = data
        .iter()
        .filter(|(key, value)| base.get(*key) != Some(*value));
    there.extend(changed.map(|(key, value)| (key.clone(), value.clone())));
}

const NOTE: &str = "__tenfold_v";
const HOLDER: &str = "holder";
const VERSION: &str = "version";
const BASE: &str = "base";
