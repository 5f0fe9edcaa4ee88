//! Sessions as files: what is restored goes on bit by bit, what is not whole is refused.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Read;
use std::path::PathBuf;

use lemmy_core::chat::{Chat, Message, Tool};
use lemmy_core::{Error, Event, GenerateOptions, KvType, Model, Session, Source, ThreadPool};

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny").join(format!("tiny-{name}.gguf"))
}

fn model(name: &str) -> Model {
    Model::builder(file(name)).threads(ThreadPool::new(2).unwrap()).load().unwrap()
}

fn prompt(n: u32) -> Vec<u32> {
    (0..n).map(|i| (i * 37 + 11) % 512).collect()
}

fn last(session: &mut Session, ids: &[u32]) -> Vec<u32> {
    session.forward(ids).unwrap().last().iter().map(|x| x.to_bits()).collect()
}

fn saved(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert_eq!(session.save(&mut bytes).unwrap(), bytes.len() as u64);
    bytes
}

/// What is wrong with these bytes, by the name of the field; anything but [`Error::Session`] fails.
fn refused(model: &Model, bytes: &[u8]) -> &'static str {
    match model.restore(&mut &bytes[..]) {
        Err(Error::Session { what, .. }) => what,
        other => unreachable!("{other:?}"),
    }
}

/// Around the rings of the sliding layers (128 rows), through a rewind, with soft tokens, in every type.
#[test]
fn a_restored_session_goes_on_bit_by_bit() {
    for kv_type in [KvType::F16, KvType::F32, KvType::Q8_0] {
        let first = model("q4_k_m");
        let mut s = first.session().context(600).batch(64).rewind_window(20).kv_type(kv_type).build().unwrap();
        s.prefill(&prompt(300), &mut |_, _| {}).unwrap();
        s.forward_soft(&vec![0.25; 3 * first.plan().spec.hidden]).unwrap();
        s.rewind(301).unwrap();
        let bytes = saved(&s);

        // Another process would have nothing but the file, too.
        let mut restored = model("q4_k_m").restore(&mut &bytes[..]).unwrap();
        assert_eq!(restored.tokens(), s.tokens());
        assert_eq!(restored.tokens()[300], Session::SOFT);
        assert_eq!(restored.capacity(), 600);
        assert_eq!(saved(&restored), bytes, "{kv_type:?}");
        let (future, mut fork) = (prompt(90), restored.fork().unwrap());
        let expected = last(&mut s, &future);
        assert_eq!(last(&mut restored, &future), expected, "{kv_type:?}");
        assert_eq!(last(&mut fork, &future), expected, "{kv_type:?}");

        // What could be taken back still can.
        let mut restored = model("q4_k_m").restore(&mut &bytes[..]).unwrap();
        s.rewind(290).unwrap();
        restored.rewind(290).unwrap();
        assert_eq!(last(&mut restored, &future), last(&mut s, &future), "{kv_type:?}");
        assert!(matches!(restored.rewind(100), Err(Error::RewindTooFar { .. })));
    }
}

#[test]
fn an_empty_session_and_a_full_one_are_saved_as_well() {
    let model = model("q4_k_m");
    let mut s = model.session().context(70).build().unwrap();
    let mut restored = model.restore(&mut &saved(&s)[..]).unwrap();
    assert!(restored.tokens().is_empty());
    assert_eq!(last(&mut restored, &prompt(70)), last(&mut s, &prompt(70)));
    let mut restored = model.restore(&mut &saved(&s)[..]).unwrap();
    assert!(matches!(restored.forward(&[1]), Err(Error::ContextFull { used: 70, .. })));
}

