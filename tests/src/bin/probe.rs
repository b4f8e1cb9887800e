//! A static program for images from nothing: what a scene needs to see from inside a container.
//!
//! `eat` touches one more megabyte after the other and says how many; `greet FILE` prints a file of the image.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::io::Write;

const MEGABYTE: usize = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["eat"] => eat(),
        ["greet", file] => greet(file),
        _ => println!("usage: probe eat | greet FILE"),
    }
}

fn greet(file: &str) {
    let text = std::fs::read_to_string(file);
    print!("{}", text.unwrap_or_else(|error| format!("{file}: {error}\n")));
}

fn eat() {
    let mut eaten: Vec<Vec<u8>> = Vec::new();
    loop {
        // Ones, because zeros would not be touched.
        eaten.push(vec![1; MEGABYTE]);
        println!("{}", eaten.len());
        drop(std::io::stdout().flush());
    }
}
