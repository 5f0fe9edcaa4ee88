//! Each limit, at it and one beyond.

use std::io::Write;

use super::*;

#[test]
fn bodies() {
    let server = Server::start(&["--max-body", "2000"]);
    let sized = |n: usize| {
        let body = question("Hi").to_string();
        format!("{body}{}", " ".repeat(n - body.len()))
    };
    let post = |body: &str| server.client.send("POST", CHAT, &[("content-type", "application/json")], body.as_bytes());
    assert_eq!(post(&sized(2000)).status, 200);
    refused(&post(&sized(2001)), 413, "body_too_large");
    // Without a length it is known as soon as it is too much.
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n", 2001, sized(2001));
    refused(&server.client.raw(chunked.as_bytes()), 413, "body_too_large");
    let none = format!("{head}\r\n");
    refused(&server.client.raw(none.as_bytes()), 411, "length_required");
}

#[test]
fn heads() {
    let many = |n: usize| {
        let mut head = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n".to_owned();
        (2..n).for_each(|i| head.push_str(&format!("x-{i}: y\r\n")));
        head + "\r\n"
    };
    assert_eq!(shared().raw(many(100).as_bytes()).status, 200);
    refused(&shared().raw(many(101).as_bytes()), 431, "headers_too_large");
    let large = |n: usize| {
        let head = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx: \r\n\r\n";
        head.replace("x: ", &format!("x: {}", "y".repeat(n - head.len())))
    };
    assert_eq!(shared().raw(large(16 << 10).as_bytes()).status, 200);
    refused(&shared().raw(large((16 << 10) + 1).as_bytes()), 431, "headers_too_large");
}

#[test]
fn json() {
    let nested = |n: usize| format!("{{\"x\":{}{}}}", "[".repeat(n - 1), "]".repeat(n - 1));
    let values = |n: usize| format!("{{\"x\":[{}0]}}", "0,".repeat(n - 1));
    let post = |body: String| shared().send("POST", CHAT, &[("content-type", "application/json")], body.as_bytes());
    // Within the bounds the body is read, and then misses its messages.
    refused(&post(nested(128)), 400, "missing_required_parameter");
    refused(&post(nested(129)), 400, "invalid_json");
    refused(&post(values(1_000_000)), 400, "missing_required_parameter");
    refused(&post(values(1_000_001)), 400, "invalid_json");
    for body in ["", "{", "nonsense", "{\"a\":1}x", "\u{feff}{}"] {
        refused(&post(body.into()), 400, "invalid_json");
    }
    refused(&post("[1]".into()), 400, "invalid_type");
    refused(
        &shared().send("POST", CHAT, &[("content-type", "application/json")], b"{\"a\":\"\xff\"}"),
        400,
        "invalid_json",
    );
}

#[test]
fn connections() {
    let server = Server::start(&["--max-connections", "3"]);
    let mut held: Vec<_> = (0..2).map(|_| server.client.connect()).collect();
    // What waited for `/health` may still be on its way out.
    let began = Instant::now();
    while server.client.get("/health").status != 200 {
        assert!(began.elapsed() < PATIENCE);
    }
    // The third comes in once the one that asked for `/health` has gone.
    let over = loop {
        held.truncate(2);
        held.push(server.client.connect());
        let answer = server.client.get("/health");
        if answer.status != 200 {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE);
    };
    refused(&over, 503, "too_many_connections");
    held.pop();
    let began = Instant::now();
    while server.client.get("/health").status != 200 {
        assert!(began.elapsed() < PATIENCE);
    }
}