/// What a reply said last is not evaluated yet when it is over.
#[test]
fn a_reply_is_carried_on() {
    let first = model("q4_k_m");
    let options = || GenerateOptions::new().max_tokens(5).seed(3).logprobs(1);
    let said = |s: &mut Session, source: Source| -> Vec<u32> {
        let events = s.send(source, options()).unwrap().map(|event| event.unwrap());
        events.filter_map(|event| if let Event::Token(token) = event { Some(token.id) } else { None }).collect()
    };
    let mut s = first.session().context(200).build().unwrap();
    said(&mut s, Source::Tokens(prompt(20)));
    let mut restored = model("q4_k_m").restore(&mut &saved(&s)[..]).unwrap();
    assert_eq!(said(&mut restored, Source::Here), said(&mut s, Source::Here));
    assert_eq!(restored.tokens(), s.tokens());
    assert!(s.tokens().len() > 20);
}

#[test]
fn the_conversation_comes_back() {
    let model = model("q4_k_m");
    let tool = |name: &str, strict| Tool {
        name: name.into(),
        description: "Wetter – \"heute\"\n".into(),
        parameters_json: r#"{"type": "object",  "properties": {}}"#.into(),
        strict,
    };
    let mut s = model.session().context(64).tools(vec![tool("a", true), tool("b", false)]).build().unwrap();
    s.add(Message::System("Be brief.".into()));
    s.add(Message::user("Wie spät ist es? 🕰"));
    s.add(Message::Assistant { text: "Zwölf.".into(), thinking: Some("12".into()), tool_calls: vec![] });
    let restored = model.restore(&mut &saved(&s)[..]).unwrap();
    let Chat { messages, tools, thinking, preserve_thinking } = restored.chat();
    assert_eq!((messages, tools), (&s.chat().messages, &s.chat().tools));
    assert_eq!((*thinking, *preserve_thinking), (s.chat().thinking, s.chat().preserve_thinking));
}

/// A small file, so that all of its bytes can be tried.
fn small() -> (Model, Vec<u8>) {
    let model = model("q4_k_m");
    let mut s = model.session().context(64).batch(8).kv_type(KvType::Q8_0).build().unwrap();
    s.prefill(&prompt(2), &mut |_, _| {}).unwrap();
    let bytes = saved(&s);
    (model, bytes)
}

#[test]
fn every_flipped_byte_is_noticed() {
    let (model, bytes) = small();
    let mut fields = Vec::new();
    for i in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[i] ^= 1 << (i % 8);
        fields.push(refused(&model, &damaged));
    }
    fields.dedup();
    for field in
        ["magic", "version", "fingerprint of the model", "layout of the cache", "context", "KV type", "checksum"]
    {
        assert!(fields.contains(&field), "{field} is not among {fields:?}");
    }
}

#[test]
fn every_cut_is_noticed() {
    let (model, bytes) = small();
    for len in 0..bytes.len() {
        let error = model.restore(&mut &bytes[..len]).unwrap_err();
        assert!(error.to_string().contains("the end of the file"), "{len} of {}: {error}", bytes.len());
    }
}

/// Counts that no file of this size can have ask for no memory.
#[test]
fn absurd_numbers_are_refused_by_name() {
    let (model, bytes) = small();
    // Magic, version, fingerprint, the layout's length and text ("cpu").
    let options = 8 + 4 + 32 + 8 + 3;
    let fields = ["context", "batch", "rewind", "KV type", "start of a reply", "positions written", "tokens"];
    for (i, field) in fields.into_iter().enumerate() {
        for absurd in [u64::MAX, 1 << 40, 1 << 31] {
            let mut damaged = bytes.clone();
            damaged[options + 8 * i..][..8].copy_from_slice(&absurd.to_le_bytes());
            assert_eq!(refused(&model, &damaged), field);
        }
    }
    let (tokens, no_token) = (options + 8 * fields.len(), 512u32);
    let mut damaged = bytes;
    damaged[tokens..][..4].copy_from_slice(&no_token.to_le_bytes());
    assert_eq!(refused(&model, &damaged), "tokens");
}

