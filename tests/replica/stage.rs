//! Scenes of a cluster in short, for tables of cases.
//!
//! A scene is words like `a:p`, each something that happens to the server of that letter, in order:
//!
//! ```text
//! p     answers as a primary      @N  at this position, 100 if not said     ~N  a lag of so many ms
//! r     answers as a replica      /N  on this timeline, 1 if not said       !   receives from nobody
//! x     does not answer           .N  in this term, 0 if not said           ^   receives
//! zp zr belongs to another cluster    >b  receives from that server         <N  its line left the one before there
//! eof   a connection is lost      ov tr q   an overload, a passing failure, an error of the statement
//! lost  the same, and what was sent may be done
//! 25006 a write was refused       after these: - of an older generation, + of one that is yet to come
//! drain remove add hurry          wait:N  so many ms pass
//! ```
//!
//! The servers are the letters up to the largest; `a` is thought to be the primary.

use std::time::Duration;

use tenfold::replica::topology::{
    Effect, Fenced, Input, Node, NodeId, NodeState, ProbeId, Selection, Settings, SettingsBuilder,
    Topology, step,
};
use tenfold::replica::{Endpoint, Epoch, Fault, Fork, Position, Probe, Role, SystemId};
use tenfold::time::Instant;

pub(crate) const SYSTEM: SystemId = SystemId(7);

pub(crate) struct Stage {
    topology: Option<Topology>,
    pub(crate) now: Instant,
    asked: Vec<Option<ProbeId>>,
    /// What the last word led to.
    pub(crate) effects: Vec<Effect>,
}

impl Stage {
    pub(crate) fn play(scene: &str) -> Self {
        Self::play_with(scene, |settings| settings)
    }

    pub(crate) fn play_with(
        scene: &str,
        change: impl FnOnce(SettingsBuilder) -> SettingsBuilder,
    ) -> Self {
        let words = || {
            scene
                .split_whitespace()
                .filter_map(|word| word.split_once(':'))
        };
        let is_new = |who: &str| {
            words()
                .find(|(name, _)| *name == who)
                .is_some_and(|(_, what)| what == "add")
        };
        let letters = words().filter(|(who, _)| !is_new(who));
        let last = letters
            .filter(|(who, _)| who.len() == 1)
            .map(|(who, _)| who)
            .max();
        let last = last.unwrap().chars().next().unwrap();
        let mut settings = Settings::builder().primary(endpoint('a'));
        for letter in 'b'..=last {
            settings = settings.replica(endpoint(letter));
        }
        let now = Instant::from_nanos(1_000_000_000);
        let (topology, effects) = Topology::new(change(settings).build().unwrap(), now);
        let mut stage = Self {
            topology: Some(topology),
            now,
            asked: vec![None; 64],
            effects: Vec::new(),
        };
        stage.note(effects);
        for word in scene.split_whitespace() {
            stage.effects.clear();
            stage.act(word);
        }
        stage
    }

    pub(crate) fn topology(&self) -> &Topology {
        self.topology.as_ref().unwrap()
    }

    pub(crate) fn node(&self, letter: &str) -> &Node {
        self.topology()
            .find(letter)
            .unwrap_or_else(|| panic!("no {letter}"))
    }

    pub(crate) fn give(&mut self, input: Input) {
        let (topology, effects) = step(self.topology.take().unwrap(), input, self.now);
        self.topology = Some(topology);
        self.note(effects);
    }

    fn note(&mut self, effects: Vec<Effect>) {
        for effect in &effects {
            if let Effect::Probe { node, probe, .. } = effect {
                self.asked[node.index()] = Some(*probe);
            }
        }
        self.effects.extend(effects);
    }

    pub(crate) fn act(&mut self, word: &str) {
        let (who, what) = word.split_once(':').unwrap();
        if who == "wait" {
            return self.wait(what.parse().unwrap());
        }
        if what == "add" {
            return self.give(Input::Add(endpoint(who.chars().next().unwrap())));
        }
        let node = self.node(who);
        let (id, generation) = (node.id(), node.generation());
        let of_another = what.strip_suffix('-').map(|what| (what, generation - 1));
        let of_another = of_another.or(what.strip_suffix('+').map(|what| (what, generation + 1)));
        let (fault, generation) = of_another.unwrap_or((what, generation));
        let fault = match fault {
            "eof" => Some(Fault::ConnectionLost),
            "lost" => Some(Fault::Unknown),
            "25006" => Some(Fault::RoleChanged),
            "ov" => Some(Fault::Overload),
            "tr" => Some(Fault::Transient),
            "q" => Some(Fault::Query),
            _ => None,
        };
        let input = match what {
            _ if fault.is_some() => Input::Faulted {
                node: id,
                generation,
                fault: fault.unwrap(),
            },
            "drain" => Input::Drain(id),
            "remove" => Input::Remove(id),
            "hurry" => Input::Hurry(id),
            _ => {
                self.give(Input::Hurry(id));
                self.effects.clear();
                let probe = self.asked[id.index()].take().unwrap();
                match what {
                    "x" => Input::Unanswered { node: id, probe },
                    _ => Input::Answered {
                        node: id,
                        probe,
                        answer: answer(what),
                        rtt: Duration::from_millis(1),
                    },
                }
            }
        };
        self.give(input);
    }

