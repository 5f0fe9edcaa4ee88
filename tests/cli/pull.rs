//! `lemmy pull`, against a hub on loopback. After each fault nothing wrong lies under a final name, and a second,
//! plain pull succeeds.

use super::hub::{COMMIT, Fault, Hub, REPO, sha256};
use super::*;
use serde_json::json;

const FILE: &str = "m-Q4_K_M.gguf";

/// Bytes that no two places of have in common.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// A hub, and a cache of its own.
pub(crate) struct Place {
    pub(crate) hub: Hub,
    folder: Folder,
}

impl Place {
    pub(crate) fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        Self { hub: Hub::with(files), folder: Folder::new(name) }
    }

    pub(crate) fn lemmy<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = lemmy(arguments);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let is_heard = ["HF_", "HUGGING", "TRANSFORMERS_", "MODEL_ENDPOINT", "XDG_"]
                .iter()
                .any(|start| name.starts_with(start));
            if is_heard || name.to_ascii_lowercase().ends_with("_proxy") {
                command.env_remove(name);
            }
        }
        command.env("HF_ENDPOINT", self.hub.endpoint()).env("HF_HOME", &self.folder.0);
        command
    }

    pub(crate) fn pull(&self, arguments: &[&str]) -> Done {
        done(self.lemmy(["pull"]).args(arguments))
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path("hub").join("models--org--repo")
    }

    fn snapshot(&self, name: &str) -> PathBuf {
        self.root().join("snapshots").join(COMMIT).join(name)
    }

    fn part(&self, bytes: &[u8]) -> PathBuf {
        self.root().join("blobs").join(format!("{}.incomplete", sha256(bytes)))
    }

    /// Nothing under a final name has the wrong digest.
    #[track_caller]
    fn is_sound(&self) {
        let Ok(blobs) = std::fs::read_dir(self.root().join("blobs")) else { return };
        for blob in blobs.map(|entry| entry.unwrap().path()) {
            if blob.extension().is_none() {
                assert_eq!(sha256(&std::fs::read(&blob).unwrap()), blob.file_name().unwrap().to_str().unwrap());
            }
        }
    }

    /// A plain pull succeeds and the file is right.
    #[track_caller]
    fn recovers(&self, bytes: &[u8]) {
        self.is_sound();
        self.hub.spoil(FILE, &[]);
        let pulled = self.pull(&[REPO]).code(0);
        assert_eq!(pulled.text(), format!("{}\n", text(&self.snapshot(FILE))));
        assert!(std::fs::read(self.snapshot(FILE)).unwrap() == bytes);
        assert!(!self.part(bytes).exists());
        self.is_sound();
    }
}

#[test]
fn a_model_and_its_projector_in_the_layout_that_others_share() {
    let (model, projector) = (content(300_000), content(1000));
    let place = Place::new("pull-plain", &[(FILE, &model), ("mmproj-F16.gguf", &projector), ("m-Q8_0.gguf", b"other")]);
    let pulled = place.pull(&["hf.co/org/repo:q4_k_m"]).code(0);
    assert_eq!(pulled.text(), format!("{}\n", text(&place.snapshot(FILE))));
    assert_eq!(std::fs::read(place.snapshot(FILE)).unwrap(), model);
    assert_eq!(std::fs::read(place.snapshot("mmproj-F16.gguf")).unwrap(), projector);
    assert!(!place.snapshot("m-Q8_0.gguf").exists());
    assert_eq!(std::fs::read_to_string(place.root().join("refs/main")).unwrap(), COMMIT);
    #[cfg(unix)]
    assert_eq!(std::fs::read_link(place.snapshot(FILE)).unwrap(), Path::new("../../blobs").join(sha256(&model)));
    let requests = place.hub.requests();
    let agent = format!("lemmy/{}", env!("CARGO_PKG_VERSION"));
    assert!(requests.iter().all(|request| request.agent.as_deref() == Some(&agent) && request.authorization.is_none()));
    // Again: the hub is asked, but no byte is fetched twice.
    let downloads = place.hub.downloads().len();
    place.recovers(&model);
    assert_eq!(place.hub.downloads().len(), downloads);
}