#[test]
fn other_models_versions_and_files_are_refused_by_name() {
    let (mut model_of, mut bytes) = small();
    for other in ["q5_k_m", "bf16"] {
        let error = model(other).restore(&mut &bytes[..]).unwrap_err();
        assert!(error.to_string().starts_with("saved session: fingerprint of the model: found "), "{error}");
    }
    bytes[8] = 3;
    let error = model_of.restore(&mut &bytes[..]).unwrap_err();
    assert_eq!(error.to_string(), "saved session: version: found 3, expected 1 or 2");
    model_of = model("q4_k_m");
    assert_eq!(refused(&model_of, &std::fs::read(file("q4_k_m")).unwrap()), "magic");
    assert_eq!(refused(&model_of, b""), "magic");
    let broken = &mut std::io::Error::other("unplugged");
    struct Broken<'a>(&'a std::io::Error);
    impl Read for Broken<'_> {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::new(self.0.kind(), self.0.to_string()))
        }
    }
    assert!(matches!(model_of.restore(&mut Broken(broken)), Err(Error::Io { .. })));
}

/// The fingerprint is that of the content, not of the way to it.
#[test]
fn a_copy_of_the_model_is_the_same_model() {
    let bytes = std::fs::read(file("q4_k_m")).unwrap();
    let of_bytes = |bytes| {
        let bytes = lemmy_core::gguf::FileBytes::Owned(bytes);
        *Model::builder_from_bytes(bytes).threads(ThreadPool::new(1).unwrap()).load().unwrap().fingerprint()
    };
    assert_eq!(of_bytes(bytes.clone()), *model("q4_k_m").fingerprint());
    assert_ne!(*model("q5_k_m").fingerprint(), *model("q4_k_m").fingerprint());
    // The last tensor's last byte is one of those that are looked at.
    let mut other = bytes;
    let end = other.iter().rposition(|&byte| byte != 0).unwrap();
    other[end] ^= 1;
    assert_ne!(of_bytes(other), *model("q4_k_m").fingerprint());
}

/// A folder of its own for a test; removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lemmy-save-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        std::fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_file_is_replaced_as_a_whole_and_read_back() {
    let folder = Folder::new("whole");
    let path = folder.0.join("chat.session");
    let model = model("q4_k_m");
    let mut s = model.session().context(200).build().unwrap();
    s.prefill(&prompt(20), &mut |_, _| {}).unwrap();
    s.save_file(&path).unwrap();
    s.prefill(&prompt(30), &mut |_, _| {}).unwrap();
    assert_eq!(s.save_file(&path).unwrap(), std::fs::metadata(&path).unwrap().len());
    assert_eq!(folder.names(), ["chat.session"]);
    let mut restored = model.restore_file(&path).unwrap();
    assert_eq!(restored.tokens().len(), 50);
    assert_eq!(last(&mut restored, &[7]), last(&mut s, &[7]));

    let mut longer = std::fs::read(&path).unwrap();
    longer.push(0);
    std::fs::write(&path, longer).unwrap();
    assert!(matches!(model.restore_file(&path), Err(Error::Session { what: "end", .. })));
}

#[cfg(unix)]
#[test]
fn what_cannot_be_a_session_file_is_left_alone() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = Folder::new("special");
    let model = model("q4_k_m");
    let s = model.session().context(64).build().unwrap();
    for path in [folder.0.as_path(), "/dev/null".as_ref(), "/dev/full".as_ref(), folder.0.join("none/x").as_ref()] {
        assert!(matches!(s.save_file(path), Err(Error::Io { .. })), "{}", path.display());
        assert!(matches!(model.restore_file(path), Err(Error::Io { .. })), "{}", path.display());
    }
    // A link stays a link, and nobody else may read a conversation.
    let (real, link) = (folder.0.join("real"), folder.0.join("link"));
    s.save_file(&real).unwrap();
    symlink(&real, &link).unwrap();
    s.save_file(&link).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
}

/// A writer that is full: an error, and the session is as it was.
#[test]
fn a_full_disk_is_an_error() {
    let mut s = model("q4_k_m").session().context(64).build().unwrap();
    s.prefill(&prompt(9), &mut |_, _| {}).unwrap();
    let mut small = [0; 1000];
    assert!(matches!(s.save(&mut &mut small[..]), Err(Error::Io { .. })));
    s.forward(&[1]).unwrap();
}