#[test]
fn times() {
    let server = Server::start(&["--head-timeout", "1", "--idle-timeout", "1", "--body-timeout", "2"]);
    let mut slow_head = server.client.connect();
    slow_head.write_all(b"GET /health HTTP/1.1\r\nhost: loc").unwrap();
    refused(&client::read(&mut slow_head), 408, "request_timeout");
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    let mut idle = server.client.connect();
    idle.write_all(head.as_bytes()).unwrap();
    refused(&client::read(&mut idle), 408, "request_timeout");
    // Never idle for a second, and still too slow as a whole.
    let mut dripping = server.client.connect();
    dripping.write_all(head.as_bytes()).unwrap();
    let mut other = dripping.try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        for _ in 0..40 {
            std::thread::sleep(Duration::from_millis(100));
            if other.write_all(b" ").is_err() {
                break;
            }
        }
    });
    refused(&client::read(&mut dripping), 408, "request_timeout");
    drip.join().unwrap();
}

#[test]
fn requests_that_two_servers_would_read_in_two_ways() {
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n");
    let bad: Vec<Vec<u8>> = vec![
        format!("{head}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n").into_bytes(),
        format!("{head}content-length: +2\r\n\r\n{{}}").into_bytes(),
        format!("{head}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}").into_bytes(),
        format!("{head}transfer-encoding: chunked\r\n\r\n0x2\r\n{{}}\r\n0\r\n\r\n").into_bytes(),
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n".to_vec(),
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx : a\r\n\r\n".to_vec(),
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n".to_vec(),
        b"GET /health HTTP/1.1\r\nhost: localhost\r\nx: a\rb\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 not http\r\n\r\n".to_vec(),
    ];
    for request in bad {
        let answer = shared().raw(&request);
        let told = String::from_utf8_lossy(&request).into_owned();
        assert_eq!(answer.status, 400, "{told:?}: {}", answer.text());
        assert!(answer.json()["error"]["code"].is_string(), "{told:?}");
    }
}

#[test]
fn slow_clients_do_not_keep_others_waiting() {
    let server = Server::start(&[]);
    let _slow: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = server.client.connect();
            stream.write_all(b"POST /v1/chat/completions HTTP/1.1\r\n").unwrap();
            stream
        })
        .collect();
    assert_eq!(server.client.get("/health").status, 200);
    assert_eq!(server.client.post(CHAT, &question("What is 12 + 30?")).content(), "42");
}

#[test]
fn clients_that_read_nothing_are_let_go() {
    use std::io::Read;
    let server = Server::start(&["--parallel", "1", "--write-timeout", "1"]);
    // Far more than the buffers of a connection hold.
    let more = json!({"n": 8, "max_tokens": 1000, "logprobs": true, "top_logprobs": 20});
    let body = with(endless(), more);
    let mut stream = server.client.begin_post(CHAT, &body);
    server.wait_for("slots_processing", 1);
    server.wait_for("slots_processing", 0);
    assert_eq!(server.client.post(CHAT, &question("What is 12 + 30?")).content(), "42");
    std::thread::sleep(Duration::from_secs(3));
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    assert!(!text.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n"), "{} bytes were sent to nobody", text.len());
}

#[test]
fn whatever_comes_is_answered_in_json() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let more = json!({"max_tokens": 1, "tools": [tools::weather()], "logit_bias": {"5": 1}, "stop": ["x"],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}});
    let seed = with(question("What is \u{e9}12 + 30?"), more).to_string().into_bytes();
    let mut state = 1_u64;
    let mut random = |below: usize| {
        // Numbers of Knuth's MMIX generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut seen = [0; 2];
    for _ in 0..300 {
        let mut body = seed.clone();
        for _ in 0..=random(3) {
            let at = random(body.len());
            match random(4) {
                0 => body[at] = random(256) as u8,
                1 => drop(body.remove(at)),
                2 => body.insert(at, b"{}[],:\"\\0-e"[random(11)]),
                _ => body.truncate(at.max(1)),
            }
        }
        let answer = shared().send("POST", CHAT, &[("content-type", "application/json")], &body);
        assert!(matches!(answer.status, 200 | 400), "{}: {}", answer.status, String::from_utf8_lossy(&body));
        assert!(answer.json().is_object());
        seen[usize::from(answer.status == 400)] += 1;
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    assert_eq!(shared().post(CHAT, &question("What is 12 + 30?")).content(), "42");
}