#[test]
fn names_of_the_same_file() {
    let model = content(1000);
    let place = Place::new("pull-names", &[("d/m-Q4_K_M.gguf", &model)]);
    let path = format!("{}\n", text(&place.snapshot("d/m-Q4_K_M.gguf")));
    let address = format!("https://huggingface.co/org/repo/resolve/{COMMIT}/d/m-Q4_K_M.gguf?download=true");
    for name in [
        &["hf://org/repo"][..],
        &["-hf", "org/repo:latest"],
        &["org/repo@v1:Q4_K_M"],
        &[address.as_str()],
        &["org/repo", "-hff", "d/m-Q4_K_M.gguf"],
        &["org/repo:d/m-Q4_K_M.gguf"],
    ] {
        assert_eq!(place.pull(name).code(0).text(), path, "{name:?}");
    }
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(place.snapshot("d/m-Q4_K_M.gguf")).unwrap(),
        Path::new("../../../blobs").join(sha256(&model))
    );
    place.pull(&["org/repo:Q4"]).code(2).says("fits no single model (expected one of Q4_K_M (1.00 kB))");
    place.pull(&["org/repo:Q8_0"]).code(3).says("found no Q8_0 (expected one of Q4_K_M");
    place.pull(&["org/repo@v2"]).code(3).says("no such revision");
    place.pull(&["org/other"]).code(3).says("no such repository");
    place.pull(&["not a name"]).code(2).says("found no name of a model");
    place.pull(&[]).code(2).says("found nothing");
}

#[test]
fn all_parts_of_a_split_model_or_none() {
    let (first, second) = (content(5000), content(6000));
    let place = Place::new("pull-split", &[("m-Q8_0-00001-of-00002.gguf", &first)]);
    place.pull(&[REPO]).code(1).says("m-Q8_0-00002-of-00002.gguf: found no such part");
    assert!(place.hub.downloads().is_empty());
    place.hub.put("m-Q8_0-00002-of-00002.gguf", &second);
    let pulled = place.pull(&["org/repo:Q8_0"]).code(0);
    assert!(pulled.text().ends_with("m-Q8_0-00001-of-00002.gguf\n"));
    assert_eq!(std::fs::read(place.snapshot("m-Q8_0-00002-of-00002.gguf")).unwrap(), second);
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let model = content(300_000);
    let place = Place::new("pull-cut", &[(FILE, &model)]);
    place.hub.spoil(FILE, &[Fault::Cut(100_000), Fault::Cut(50_000)]);
    place.recovers_with_ranges(&model, &["bytes=100000-299999", "bytes=150000-299999"]);
}

impl Place {
    #[track_caller]
    fn recovers_with_ranges(&self, bytes: &[u8], ranges: &[&str]) {
        self.pull(&[REPO]).code(0);
        assert!(std::fs::read(self.snapshot(FILE)).unwrap() == bytes);
        let asked: Vec<_> = self.hub.downloads().into_iter().filter_map(|request| request.range).collect();
        assert_eq!(asked, ranges);
        self.recovers(bytes);
    }
}

#[test]
fn the_part_of_another_run_is_taken_over() {
    let model = content(300_000);
    let place = Place::new("pull-resume", &[(FILE, &model)]);
    std::fs::create_dir_all(place.root().join("blobs")).unwrap();
    std::fs::write(place.part(&model), &model[..120_000]).unwrap();
    place.recovers_with_ranges(&model, &["bytes=120000-299999"]);
}

#[test]
fn a_part_that_is_whole_is_only_verified_and_one_that_is_too_long_is_thrown_away() {
    let model = content(10_000);
    let place = Place::new("pull-whole", &[(FILE, &model)]);
    std::fs::create_dir_all(place.root().join("blobs")).unwrap();
    std::fs::write(place.part(&model), &model).unwrap();
    place.recovers(&model);
    assert!(place.hub.downloads().is_empty());

    let longer = Place::new("pull-longer", &[(FILE, &model)]);
    std::fs::create_dir_all(longer.root().join("blobs")).unwrap();
    std::fs::write(longer.part(&model), content(20_000)).unwrap();
    longer.recovers(&model);
}

#[test]
fn a_server_without_ranges_or_with_wrong_ones_sends_the_whole() {
    let model = content(300_000);
    for (name, fault) in [("no", Fault::NoRanges), ("wrong", Fault::WrongRange), ("416", Fault::Status(416, ""))] {
        let place = Place::new(&format!("pull-range-{name}"), &[(FILE, &model)]);
        std::fs::create_dir_all(place.root().join("blobs")).unwrap();
        std::fs::write(place.part(&model), &model[..120_000]).unwrap();
        place.hub.spoil(FILE, &[fault]);
        let pulled = place.pull(&[REPO]).code(0);
        assert!(pulled.err.contains("beginning again"), "{pulled:?}");
        assert_eq!(place.hub.downloads().last().unwrap().range, None);
        place.recovers(&model);
    }
}

