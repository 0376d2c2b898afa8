//! A server that greets as PostgreSQL does, and answers statements with whatever it likes.

#![allow(unreachable_pub, reason = "a module of each program that needs it")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

/// What comes back instead of an answer to a prepared statement, each with its name.
pub fn answers() -> Vec<(&'static str, Vec<u8>)> {
    let whole = |parts: &[(u8, &[u8])]| {
        let mut bytes: Vec<u8> = parts
            .iter()
            .flat_map(|(kind, body)| frame(*kind, body))
            .collect();
        bytes.extend(READY);
        bytes
    };
    let prepared: [(u8, &[u8]); 3] = [(b'1', b""), (b't', &[0; 2]), (b'n', b"")];
    vec![
        ("nothing, and it hangs up", Vec::new()),
        (
            "another protocol",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        ),
        ("zeros", vec![0; 64]),
        ("a length that is none", b"D\0\0\0\x01".to_vec()),
        ("a length of gigabytes", b"D\x7f\xff\xff\xff".to_vec()),
        ("a row without a statement", whole(&[(b'D', &[0; 2])])),
        ("the end of a command", whole(&[(b'C', b"SELECT 1\0")])),
        ("a statement, half prepared", whole(&prepared[..1])),
        ("a statement without parameters", whole(&prepared)),
        (
            "an error without a code",
            whole(&[(b'E', b"SERROR\0Mno\0\0")]),
        ),
        (
            "an error",
            whole(&[(b'E', b"SERROR\0VERROR\0CXX000\0Mno\0\0")]),
        ),
        ("a copy that begins", whole(&[(b'G', &[0; 3])])),
    ]
}

/// A message of the protocol.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32 + 4;
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

const READY: &[u8] = b"Z\0\0\0\x05I";

/// Starts one that lives as long as this process. Answers its address.
pub fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = answer.clone();
            thread::spawn(move || serve(&connection, &answer));
        }
    });
    format!("postgres://app@{address}/shop?sslmode=disable")
}

/// Until the client goes.
fn serve(connection: &TcpStream, answer: &[u8]) -> Option<()> {
    message(connection, false)?;
    let mut answers = connection;
    let mut send = |frames: &[Vec<u8>]| answers.write_all(&frames.concat()).ok();
    let done = |command: &[u8]| frame(b'C', command);
    send(&[frame(b'R', &[0; 4]), READY.to_vec()])?;
    loop {
        let (kind, text) = message(connection, true)?;
        let says = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
        match kind {
            b'Q' if says(b"SHOW transaction_read_only") => {
                // One column, a text; one row, "off".
                let column = b"\0\x01ro\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0";
                let row = b"\0\x01\0\0\0\x03off";
                send(&[
                    frame(b'T', column),
                    frame(b'D', row),
                    done(b"SHOW\0"),
                    READY.to_vec(),
                ])?;
            }
            b'Q' if says(b"SET ") => send(&[done(b"SET\0"), READY.to_vec()])?,
            b'X' => return None,
            // The rest of a batch, which is answered at its end.
            b'P' | b'D' | b'B' | b'E' | b'C' => {}
            _ if answer.is_empty() => return None,
            _ => send(&[answer.to_vec()])?,
        }
    }
}

/// A message: its kind, if it has one, and its content.
fn message(mut connection: &TcpStream, has_kind: bool) -> Option<(u8, Vec<u8>)> {
    let mut kind = [0];
    if has_kind {
        connection.read_exact(&mut kind).ok()?;
    }
    let mut length = [0; 4];
    connection.read_exact(&mut length).ok()?;
    let mut content = vec![0; (u32::from_be_bytes(length) as usize).checked_sub(4)?];
    connection.read_exact(&mut content).ok()?;
    Some((kind[0], content))
}
