//! A cluster grows and loses a node: what moves, and who takes over.
//!
//! `cargo run --release --features router --example router`

use tenfold::router::{Node, Policy, Router, Spread, Topology};

const USERS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{USERS} users on four nodes, and then on five:");
    for policy in [
        Policy::Modulo,
        Policy::Ring { vnodes: 160 },
        Policy::Rendezvous,
        Policy::Balanced,
    ] {
        let four = Topology::builder()
            .nodes(["pg-1", "pg-2", "pg-3", "pg-4"])
            .policy(policy.clone())
            .build()?;
        let five = four.edit().node("pg-5").build()?;
        let mut fullest = vec![0; five.node_bound()];
        let mut moved = 0;
        for user in 0..USERS {
            let node = five.route(user);
            fullest[node.index()] += 1;
            moved += u64::from(node != four.route(user));
        }
        let fullest = fullest.into_iter().max().unwrap_or(0);
        println!(
            "  {:<12} moves {:5.1} %   fullest node {:.3} of the mean",
            policy.to_string(),
            100.0 * moved as f64 / USERS as f64,
            5.0 * f64::from(fullest) / USERS as f64,
        );
    }

    let topology = Topology::builder()
        .nodes(["a-1", "a-2"].map(|name| Node::new(name).zone("a")))
        .nodes(["b-1", "b-2"].map(|name| Node::new(name).zone("b")))
        .replicas(2)
        .distinct_zones(Spread::Require)
        .build()?;
    let router = Router::new(topology);
    let name = |id| router.topology().name(id).unwrap_or("?").to_owned();
    let copies = router.replicas("user:42");
    println!(
        "\nuser:42 lies on {} and {}",
        name(copies[0]),
        name(copies[1])
    );
    let next = router.route_where("user:42", |node| node != copies[0]);
    println!(
        "with {} down, on {}",
        name(copies[0]),
        next.map_or_else(String::new, name)
    );

    let edited = router
        .topology()
        .edit()
        .node(Node::new("a-3").zone("a"))
        .build()?;
    let bytes = edited.to_bytes();
    println!(
        "\nversion {} has {} bytes; another process reads them",
        edited.epoch(),
        bytes.len()
    );
    let other = Router::new(Topology::from_bytes(&bytes)?);
    router.swap(edited)?;
    assert_eq!(
        other.topology().fingerprint(),
        router.topology().fingerprint()
    );
    println!(
        "and agrees: fingerprint {:016x}",
        other.topology().fingerprint()
    );
    Ok(())
}