#[test]
fn wrong_bytes_are_fetched_once_more_and_then_thrown_away() {
    let model = content(30_000);
    let place = Place::new("pull-wrong", &[(FILE, &model)]);
    place.hub.spoil(FILE, &[Fault::WrongBytes]);
    assert!(place.pull(&[REPO]).code(0).err.contains("the digest is wrong"));
    place.recovers(&model);

    let place = Place::new("pull-wrong-twice", &[(FILE, &model)]);
    place.hub.spoil(FILE, &[Fault::WrongBytes, Fault::WrongBytes]);
    let failed = place.pull(&[REPO, "--json"]).code(5);
    assert!(failed.err.contains(&sha256(&model)) && !place.part(&model).exists(), "{failed:?}");
    let last: serde_json::Value = serde_json::from_str(failed.text().lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["kind"], "digest");
    assert!(!place.root().join("refs/main").exists());
    place.recovers(&model);
}

#[test]
fn a_damaged_part_is_found_by_its_digest() {
    let model = content(300_000);
    let place = Place::new("pull-damaged", &[(FILE, &model)]);
    std::fs::create_dir_all(place.root().join("blobs")).unwrap();
    std::fs::write(place.part(&model), content(400_000).split_off(300_000)).unwrap();
    let pulled = place.pull(&[REPO]).code(0);
    assert!(pulled.err.contains("the digest is wrong"), "{pulled:?}");
    place.recovers(&model);
}

#[test]
fn a_busy_hub_is_asked_again() {
    let model = content(30_000);
    let place = Place::new("pull-busy", &[(FILE, &model)]);
    let busy = Fault::Status(429, "Retry-After: 0\r\n");
    let down = Fault::Status(503, "Retry-After: 0\r\n");
    place.hub.spoil(FILE, &[busy, down.clone(), down.clone(), down.clone()]);
    place.recovers_with_ranges(&model, &[]);
    assert_eq!(place.hub.downloads().len(), 5);

    let down = vec![down; 20];
    let place = Place::new("pull-down", &[(FILE, &model)]);
    place.hub.spoil(FILE, &down);
    place.pull(&[REPO]).code(1).says("the hub is busy (HTTP 503, 6 attempts)");
    assert_eq!(place.hub.downloads().len(), 6);
    place.recovers(&model);
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let model = content(300_000);
    let place = Place::new("pull-token", &[(FILE, &model)]);
    place.hub.redirect();
    place.hub.spoil(FILE, &[Fault::Cut(100_000)]);
    let pulled = done(place.lemmy(["pull", REPO, "--json"]).env("HF_TOKEN", "hf_secret")).code(0);
    assert!(!pulled.text().contains("secret") && !pulled.err.contains("secret"), "{pulled:?}");
    let requests = place.hub.requests();
    let (cdn, own): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.at_cdn);
    assert_eq!(cdn.len(), 2, "{requests:?}");
    assert!(cdn.iter().all(|request| request.authorization.is_none()), "port {}: {cdn:?}", place.hub.cdn());
    assert!(own.iter().all(|request| request.authorization.as_deref() == Some("Bearer hf_secret")), "{own:?}");
    place.recovers(&model);
    // The file that `hf auth login` writes.
    std::fs::write(place.folder.path("token"), "hf_filed\n").unwrap();
    place.pull(&[REPO]).code(0);
    assert_eq!(place.hub.requests().last().unwrap().authorization.as_deref(), Some("Bearer hf_filed"));
}

#[test]
fn an_address_that_has_expired_is_asked_for_again() {
    let model = content(300_000);
    let place = Place::new("pull-expired", &[(FILE, &model)]);
    place.hub.redirect();
    place.hub.spoil(FILE, &[Fault::Cut(100_000), Fault::Status(403, "")]);
    place.recovers_with_ranges(&model, &["bytes=100000-299999"; 3]);
}

#[test]
fn refusals_say_what_to_do() {
    let place = Place::new("pull-refused", &[(FILE, b"x")]);
    for (status, headers, words) in [
        (401, "X-Error-Code: GatedRepo\r\n", "consent to its terms"),
        (403, "X-Error-Code: GatedRepo\r\n", "consent to its terms"),
        (401, "", "no such repository, or a private one"),
    ] {
        place.hub.refuse(status, headers);
        let failed = place.pull(&[REPO]).code(1).says(words);
        assert!(
            failed.err.contains("hint: ") && failed.err.contains("hf auth login") && failed.err.contains(REPO),
            "{failed:?}"
        );
    }
    let failed = done(place.lemmy(["pull", REPO]).env("HF_TOKEN", "hf_secret")).code(1).says("refuses this token");
    assert!(!failed.err.contains("hf_secret"), "{failed:?}");
}

