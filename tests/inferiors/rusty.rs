// SPDX-License-Identifier: Apache-2.0
// As cxx.cpp, in Rust.
use std::io::{self, BufRead, Write};

#[repr(C)]
#[derive(Clone)]
pub struct Node {
    key: i64,
    price: i64,
}

#[inline(never)]
pub fn set_price(node: &mut Node, value: i64) {
    unsafe { std::ptr::write_volatile(&mut node.price, value) }
}

fn main() {
    let mut nodes: Vec<Node> = (0..100_000).map(|key| Node { key, price: 0 }).collect();
    println!("ready {:p} {}", nodes.as_ptr(), nodes.len() * std::mem::size_of::<Node>());
    io::stdout().flush().unwrap();
    for line in io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        for i in 0..5 {
            set_price(&mut nodes[i * 10_000], i as i64 + 1);
        }
        let sum: i64 = nodes.iter().map(|node| node.key + node.price).sum();
        println!("done {}", sum);
        io::stdout().flush().unwrap();
    }
}