    /// Lets time pass, with a tick whenever one is due. Nobody answers.
    fn wait(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.topology().wake_at() <= end {
            self.now = self.topology().wake_at();
            self.give(Input::Tick);
        }
        self.now = end;
        self.give(Input::Tick);
    }

    fn name(&self, id: NodeId) -> String {
        self.topology().node(id).unwrap().endpoint().name().into()
    }

    /// Where a read goes.
    pub(crate) fn goes(&self, selection: &Selection) -> String {
        let name = |id| self.name(id);
        match selection {
            Selection::Nodes(nodes) => nodes.iter().map(name).collect::<Vec<_>>().join(" "),
            Selection::Primary(node) => format!("primary {}", name(*node)),
            Selection::Fallback(node) => format!("fallback {}", name(*node)),
            Selection::Wait {
                replica,
                position,
                fallback,
                ..
            } => {
                let (replica, position) = (name(*replica), position.0);
                let then = fallback.map_or("nobody".into(), name);
                format!("wait for {replica} to have {position}, then {then}")
            }
            other => format!("{other:?}"),
        }
    }

    /// `phase, who takes writes and in which timeline | who serves reads | who else is how`
    pub(crate) fn describe(&self) -> String {
        let topology = self.topology();
        let name = |id| self.name(id);
        let timeline = topology.epoch().map_or(0, |epoch| epoch.timeline);
        let writer = topology
            .writer()
            .map(|id| format!(" {}{timeline}", name(id)));
        let reads: Vec<String> = topology.serving().iter().map(name).collect();
        let odd = topology.nodes().filter_map(|node| {
            let how = match node.state() {
                NodeState::Healthy => return None,
                NodeState::Unknown => "unknown",
                NodeState::CatchingUp { .. } => "catching up",
                NodeState::Suspect => "suspect",
                NodeState::Ejected { .. } => "out",
                NodeState::Lagging => "lagging",
                NodeState::Draining => "draining",
                NodeState::Fenced(Fenced::StalePrimary) => "stale",
                NodeState::Fenced(Fenced::SameEpoch) => "twin",
                NodeState::Fenced(Fenced::UnconfirmedEpoch) => "unconfirmed",
                NodeState::Fenced(Fenced::OtherCluster) => "alien",
                NodeState::Fenced(Fenced::Diverged) => "diverged",
                other => panic!("{other:?}"),
            };
            Some(format!("{} {how}", node.endpoint().name()))
        });
        let odd: Vec<String> = odd.collect();
        let writer = writer.unwrap_or_default();
        let parts = [
            format!("{}{writer}", topology.phase()),
            reads.join(" "),
            odd.join(", "),
        ];
        parts.join(" | ").trim_end_matches([' ', '|']).to_owned()
    }

    /// The connections that the last word had dropped.
    pub(crate) fn purged(&self) -> String {
        let topology = self.topology();
        let purged = self.effects.iter().filter_map(|effect| match effect {
            Effect::Purge { node, .. } => Some(topology.node(*node)?.endpoint().name()),
            _ => None,
        });
        purged.collect::<Vec<_>>().join(" ")
    }
}

/// All are in one data centre, `a` and `c` in one zone of it, `b` and `d` in another; `d` is for reports.
fn endpoint(letter: char) -> Endpoint {
    let name = letter.to_string();
    let zone = if (letter as u32).is_multiple_of(2) {
        "2"
    } else {
        "1"
    };
    let endpoint = Endpoint::new(&name, &format!("{name}:1")).unwrap();
    let endpoint = endpoint.tag("dc", "x").tag("zone", zone);
    if letter == 'd' {
        endpoint.tag("for", "reports")
    } else {
        endpoint
    }
}

fn answer(word: &str) -> Probe {
    let (word, system) = match word.strip_prefix('z') {
        Some(word) => (word, SystemId(8)),
        None => (word, SYSTEM),
    };
    let role = match word.as_bytes()[0] {
        b'p' => Role::Primary,
        b'r' => Role::Replica,
        _ => panic!("no such word: {word}"),
    };
    let number = |mark| {
        let (_, rest) = word.split_once(mark)?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()
    };
    let epoch = Epoch {
        timeline: number('/').unwrap_or(1),
        term: number('.').unwrap_or(0),
    };
    let mut probe = Probe::new(role, system, epoch, Position(number('@').unwrap_or(100)));
    probe.lag = number('~').map(Duration::from_millis);
    if word.contains('!') {
        probe.receiving = Some(false);
    }
    if word.contains('^') {
        probe.receiving = Some(true);
    }
    if let Some((_, from)) = word.split_once('>') {
        probe.receiving = Some(true);
        probe.upstream = Some(format!("{}:1", &from[..1]).into());
    }
    if let Some(at) = number('<') {
        probe.history = vec![Fork {
            timeline: epoch.timeline,
            parent: epoch.timeline - 1,
            at: Position(at),
        }];
    }
    probe
}