#[test]
fn hostile_lists_stay_outside() {
    let model = content(1000);
    let place = Place::new("pull-hostile", &[(FILE, &model)]);
    let sha = sha256(&model);
    for path in [
        "../../escaped.gguf",
        "/tmp/escaped.gguf",
        "a/../../escaped.gguf",
        "a\\b.gguf",
        "C:\\escaped.gguf",
        "a\u{0}.gguf",
        "\u{1b}[2J.gguf",
    ] {
        place.hub.list(json!({"type": "file", "path": path, "size": 1, "oid": sha, "lfs": {"oid": sha, "size": 1}}));
    }
    for oid in ["../../../escaped", "/tmp/escaped", "C:escaped", "", &"a".repeat(300), &sha.to_uppercase()] {
        let lfs = json!({"oid": oid, "size": 1000});
        place.hub.list(json!({"type": "file", "path": "n-Q8_0.gguf", "size": 1000, "oid": oid, "lfs": lfs}));
    }
    let pulled = place.pull(&["org/repo", "--all-quants"]).code(0);
    assert!(pulled.err.contains("unsafe name") && !pulled.err.contains('\u{1b}'), "{pulled:?}");
    assert_eq!(place.folder.names(), ["hub"]);
    assert_eq!(std::fs::read_dir(place.root().join("blobs")).unwrap().count(), 1);
    place.recovers(&model);
}

#[test]
fn long_lists_come_in_pages() {
    let model = content(1000);
    let place = Place::new("pull-pages", &[(FILE, &model)]);
    for i in 0..10_000 {
        place.hub.list(json!({"type": "file", "path": format!("x/{i}.txt"), "size": 1, "oid": "0".repeat(40)}));
    }
    place.hub.paginate(1000);
    place.recovers(&model);
    let pages = place.hub.requests().iter().filter(|request| request.path.contains("/tree/")).count();
    assert_eq!(pages, 11);
}

#[test]
fn compressed_bytes_are_refused() {
    let model = content(1000);
    let place = Place::new("pull-encoded", &[(FILE, &model)]);
    place.hub.spoil(FILE, &[Fault::Encoded]);
    place.pull(&[REPO]).code(1).says("encoding");
    place.recovers(&model);
}

#[test]
fn several_connections_keep_the_order() {
    // Three ranges of 16 MiB and a rest.
    let model = content((48 << 20) + 1000);
    let place = Place::new("pull-many", &[(FILE, &model)]);
    place.hub.redirect();
    place.hub.spoil(FILE, &[Fault::Cut(1 << 20), Fault::Cut(2 << 20)]);
    place.pull(&[REPO, "--connections", "3"]).code(0);
    assert!(place.hub.downloads().iter().filter(|request| request.at_cdn).count() == 6);
    place.recovers(&model);
}

