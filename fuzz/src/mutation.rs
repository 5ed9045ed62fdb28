//! Changes that a stranger's text goes through: other numbers, other lines, bytes that are none of it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Numbers and words at which programs break.
const EXTREMES: [&str; 28] = [
    "0",
    "-1",
    "1",
    "2",
    "255",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "1e308",
    "1e309",
    "-1e308",
    "1e-308",
    "5e-324",
    "0.1",
    "NaN",
    "-0.0",
    "null",
    "true",
    "\"\"",
    "[]",
    "{}",
    "[null]",
    "\"\\u0000\"",
    "99999999999999999999999999",
    "1e18",
];

/// `data`, changed in a few places, with pieces of `others` here and there.
pub fn of(data: &[u8], others: &[Vec<u8>], seed: u64) -> Vec<u8> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut data = data.to_vec();
    for _ in 0..random.random_range(1..5) {
        data = change(data, others, &mut random);
    }
    data
}

fn change(mut data: Vec<u8>, others: &[Vec<u8>], random: &mut ChaCha8Rng) -> Vec<u8> {
    match random.random_range(0..10) {
        0..4 => number(data, random),
        4 => {
            let at = random.random_range(0..=data.len());
            data.insert(at, random.random_range(0..=255));
            data
        }
        5 => {
            if let Some(at) = place(data.len(), random) {
                data[at] ^= 1 << random.random_range(0..8);
            }
            data
        }
        6 => {
            let (begin, end) = range(data.len(), random);
            data.drain(begin..end);
            data
        }
        7 => line_again(data, random),
        8 => {
            let (begin, end) = range(data.len(), random);
            let piece = data[begin..end].to_vec();
            let at = random.random_range(0..=data.len());
            data.splice(at..at, piece);
            data
        }
        _ => {
            let Some(other) = place(others.len(), random).map(|n| &others[n]) else { return data };
            let (begin, end) = range(other.len(), random);
            let at = random.random_range(0..=data.len());
            data.splice(at..at, other[begin..end].iter().copied());
            data
        }
    }
}

/// Another number in the place of one that stands there.
fn number(mut data: Vec<u8>, random: &mut ChaCha8Rng) -> Vec<u8> {
    let in_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
    let begins: Vec<usize> = (0..data.len())
        .filter(|&at| {
            data[at].is_ascii_digit() && (at == 0 || !(in_number(&data[at - 1]) || data[at - 1].is_ascii_alphabetic()))
        })
        .collect();
    let Some(begin) = place(begins.len(), random).map(|n| begins[n]) else { return data };
    let end = begin + data[begin..].iter().take_while(|byte| in_number(byte)).count();
    let other = EXTREMES[random.random_range(0..EXTREMES.len())];
    data.splice(begin..end, other.bytes());
    data
}

/// One of its lines a second time, or gone, somewhere.
fn line_again(data: Vec<u8>, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = data.split_inclusive(|&byte| byte == b'\n').collect();
    if let Some(from) = place(lines.len(), random) {
        let to = random.random_range(0..=lines.len());
        if random.random_bool(0.5) {
            lines.insert(to, lines[from]);
        } else {
            lines.remove(from);
        }
    }
    lines.concat()
}

fn place(length: usize, random: &mut ChaCha8Rng) -> Option<usize> {
    (length > 0).then(|| random.random_range(0..length))
}

/// A stretch of up to 64 of so many.
fn range(length: usize, random: &mut ChaCha8Rng) -> (usize, usize) {
    let begin = random.random_range(0..=length);
    (begin, random.random_range(begin..=length.min(begin + 64)))
}
