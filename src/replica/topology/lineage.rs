use crate::replica::{Fork, Position};

/// Which line of the log left which, and where: what tells whether something written on an older line is on the
/// current one.
///
/// Sorted by timeline. Timelines that nobody told about are absent.
#[derive(Debug, Clone, Default)]
pub(super) struct Lineage(Vec<Branch>);

#[derive(Debug, Clone, Copy)]
struct Branch {
    timeline: u64,
    parent: u64,
    left_at: LeftAt,
}

/// Where a line left the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeftAt {
    Exactly(Position),
    /// Its server was seen to have so much of the one before; it may have had more.
    AtLeast(Position),
}

/// Whether what was written at a position of a line is on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Yes,
    /// The lines have parted before, here at the earliest.
    No(Position),
    /// They have parted here or later.
    Unproven(Position),
}

impl Lineage {
    /// What the primary tells about how its line came about.
    pub(super) fn learn(&mut self, history: &[Fork]) {
        for fork in history {
            // A line that leaves a later one is nonsense, and following it might not end.
            if fork.parent < fork.timeline {
                self.put(fork.timeline, fork.parent, LeftAt::Exactly(fork.at));
            }
        }
    }

    /// A server that had so much of a line is on a later one.
    pub(super) fn assume(&mut self, timeline: u64, parent: u64, reached: Position) {
        if parent < timeline {
            self.put(timeline, parent, LeftAt::AtLeast(reached));
        }
    }

    fn put(&mut self, timeline: u64, parent: u64, left_at: LeftAt) {
        let branch = Branch {
            timeline,
            parent,
            left_at,
        };
        match self.0.binary_search_by_key(&timeline, |b| b.timeline) {
            Err(at) => self.0.insert(at, branch),
            // What a primary tells holds, whatever was seen before. Of what was seen, the most does.
            Ok(at) => match (self.0[at].left_at, left_at) {
                (_, LeftAt::Exactly(_)) => self.0[at] = branch,
                (LeftAt::AtLeast(known), LeftAt::AtLeast(found)) if found > known => {
                    self.0[at] = branch;
                }
                _ => {}
            },
        }
    }

    /// Whether what was written on `timeline` up to `position` is on the line `current` as well.
    pub(super) fn kept(&self, timeline: u64, position: Position, current: u64) -> Kept {
        // Both go back to where they are the same line. What lies before each place where one left its parent is
        // on both.
        let (mut one, mut other) = (timeline, current);
        let mut answer = Kept::Yes;
        while one != other {
            let younger = if one > other { &mut one } else { &mut other };
            let Ok(at) = self.0.binary_search_by_key(younger, |b| b.timeline) else {
                return worst(answer, Kept::Unproven(Position(0)));
            };
            let branch = self.0[at];
            answer = worst(answer, branch.left_at.kept(position));
            *younger = branch.parent;
        }
        answer
    }
}

impl LeftAt {
    fn kept(self, position: Position) -> Kept {
        match self {
            Self::Exactly(at) | Self::AtLeast(at) if position <= at => Kept::Yes,
            Self::Exactly(at) => Kept::No(at),
            Self::AtLeast(at) => Kept::Unproven(at),
        }
    }
}

fn worst(one: Kept, other: Kept) -> Kept {
    match (one, other) {
        (Kept::Unproven(a), Kept::Unproven(b)) => Kept::Unproven(a.min(b)),
        // They may have parted before where they certainly have.
        (Kept::No(a), Kept::No(b) | Kept::Unproven(b)) | (Kept::Unproven(a), Kept::No(b)) => {
            Kept::No(a.min(b))
        }
        (Kept::No(at), Kept::Yes) | (Kept::Yes, Kept::No(at)) => Kept::No(at),
        (Kept::Unproven(at), _) | (_, Kept::Unproven(at)) => Kept::Unproven(at),
        (Kept::Yes, Kept::Yes) => Kept::Yes,
    }
}
