//! Many clients at once.

use std::io::Read;
use std::thread;

use super::*;

#[test]
fn sixteen_streams_say_what_each_says_alone() {
    let server = Server::start(&["--parallel", "4", "--queue", "64"]);
    let client = &server.client;
    let body = |i: usize| {
        let more = json!({"seed": i, "temperature": 5, "top_k": 0, "top_p": 1, "max_tokens": 24, "stream": true});
        with(question(&format!("What is {i} + 30?")), more)
    };
    let say = |i: usize| -> String {
        let events = client.post(CHAT, &body(i)).events();
        events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect()
    };
    let alone: Vec<String> = (0..16).map(say).collect();
    let together: Vec<String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|i| scope.spawn(move || say(i))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(alone, together);
}

#[test]
fn a_full_queue_says_when_to_come_back() {
    let server = Server::start(&["--parallel", "1", "--queue", "1"]);
    let client = &server.client;
    let mut running = client.begin_post(CHAT, &endless());
    running.read_exact(&mut [0; 32]).unwrap();
    let mut waiting = client.begin_post(CHAT, &question("What is 12 + 30?"));
    server.wait_for("queue", 1);
    let full = client.post(CHAT, &question("Hi"));
    assert_eq!(refused(&full, 429, "queue_full")["type"], "rate_limit_error");
    assert!(full.header("retry-after").and_then(|s| s.parse::<u64>().ok()).is_some_and(|s| s >= 1));
    // Who waits is served when the slot is free; who waited and left is forgotten.
    drop(running);
    assert_eq!(client::read(&mut waiting).content(), "42");
    let mut running = client.begin_post(CHAT, &endless());
    running.read_exact(&mut [0; 32]).unwrap();
    let leaving = client.begin_post(CHAT, &question("Hi"));
    server.wait_for("queue", 1);
    drop(leaving);
    server.wait_for("queue", 0);
    drop(running);
    server.wait_for("slots_processing", 0);
}

#[test]
fn who_waits_too_long_is_told_so() {
    let server = Server::start(&["--parallel", "1", "--queue-timeout", "1"]);
    let mut running = server.client.begin_post(CHAT, &endless());
    running.read_exact(&mut [0; 32]).unwrap();
    refused(&server.client.post(CHAT, &question("Hi")), 503, "queue_timeout");
}

#[test]
fn clients_that_die_leave_nothing_behind() {
    let server = Server::start(&["--parallel", "4", "--queue", "64"]);
    let body = endless();
    for round in 0..60_u64 {
        let mut stream = server.client.begin_post(CHAT, &body);
        // Some leave at once, some in the middle of a chunk.
        let read = (round * 37 % 400) as usize;
        let _ = stream.read_exact(&mut vec![0; read]);
    }
    server.wait_for("slots_processing", 0);
    server.wait_for("queue", 0);
    assert_eq!(server.client.post(CHAT, &question("What is 12 + 30?")).content(), "42");
}
