//! Who may ask: keys, hosts, origins, methods, content types.

use super::*;

fn chat(client: &Client, headers: &[(&str, &str)]) -> Answer {
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    client.send("POST", CHAT, &all, question("Hi").to_string().as_bytes())
}

#[test]
fn a_key_opens_the_api_and_health_needs_none() {
    let folder = std::env::temp_dir().join(format!("lemmy-keys-{}", std::process::id()));
    std::fs::write(&folder, "# keys of the house\nsecond-key # of the cat\n\n").unwrap();
    let server = Server::start(&["--api-key", "first-key", "--api-key-file", folder.to_str().unwrap()]);
    std::fs::remove_file(&folder).unwrap();
    let client = &server.client;
    for headers in [
        [("authorization", "Bearer first-key")],
        [("authorization", "bearer second-key")],
        [("x-api-key", "second-key")],
    ] {
        assert_eq!(chat(client, &headers).status, 200, "{headers:?}");
    }
    for headers in [&[][..], &[("authorization", "Bearer first-ke")], &[("authorization", "Basic first-key")]] {
        let answer = chat(client, headers);
        let error = refused(&answer, 401, "invalid_api_key");
        assert_eq!(
            (&error["type"], answer.header("www-authenticate")),
            (&json!("authentication_error"), Some("Bearer"))
        );
        assert!(!answer.text().contains("first-key"));
    }
    assert_eq!(client.get("/v1/models").status, 401);
    assert_eq!(client.get("/metrics").status, 401);
    for open in ["/health", "/livez", "/readyz", "/version", "/"] {
        assert_eq!(client.get(open).status, 200, "{open}");
    }
    // Where no key is needed any key will do.
    assert_eq!(chat(shared(), &[("authorization", "Bearer anything")]).status, 200);
}

#[test]
fn what_one_key_has_read_is_no_help_to_another() {
    let server = Server::start(&["--parallel", "1", "--api-key", "a", "--api-key", "b"]);
    let cached = |key: &str| {
        let answer = chat(&server.client, &[("x-api-key", key)]).json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!(cached("a"), 0);
    assert!(cached("a") > 0);
    assert_eq!(cached("b"), 0);
    assert!(cached("b") > 0);
}

#[test]
fn names_that_are_not_ours_are_not_served() {
    let server = Server::start(&["--allowed-host", "lemmy.test"]);
    for (host, status) in [
        ("localhost", 200),
        ("127.0.0.1:99", 200),
        ("[::1]:8080", 200),
        ("lemmy.test:80", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        (":8080", 403),
        ("10.1.2.3", 403),
    ] {
        let answer = server.client.send("GET", "/v1/models", &[("host", host)], b"");
        assert_eq!(answer.status, status, "{host}");
        if status == 403 {
            assert_eq!(refused(&answer, 403, "host_not_allowed")["type"], "permission_error");
        }
    }
    let two =
        server.client.raw(b"GET /health HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(two.status, 400);
    let absolute = b"GET http://evil.example/health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(server.client.raw(absolute).status, 403);
    assert_eq!(server.client.raw(b"GET /health HTTP/1.1\r\nconnection: close\r\n\r\n").status, 403);
}

#[test]
fn pages_of_others_cannot_use_the_server() {
    let client = shared();
    let refused_page = chat(client, &[("origin", "https://evil.example")]);
    refused(&refused_page, 403, "origin_not_allowed");
    assert!(refused_page.header("access-control-allow-origin").is_none());
    let local = chat(client, &[("origin", "http://localhost:3000")]);
    assert_eq!((local.status, local.header("access-control-allow-origin")), (200, Some("http://localhost:3000")));
    assert_eq!(local.header("vary"), Some("Origin"));
    let wanted =
        [("origin", "http://localhost:3000"), ("access-control-request-headers", "authorization, content-type")];
    let preflight = client.send("OPTIONS", CHAT, &wanted, b"");
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET, POST, OPTIONS"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("authorization, content-type"));
    assert_eq!(preflight.header("access-control-max-age"), Some("600"));
    let server = Server::start(&["--cors-origin", "https://app.example"]);
    assert_eq!(chat(&server.client, &[("origin", "https://app.example")]).status, 200);
    assert_eq!(chat(&server.client, &[("origin", "https://other.example")]).status, 403);
}

#[test]
fn forms_cannot_reach_the_model() {
    let body = question("Hi").to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let answer = shared().send("POST", CHAT, &[("content-type", kind)], body.as_bytes());
        refused(&answer, 415, "unsupported_media_type");
    }
    let typed = [("content-type", "Application/JSON; charset=utf-8")];
    assert_eq!(shared().send("POST", CHAT, &typed, body.as_bytes()).status, 200);
    refused(&shared().send("POST", CHAT, &[], body.as_bytes()), 415, "unsupported_media_type");
}

#[test]
fn paths_and_methods_are_told_apart() {
    refused(&shared().get("/nothing"), 404, "unknown_url");
    let answer = shared().get(CHAT);
    refused(&answer, 405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
    assert_eq!(shared().send("DELETE", "/v1/models", &[], b"").header("allow"), Some("GET"));
    let head = shared().send("HEAD", "/v1/models", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert!(head.header("content-length").is_some_and(|length| length != "0"));
}

#[test]
fn requests_have_ids() {
    let given = shared().send("GET", "/health", &[("x-request-id", "my-id_7.x")], b"");
    assert_eq!(given.header("x-request-id"), Some("my-id_7.x"));
    for bad in ["a b", "<script>", &"a".repeat(65)] {
        let answer = shared().send("GET", "/health", &[("x-request-id", bad)], b"");
        assert!(answer.header("x-request-id").is_some_and(|id| id.starts_with("req_")), "{bad}");
    }
}

#[test]
fn the_page_is_ours_alone() {
    let page = shared().get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    // Everything that it names is there.
    let text = page.text();
    let names: Vec<&str> = text.split("assets/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        let file = shared().get(&format!("/assets/{name}"));
        assert_eq!(file.status, 200, "{name}");
        assert!(file.header("content-security-policy").is_some());
    }
    assert_eq!(shared().get("/assets/../Cargo.toml").status, 404);
    let server = Server::start(&["--no-ui"]);
    assert_eq!(server.client.get("/").status, 404);
}
