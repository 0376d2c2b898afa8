use tenfold::replica::pool::*;
use tenfold::replica::*;
use tenfold::time::*;
struct Fake;
#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No;
impl Connector for Fake {
    type Connection = u64;
    type Error = No;
    fn connect(&self, _: &Endpoint, _: Instant) -> Result<u64, No> {
        Ok(7)
    }
    fn classify(&self, _: &No) -> Fault {
        Fault::Unknown
    }
}
fn main() {
    let mut args = std::env::args().skip(1);
    let n: usize = args.next().unwrap().parse().unwrap();
    let coarse = args.next().is_some();
    let clock = if coarse {
        Clock::coarse()
    } else {
        Clock::processor()
    };
    let pool = PoolOptions::new()
        .max_size(8)
        .clock(clock)
        .build(Fake, Endpoint::new("a", "b").unwrap())
        .unwrap();
    let all: Vec<_> = (0..8).map(|_| pool.get().unwrap()).collect();
    drop(all);
    std::thread::sleep(std::time::Duration::from_millis(1500));
    drop(pool.get().unwrap());
    let mut sum = 0;
    let t = std::time::Instant::now();
    for _ in 0..n {
        let c = pool.get().unwrap();
        sum += *c;
    }
    eprintln!("{sum} {:?} per", t.elapsed() / n as u32);
}
