mod fleet;
fn main() {
    let n = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(300_000);
    for s in fleet::scenarios() {
        print!("{:44}", s.name);
        for by in fleet::SENDERS {
            let o = fleet::run(&s, by, n, 1).unwrap();
            print!(" {:8.1}/{:8.1}/{:6.3}", o.p99, o.p999, o.errors);
        }
        println!();
    }
}
