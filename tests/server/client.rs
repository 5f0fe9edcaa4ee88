//! A small HTTP client that can also misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// Talks to one server, a connection for each request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {} {:?}", self.status, self.text()))
    }

    /// The content of a chat completion's first choice.
    #[track_caller]
    pub(crate) fn content(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.text());
        let json = self.json();
        json["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
    }

    /// The events of a stream; it has to end with `[DONE]`.
    #[track_caller]
    pub(crate) fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("text/event-stream"));
        let text = self.text();
        let mut events: Vec<&str> = text.split_terminator("\n\n").filter(|event| !event.starts_with(':')).collect();
        assert_eq!(events.pop(), Some("data: [DONE]"), "{text}");
        let read = |event: &&str| {
            let data = event.strip_prefix("data: ").unwrap_or_else(|| panic!("{event:?}"));
            serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {data}"))
        };
        events.iter().map(read).collect()
    }
}

impl Client {
    pub(crate) fn new(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// A request with these headers besides the usual ones.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.begin(method, path, headers, body);
        read(&mut stream)
    }

    /// Sends a request and leaves the answer to be read.
    pub(crate) fn begin(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head.push_str(&format!("host: {}\r\n", self.address));
        }
        if method == "POST" && !headers.iter().any(|(name, _)| *name == "content-length") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        // A server that refuses early closes while we write.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        stream
    }

    /// Sends a JSON request and leaves the answer to be read.
    pub(crate) fn begin_post(&self, path: &str, body: &Value) -> TcpStream {
        self.begin("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// Sends these bytes as they are; the answer to them.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        let _ = stream.write_all(bytes);
        read(&mut stream)
    }
}

/// Reads an answer to its end.
pub(crate) fn read(stream: &mut TcpStream) -> Answer {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("no status: {line:?}"));
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let find = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    let mut body = Vec::new();
    if find("transfer-encoding") == Some("chunked") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).unwrap();
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or_else(|_| panic!("cut off: {body:?}"));
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).unwrap();
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = find("content-length").and_then(|length| length.parse::<usize>().ok()) {
        body = vec![0; length];
        // The answer to HEAD has a length and no body.
        let mut done = 0;
        while done < length {
            match reader.read(&mut body[done..]) {
                Ok(0) | Err(_) => break,
                Ok(n) => done += n,
            }
        }
        body.truncate(done);
    }
    Answer { status, headers, body }
}
