//! A server that greets as Redis does, and answers everything else with the same bytes, whatever they are.

#![allow(unreachable_pub, reason = "a module of each program that needs it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

/// Starts one that lives as long as this process. Answers its address.
pub fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            thread::spawn(move || answer(&connection, bytes));
        }
    });
    format!("redis://{address}/")
}

/// Until the client goes. Without bytes to answer it hangs up.
fn answer(connection: &TcpStream, bytes: &[u8]) -> Option<()> {
    let mut requests = BufReader::new(connection);
    let mut answers = connection;
    loop {
        let words = request(&mut requests)?;
        let is_greeting = words.first()?.eq_ignore_ascii_case(b"CLIENT");
        if !is_greeting && bytes.is_empty() {
            return None;
        }
        let answer = if is_greeting { b"+OK\r\n" } else { bytes };
        answers.write_all(answer).ok()?;
    }
}

/// The words of a request: `*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`.
fn request(stream: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let words = number(stream)?;
    (0..words)
        .map(|_| {
            let mut word = vec![0; number(stream)? + 2];
            stream.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            Some(word)
        })
        .collect()
}

fn number(stream: &mut impl BufRead) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    line.get(1..)?.trim_end().parse().ok()
}
