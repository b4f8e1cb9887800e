//! A static program for images from nothing: what a scene needs to see from inside a container.
//!
//! `eat` touches one more megabyte after the other and says how many; `greet FILE` prints a file of the image;
//! `fetch ADDRESS:PORT` prints what a web server there has at `/`.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

const MEGABYTE: usize = 1 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["eat"] => eat(),
        ["greet", file] => std::fs::read_to_string(file),
        ["fetch", server] => fetch(server),
        _ => Err(io::Error::other("usage: probe eat | greet FILE | fetch ADDRESS:PORT")),
    };
    match done {
        Ok(text) => print!("{text}"),
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn fetch(server: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let page = answer.split_once("\r\n\r\n").map(|(_, page)| page.to_owned());
    page.ok_or_else(|| io::Error::other(answer))
}

fn eat() -> io::Result<String> {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        // Ones, because zeros would not be touched.
        eaten.push(vec![1; MEGABYTE]);
        println!("{}", eaten.len());
        io::stdout().flush()?;
    }
}
