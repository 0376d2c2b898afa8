//! Tokens that browsers hold, signed by an issuer and verified by every server for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use tenfold::session::sticky::NodeNumber;
use tenfold::session::token::{KeyRing, TokenError, TokenIssuer, TokenPair, TokenVerifier};
use tenfold::session::{UserId, WallClock};

use super::day::{Answer, Result, Tier};
use super::shared::Fleet;

pub(super) struct Tokens {
    fleet: Fleet,
    wall: WallClock,
    /// On a machine of its own; servers hear from it who was logged out.
    issuer: TokenIssuer,
    verifiers: BTreeMap<NodeNumber, TokenVerifier>,
}

impl Tokens {
    fn start(&mut self, node: NodeNumber) -> Result<()> {
        let verifier = TokenVerifier::builder(ring()?)
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .denylist(self.issuer.denylist())
            .clock(self.wall.clone())
            .build()?;
        self.verifiers.insert(node, verifier);
        Ok(())
    }
}

fn ring() -> Result<KeyRing> {
    let ring = KeyRing::builder().hs256("2026-11", &[7; 32]);
    Ok(ring.active("2026-11").build()?)
}

impl Tier for Tokens {
    type Ticket = TokenPair;

    fn of(servers: u16, wall: &WallClock) -> Result<Self> {
        let issuer = TokenIssuer::builder(ring()?)
            .issuer(ISSUER)
            .audience(AUDIENCE)
            .access_ttl(ACCESS)
            .clock(wall.clone())
            .build()?;
        let mut tier = Self {
            fleet: Fleet::of(servers),
            wall: wall.clone(),
            issuer,
            verifiers: BTreeMap::new(),
        };
        for number in 0..servers {
            tier.start(NodeNumber::new(number))?;
        }
        Ok(tier)
    }

    fn log_in(&mut self, user: &UserId, _: Option<&TokenPair>) -> Result<TokenPair> {
        Ok(self.issuer.log_in(user.clone(), "")?)
    }

    fn request(&mut self, pair: &mut TokenPair) -> Result<Answer> {
        let Some(verifier) = self.fleet.pick().and_then(|node| self.verifiers.get(&node)) else {
            return Ok(Answer::Refused);
        };
        if self.wall.now() >= pair.expires() {
            match self.issuer.refresh(pair.refresh()) {
                Ok(refreshed) => *pair = refreshed.into_pair(),
                Err(_) => return Ok(Answer::LoggedOut),
            }
        }
        match verifier.verify(pair.access(), |_| ()) {
            Ok(()) => Ok(Answer::Served),
            Err(TokenError::Revoked(_)) => Ok(Answer::LoggedOut),
            Err(error) => Err(error.into()),
        }
    }

    fn place(_: &TokenPair) -> Option<NodeNumber> {
        None
    }

    fn die(&mut self, node: NodeNumber) {
        self.fleet.die(node);
        self.verifiers.remove(&node);
    }

    fn miss(&mut self, node: NodeNumber) -> Result<()> {
        self.fleet.remove(node);
        Ok(())
    }

    fn join(&mut self, node: NodeNumber) -> Result<()> {
        self.fleet.join(node);
        self.start(node)
    }

    fn drain(&mut self, node: NodeNumber, _: u64) -> Result<()> {
        self.fleet.remove(node);
        Ok(())
    }

    fn stop(&mut self, node: NodeNumber) -> bool {
        self.verifiers.remove(&node);
        true
    }

    fn maintain(&mut self) {}

    fn log_out_everywhere(&mut self, user: &UserId, _: &mut TokenPair) -> Result<()> {
        self.issuer.log_out_everywhere(user.clone());
        Ok(())
    }
}

const ISSUER: &str = "https://shop.example";
const AUDIENCE: &str = "shop";
/// Short enough that every browser refreshes some times in the day.
const ACCESS: Duration = Duration::from_secs(30);