#[test]
fn a_killed_pull_goes_on() {
    let model = content(400_000);
    let place = Place::new("pull-killed", &[(FILE, &model)]);
    for end in ["KILL", "INT", "TERM"] {
        place.hub.spoil(FILE, &[Fault::Drip(Duration::from_millis(10))]);
        let begin = std::fs::metadata(place.part(&model)).map_or(0, |facts| facts.len());
        let child = place.lemmy(["pull", REPO]).spawn().unwrap();
        let began = Instant::now();
        while std::fs::metadata(place.part(&model)).map_or(0, |facts| facts.len()) < begin + 20_000 {
            assert!(began.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(child.id(), end);
        let stopped = finish(child);
        match end {
            "INT" => assert!(
                stopped.code == Some(130) && stopped.err.contains("`lemmy pull org/repo` goes on"),
                "{stopped:?}"
            ),
            "TERM" => assert_eq!(stopped.code, Some(143), "{stopped:?}"),
            _ => assert_eq!(stopped.code, None, "{stopped:?}"),
        }
        place.is_sound();
        assert!(!place.root().join("refs/main").exists());
    }
    let len = std::fs::metadata(place.part(&model)).unwrap().len();
    place.recovers(&model);
    let last = place.hub.downloads().pop().unwrap();
    assert_eq!(last.range, Some(format!("bytes={len}-399999")));
}

#[test]
fn two_pulls_of_the_same_file_do_its_work_once() {
    let model = content(100_000);
    let place = Place::new("pull-twice", &[(FILE, &model)]);
    place.hub.spoil(FILE, &[Fault::Drip(Duration::from_millis(50))]);
    let first = place.lemmy(["pull", REPO]).spawn().unwrap();
    let began = Instant::now();
    while !place.part(&model).exists() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = place.pull(&[REPO]).code(0);
    assert_eq!(finish(first).code(0).text(), second.text());
    assert!(second.err.contains("another process is downloading it"), "{second:?}");
    assert_eq!(place.hub.downloads().len(), 1);
    place.recovers(&model);
}

#[test]
fn the_rate_can_be_limited() {
    let model = content(60_000);
    let place = Place::new("pull-rate", &[(FILE, &model)]);
    let began = Instant::now();
    place.pull(&[REPO, "--limit-rate", "100k"]).code(0);
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    place.recovers(&model);
}

#[test]
fn json_lines_and_dry_runs() {
    let model = content(3000);
    let place = Place::new("pull-json", &[(FILE, &model), ("mmproj-F16.gguf", b"p")]);
    let lines = |done: &Done| -> Vec<serde_json::Value> {
        done.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let dry = place.pull(&[REPO, "--dry-run", "--json"]).code(0);
    assert_eq!(lines(&dry).last().unwrap()["missing"], 3001);
    assert!(place.hub.downloads().is_empty());
    assert!(place.pull(&[REPO, "--dry-run", "--no-mmproj"]).code(0).text().contains("3.00 kB to download"));

    let pulled = place.pull(&[REPO, "--json", "--no-mmproj"]).code(0);
    let lines = lines(&pulled);
    assert!(pulled.err.is_empty(), "{pulled:?}");
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).cloned().collect::<Vec<_>>();
    assert_eq!(
        (of("progress").last().unwrap()["done"].clone(), of("progress")[0]["total"].clone()),
        (json!(3000), json!(3000))
    );
    assert_eq!((&of("done")[0]["sha256"], &of("done")[0]["cached"]), (&json!(sha256(&model)), &json!(false)));
    assert_eq!(of("model")[0]["path"], text(&place.snapshot(FILE)));
    assert!(!place.snapshot("mmproj-F16.gguf").exists());
}

#[test]
fn a_full_disk_leaves_a_part_to_go_on_with() {
    let model = content(300_000);
    let place = Place::new("pull-full", &[(FILE, &model)]);
    // A limit on the size of files stands in for a full disk: both are errors of `write`.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 200; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_lemmy"), "pull", REPO]);
    limited.env("HF_ENDPOINT", place.hub.endpoint()).env("HF_HOME", &place.folder.0).env("NO_PROXY", "*");
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = done(&mut limited).code(4);
    assert!(failed.err.contains("error: cannot write") && failed.err.contains("hint: make room"), "{failed:?}");
    let len = std::fs::metadata(place.part(&model)).unwrap().len();
    assert!(len > 0 && len < 300_000, "{len}");
    place.recovers(&model);
}

#[test]
fn no_home_no_network_no_permission() {
    let model = content(1000);
    let place = Place::new("pull-offline", &[(FILE, &model)]);
    let offline = |place: &Place| done(place.lemmy(["pull", REPO]).env("HF_HUB_OFFLINE", "1"));
    offline(&place).code(3).says("--offline asks no hub");
    assert!(place.hub.requests().is_empty());
    place.recovers(&model);
    let count = place.hub.requests().len();
    assert_eq!(offline(&place).code(0).text(), format!("{}\n", text(&place.snapshot(FILE))));
    assert_eq!(place.hub.requests().len(), count);
    // Port 9 of this machine: nobody listens.
    let mut unreachable = place.lemmy(["pull", REPO]);
    let told = done(unreachable.env("HF_ENDPOINT", "http://127.0.0.1:9")).code(0);
    assert!(told.err.contains("using the cached copy"), "{told:?}");
    let empty = Place::new("pull-unreachable", &[]);
    done(empty.lemmy(["pull", REPO]).env("HF_ENDPOINT", "http://127.0.0.1:9")).code(1).says("cannot be reached");
    done(place.lemmy(["pull", REPO]).env("HF_HOME", "/dev/null/x")).code(1).says("/dev/null/x");
    done(empty.lemmy(["pull", REPO]).env("HF_ENDPOINT", "nonsense")).code(2).says("HF_ENDPOINT");
}
