//! From the first moment of a server to its last.

use std::io::Read;
use std::net::TcpListener;

use super::*;

#[test]
fn a_port_in_use_is_told_before_anything_is_loaded() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = Command::new(env!("CARGO_BIN_EXE_lemmy")).args(["serve", "--port", &port]).output().unwrap();
    let err = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{err}");
    assert!(err.contains(&format!("127.0.0.1:{port}")) && err.contains("--port") && !err.contains("Nano"), "{err}");
}

#[test]
fn it_answers_while_it_loads() {
    let server = Server::begin(&[]);
    assert_eq!(server.client.get("/livez").status, 200);
    loop {
        let answer = server.client.get("/v1/models");
        if answer.status == 200 {
            break;
        }
        let error = refused(&answer, 503, "loading");
        assert_eq!((&error["type"], &error["message"]), (&json!("unavailable_error"), &json!("Loading model")));
        assert!(error["progress"].as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)), "{error}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(server.client.get("/").status, 200);
    }
    assert_eq!(server.client.get("/health").json()["status"], "ok");
}

#[test]
fn one_signal_lets_replies_end() {
    let mut server = Server::start(&["--parallel", "1", "--shutdown-grace", "60"]);
    let body = with(endless(), json!({"max_tokens": 300}));
    let mut running = server.client.begin_post(CHAT, &body);
    running.read_exact(&mut [0; 32]).unwrap();
    let mut waiting = server.client.begin_post(CHAT, &question("Hi"));
    server.wait_for("queue", 1);
    server.signal("TERM");
    refused(&client::read(&mut waiting), 503, "shutting_down");
    let mut rest = String::new();
    running.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\"finish_reason\":\"length\"") && rest.contains("[DONE]"), "{rest}");
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn a_second_signal_ends_them() {
    for (name, code) in [("TERM", 143), ("INT", 130)] {
        let mut server = Server::start(&["--parallel", "1"]);
        let mut running = server.client.begin_post(CHAT, &endless());
        running.read_exact(&mut [0; 32]).unwrap();
        server.signal(name);
        std::thread::sleep(Duration::from_millis(200));
        server.signal(name);
        let mut rest = String::new();
        running.read_to_string(&mut rest).unwrap();
        assert!(rest.contains("\"shutting_down\"") && rest.contains("[DONE]"), "{rest}");
        assert_eq!(server.end().code(), Some(code));
    }
}

#[test]
fn an_idle_server_ends_at_once() {
    let mut server = Server::start(&[]);
    let _idle = server.client.connect();
    server.signal("INT");
    assert_eq!(server.end().code(), Some(0));
}

#[cfg(unix)]
#[test]
fn it_listens_on_a_socket_of_the_file_system() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    let path = std::env::temp_dir().join(format!("lemmy-{}.sock", std::process::id()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_lemmy"))
        .args(["serve", "--host", &format!("unix:{}", path.display())])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    let answer = loop {
        let answer = UnixStream::connect(&path).and_then(|mut stream| {
            stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        });
        match answer {
            Ok(answer) => break answer,
            Err(e) => assert!(began.elapsed() < PATIENCE, "{e}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!path.exists());
}

#[test]
fn the_log_tells_of_requests_and_keeps_secrets() {
    let path = std::env::temp_dir().join(format!("lemmy-{}.log", std::process::id()));
    let moved = path.with_extension("old");
    let server =
        Server::start(&["--api-key", "secret-key", "--log-format", "json", "--log-file", path.to_str().unwrap()]);
    let ask = || {
        let headers = [("content-type", "application/json"), ("x-api-key", "secret-key"), ("x-request-id", "mine")];
        server.client.send("POST", CHAT, &headers, question("What is 12 + 30?").to_string().as_bytes())
    };
    assert_eq!(ask().content(), "42");
    // A line is written when its answer is out, so shortly after it is here.
    let wait_for_line = |path: &std::path::Path| {
        let began = Instant::now();
        loop {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if text.contains("\"request_id\":\"mine\"") && text.ends_with('\n') {
                return text;
            }
            assert!(began.elapsed() < PATIENCE, "{text}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let text = wait_for_line(&path);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = lines.iter().find(|line| line["request_id"] == "mine").unwrap();
    assert_eq!((&line["path"], &line["status"], &line["finish"]), (&json!(CHAT), &json!(200), &json!("stop")));
    assert!(line["prompt"].as_u64() > line["generated"].as_u64(), "{line}");
    assert!(!text.contains("12 + 30") && !text.contains("secret-key") && !text.contains("/health"), "{text}");
    // Who moves logs away asks for a new file.
    std::fs::rename(&path, &moved).unwrap();
    server.signal("HUP");
    let began = Instant::now();
    while !path.exists() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    ask();
    wait_for_line(&path);
    std::fs::remove_file(&path).unwrap();
    std::fs::remove_file(&moved).unwrap();
}

#[test]
fn a_connection_serves_many_requests() {
    use std::io::Write;
    let body = question("What is 12 + 30?").to_string();
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = shared().connect();
    for _ in 0..2 {
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(client::read(&mut stream).content(), "42");
    }
    // Two at once are answered in their order.
    stream.write_all(format!("{request}GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
    let mut text = String::new();
    while !text.contains("\"version\"") {
        let mut piece = [0; 1024];
        let n = stream.read(&mut piece).unwrap();
        assert!(n > 0, "{text}");
        text.push_str(std::str::from_utf8(&piece[..n]).unwrap());
    }
    assert!(text.find("\"42\"") < text.find("\"version\""), "{text}");
}
