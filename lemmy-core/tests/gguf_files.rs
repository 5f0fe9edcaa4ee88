//! GGUF files on disk: the true shapes, maps and reads, progress and cancelling, special files, changes, splits, and
//! what the writer writes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, clippy::expect_used, clippy::print_stderr)]

use std::fs::{self, File};
use std::io::{Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use lemmy_core::gguf::{Array, FileBytes, Gguf, GgufWriter, LoadMode, Value};
use lemmy_core::quant::DType;
use lemmy_core::{CancelToken, Error, GgufError, limits};
use proptest::prelude::*;

const TRUE_HEADER: &[u8] = include_bytes!("../../tests/fixtures/gguf/true26-header.gguf");
const TRUE_BYTES: u64 = 50_489_354_848;

#[test]
fn true_shapes_without_data_name_the_first_tensor_outside() {
    let error = Gguf::from_bytes(FileBytes::Static(TRUE_HEADER)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "(bytes): tensor `rope_freqs.weight`: found data at bytes 41632 to 42656, expected data inside the file, which \
         has 41632 bytes"
    );
}

/// The whole file of 50 GB, of which only the header takes room on the disk.
#[test]
#[cfg(target_pointer_width = "64")]
fn true_shapes_in_a_sparse_file() {
    let dir = Dir::new("sparse");
    let path = dir.path("true26.gguf");
    let mut file = File::create(&path).unwrap();
    file.write_all(TRUE_HEADER).unwrap();
    if file.set_len(TRUE_BYTES).is_err() {
        eprintln!("skipped: this file system has no files of {TRUE_BYTES} bytes");
        return;
    }
    let gguf = open(&path).unwrap();
    assert_eq!((gguf.version(), gguf.parts(), gguf.file_bytes()), (3, 1, TRUE_BYTES));
    assert_eq!((gguf.keys().len(), gguf.tensors().len()), (25, 658));
    assert_eq!(gguf.tensors().iter().filter(|t| t.dtype == DType::F32).count(), 392);
    assert_eq!(gguf.tensors().iter().map(|t| t.numbers()).sum::<u64>(), 25_233_142_046);
    let heads = gguf.get("gemma4.attention.head_count_kv").unwrap().as_array().unwrap();
    assert_eq!(heads.integers().unwrap().take(7).collect::<Vec<_>>(), [8, 8, 8, 8, 8, 2, 8]);
    let experts = gguf.tensor("blk.29.ffn_gate_up_exps.weight").unwrap();
    assert_eq!((experts.shape, experts.dims, experts.dtype), ([2816, 1408, 128, 1], 3, DType::BF16));
    assert_eq!(gguf.tensor_bytes(experts).len(), 2816 * 1408 * 128 * 2);
    drop(gguf);

    file.set_len(TRUE_BYTES - 1).unwrap();
    let GgufError::Tensor { tensor, .. } = damage(open(&path)) else { panic!() };
    assert_eq!(tensor, "output_norm.weight");
}

#[test]
fn a_header_has_its_limit() {
    // Eight arrays of up to 128 MiB, in holes of the file; with lengths and names exactly the limit.
    let dir = Dir::new("header");
    let path = dir.path("header.gguf");
    let at_limit = limits::GGUF_ARRAY_NUMBERS - (24 + 8 * 25) / 8;
    for last in [at_limit, at_limit + 1] {
        let mut file = File::create(&path).unwrap();
        file.write_all(&[&b"GGUF\x03\0\0\0"[..], &[0; 8], &8u64.to_le_bytes()].concat()).unwrap();
        for i in 0..8u8 {
            let count = if i < 7 { limits::GGUF_ARRAY_NUMBERS } else { last };
            let (array, f64s) = (9u32.to_le_bytes(), 12u32.to_le_bytes());
            file.write_all(&[&1u64.to_le_bytes()[..], &[b'a' + i], &array, &f64s, &count.to_le_bytes()].concat())
                .unwrap();
            file.seek_relative(count as i64 * 8).unwrap();
        }
        file.set_len(limits::GGUF_HEADER_BYTES + 4096).unwrap();
        let outcome = open(&path);
        if last == at_limit {
            assert_eq!(outcome.unwrap().keys().len(), 8);
        } else {
            let text = damage(outcome).to_string();
            assert!(text.contains("length of array `h`") && text.contains("a header of 1073741824 bytes"), "{text}");
        }
    }
}

#[test]
fn map_and_read_give_the_same() {
    let dir = Dir::new("modes");
    let path = dir.path("model.gguf");
    let large = 20 << 20;
    let mut writer = GgufWriter::new();
    writer.key("general.architecture", "gemma4").tensor("large", DType::I8, &[large]).unwrap();
    let mut data = writer.begin(File::create(&path).unwrap()).unwrap();
    let pattern: Vec<u8> = (0..large).map(|i| (i % 251) as u8).collect();
    data.write(&pattern).unwrap();
    data.finish().unwrap();
    for mode in [LoadMode::Mmap, LoadMode::Read] {
        let mut calls = Vec::new();
        let gguf = Gguf::open(&path, mode, &CancelToken::new(), &mut |done, total| {
            calls.push((done, total));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(gguf.name(), path.to_str().unwrap());
        assert_eq!(gguf.tensor_bytes(&gguf.tensors()[0]).as_slice(), pattern);
        let total = fs::metadata(&path).unwrap().len();
        assert_eq!((calls[0], *calls.last().unwrap()), ((0, total), (total, total)));
        assert!(calls.is_sorted());
        assert!(mode == LoadMode::Mmap || calls.len() >= 4, "a look every 8 MiB: {calls:?}");
        assert!(gguf.check_unchanged().is_ok());
    }
}

#[test]
fn loading_stops_on_request() {
    let dir = Dir::new("cancel");
    let path = dir.path("model.gguf");
    let mut writer = GgufWriter::new();
    writer.tensor("large", DType::I8, &[20 << 20]).unwrap();
    let mut data = writer.begin(File::create(&path).unwrap()).unwrap();
    data.write(&vec![0; 20 << 20]).unwrap();
    data.finish().unwrap();
    for mode in [LoadMode::Mmap, LoadMode::Read] {
        let cancel = CancelToken::new();
        cancel.cancel();
        let error = Gguf::open(&path, mode, &cancel, &mut |_, _| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{error}");
    }
    let mut most = 0;
    let error = Gguf::open(&path, LoadMode::Read, &CancelToken::new(), &mut |done, _| {
        most = done;
        if done == 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(most, 8 << 20, "stopped after the first piece");
    let cancel = CancelToken::new();
    let error = Gguf::open(&path, LoadMode::Read, &cancel, &mut |done, _| {
        if done >= 16 << 20 {
            cancel.cancel();
        }
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
}

#[test]
fn cve_2024_39721_special_files() {
    let dir = Dir::new("special");
    fs::write(dir.path("empty"), b"").unwrap();
    fs::create_dir(dir.path("folder")).unwrap();
    let mut cases = vec![(dir.path("empty"), "an empty file"), (dir.path("folder"), "a directory")];
    #[cfg(unix)]
    {
        assert!(std::process::Command::new("mkfifo").arg(dir.path("pipe")).status().unwrap().success());
        cases.push((dir.path("pipe"), "a named pipe"));
        cases.push(("/dev/zero".into(), "a device"));
        cases.push(("/dev/null".into(), "a device"));
    }
    #[cfg(target_os = "linux")]
    cases.push(("/proc/self/status".into(), "an empty file"));
    for (path, kind) in cases {
        for mode in [LoadMode::Mmap, LoadMode::Read] {
            // On a thread: a pipe that is waited for would hang the test.
            let (send, receive) = std::sync::mpsc::channel();
            let name = path.clone();
            std::thread::spawn(move || send.send(open_as(&name, mode)));
            let outcome = receive.recv_timeout(std::time::Duration::from_secs(20)).expect("an answer at once");
            let expected = format!("at byte 0: kind of file: found {kind}, expected a regular file with content");
            assert_eq!(damage(outcome).to_string(), expected);
        }
    }
    let missing = open(&dir.path("missing.gguf")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }) && missing.to_string().contains("missing.gguf"), "{missing}");
}

#[test]
fn changes_of_a_mapped_file_are_noticed() {
    let dir = Dir::new("changes");
    let path = dir.path("model.gguf");
    fs::write(&path, finished(&[("a", 1)], |_| {})).unwrap();
    let (mapped, read) = (open_as(&path, LoadMode::Mmap).unwrap(), open_as(&path, LoadMode::Read).unwrap());
    assert!(mapped.check_unchanged().is_ok());

    // One byte, and the time of modification set back. The system's clock for files ticks every few milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let file = File::options().write(true).open(&path).unwrap();
    let before = file.metadata().unwrap().modified().unwrap();
    let len = file.metadata().unwrap().len();
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    (&file).write_all(&bytes).unwrap();
    file.set_modified(before).unwrap();
    assert_eq!(file.metadata().unwrap().len(), len);
    let error = mapped.check_unchanged().unwrap_err();
    assert!(matches!(&error, Error::FileChanged(name) if name.contains("model.gguf")), "{error}");
    assert!(read.check_unchanged().is_ok(), "what is in memory cannot change");

    let mapped = open(&path).unwrap();
    file.set_len(len + 1).unwrap();
    assert!(matches!(mapped.check_unchanged(), Err(Error::FileChanged(_))));
}

#[test]
#[cfg(unix)]
fn a_mapped_file_that_is_replaced_or_deleted_lives_on() {
    let dir = Dir::new("replaced");
    let (path, next) = (dir.path("model.gguf"), dir.path("next.gguf"));
    fs::write(&path, finished(&[("a", 1)], |_| {})).unwrap();
    fs::write(&next, finished(&[("a", 2)], |_| {})).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let old = open(&path).unwrap();
    fs::rename(&next, &path).unwrap();
    old.check_unchanged().unwrap();
    let new = open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    new.check_unchanged().unwrap();
    for (gguf, fill) in [(old, 1), (new, 2)] {
        assert_eq!(gguf.tensor_bytes(gguf.tensor("a").unwrap()).as_slice(), [fill; 32]);
    }
}

#[test]
fn split_models() {
    let dir = Dir::new("split");
    let parts = Split::default();
    parts.write(&dir);
    for mode in [LoadMode::Mmap, LoadMode::Read] {
        let mut last = (0, 0);
        let gguf = Gguf::open(&dir.part(1), mode, &CancelToken::new(), &mut |done, total| {
            last = (done, total);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(gguf.parts(), 3);
        assert_eq!(last, (gguf.file_bytes(), gguf.file_bytes()));
        let names: Vec<_> = gguf.tensors().iter().map(|t| (t.name.as_str(), t.part)).collect();
        assert_eq!(names, [("a", 1), ("b", 1), ("c", 2)]);
        for (name, fill) in [("a", 1), ("b", 2), ("c", 3)] {
            assert_eq!(gguf.tensor_bytes(gguf.tensor(name).unwrap()).as_slice(), [fill; 32]);
        }
        assert_eq!(gguf.get("general.architecture").unwrap().as_str(), Some("gemma4"));
        assert!(gguf.check_unchanged().is_ok());
    }
}

#[test]
fn split_models_that_do_not_fit_together() {
    type Change = fn(&mut Split);
    let cases: [(Change, &str); 13] = [
        (
            |s| s.parts[1].total = 4,
            "m-00002-of-00003.gguf: split: split.tensors.count: found 4, expected 3 as in the first part",
        ),
        (|s| s.parts[1].no = 2, "m-00002-of-00003.gguf: split: split.no: found 2, expected 1"),
        (
            |s| s.parts[2].no = -1,
            "m-00003-of-00003.gguf: key `split.no`: found -1, expected an integer that is not negative",
        ),
        (
            |s| s.parts[2].count = 2,
            "m-00003-of-00003.gguf: split: split.count: found 2, expected 3 as in the first part",
        ),
        (|s| s.parts[0].count = 4, "found m-00001-of-00003.gguf, expected NAME-00001-of-00004.gguf"),
        (|s| s.parts[0].count = 999, "found m-00001-of-00003.gguf, expected NAME-00001-of-00999.gguf"),
        (|s| s.parts[0].total = 100_001, "split: split.tensors.count: found 100001, expected at most 100000"),
        (|s| s.parts[0].count = 0, "split: split.count: found 0, expected 1 to 999"),
        (|s| s.parts[0].count = 1000, "split: split.count: found 1000, expected 1 to 999"),
        (
            |s| s.parts.iter_mut().for_each(|p| p.total = 4),
            "split: number of tensors: found 3, expected 4, as split.tensors.count says",
        ),
        (|s| s.parts.iter_mut().for_each(|p| p.total = 2), "found 3, expected 2, as split.tensors.count says"),
        (
            |s| s.parts[2].tensors = &[("a", 3)],
            "m-00001-of-00003.gguf: tensor `a`: found it twice, expected every tensor once",
        ),
        (
            |s| s.parts[1].architecture = Some("llama"),
            "split: general.architecture: found llama, expected the first part's, or none",
        ),
    ];
    for (i, (change, text)) in cases.into_iter().enumerate() {
        let dir = Dir::new(&format!("split-{i}"));
        let mut split = Split::default();
        change(&mut split);
        split.write(&dir);
        let error = open(&dir.part(1)).unwrap_err();
        assert!(matches!(error, Error::Gguf { .. }) && error.to_string().contains(text), "{error}\n{text}");
    }
    let dir = Dir::new("split-parts");
    Split::default().write(&dir);
    let text = open(&dir.part(2)).unwrap_err().to_string();
    assert!(text.contains("split.no: found 1, expected 0: open the first part of a split model"), "{text}");
    let text = Gguf::from_bytes(FileBytes::Owned(fs::read(dir.part(1)).unwrap())).unwrap_err().to_string();
    assert!(text.contains("split: name of the file: found (bytes), expected NAME-00001-of-00003.gguf"), "{text}");
    fs::write(dir.part(3), finished(&[("c", 3)], |_| {})).unwrap();
    let text = open(&dir.part(1)).unwrap_err().to_string();
    assert!(text.contains("m-00003-of-00003.gguf: missing key `split.no`"), "{text}");
    fs::remove_file(dir.part(3)).unwrap();
    let error = open(&dir.part(1)).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("m-00003-of-00003.gguf"), "{error}");
}

#[test]
fn the_writer_refuses_what_no_reader_takes() {
    let text = |writer: GgufWriter| writer.begin(Vec::new()).unwrap_err().to_string();
    let mut writer = GgufWriter::new();
    writer.key("a", 1u32).key("a", 2u32);
    assert!(text(writer).contains("`a` is there twice"));
    let mut writer = GgufWriter::new();
    writer.key("general.alignment", 48u32);
    assert!(text(writer).contains("power of two"));
    let mut writer = GgufWriter::new();
    writer.key("", 1u32);
    assert!(text(writer).contains("length of a key: found 0, expected 1 to 65535"));
    let mut writer = GgufWriter::new();
    assert!(writer.tensor("t", DType::Q4_K, &[128]).is_err());
    writer.tensor("t", DType::F32, &[2]).unwrap().tensor("t", DType::F32, &[2]).unwrap();
    assert!(text(writer).contains("`t` is there twice"));

    let mut writer = GgufWriter::new();
    writer.tensor("t", DType::F32, &[2]).unwrap();
    let mut data = writer.clone().begin(Vec::new()).unwrap();
    data.write(&[0; 3]).unwrap();
    assert!(data.write(&[0; 6]).unwrap_err().to_string().contains("6 bytes for tensor `t`, which lacks 5"));
    assert!(data.finish().unwrap_err().to_string().contains("tensor `t` lacks 5 bytes"));
    let mut data = writer.begin(Vec::new()).unwrap();
    data.write(&[0; 8]).unwrap();
    assert!(data.current().is_none());
    assert!(data.write(&[0]).unwrap_err().to_string().contains("after the last tensor"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is written comes back.
    #[test]
    fn writing_and_opening_agree(
        alignment in 0u32..9,
        keys in proptest::collection::btree_map("[a-z.é]{1,20}", value(), 0..12),
        tensors in proptest::collection::btree_map("[a-z0-9.]{1,20}", (0..DType::ALL.len(), 1u64..4, 1u64..4, 1usize..5), 0..8),
    ) {
        let mut writer = GgufWriter::new();
        for (key, value) in &keys {
            writer.key(key, value.clone());
        }
        writer.key("general.alignment", 1u32 << alignment);
        for (name, &(dtype, blocks, rows, dims)) in &tensors {
            let dtype = DType::ALL[dtype];
            writer.tensor(name, dtype, &[blocks * dtype.block_len() as u64, rows, 1, 2][..dims]).unwrap();
        }
        let mut data = writer.begin(Vec::new()).unwrap();
        let mut contents = Vec::new();
        while let Some(bytes) = data.current().map(|t| t.bytes as usize) {
            let content: Vec<u8> = (0..bytes).map(|i| (i * 7 + contents.len()) as u8).collect();
            let (first, rest) = content.split_at(bytes / 3);
            data.write(first).unwrap();
            data.write(rest).unwrap();
            contents.push(content);
        }
        let gguf = Gguf::from_bytes(FileBytes::Owned(data.finish().unwrap())).unwrap();
        prop_assert_eq!(gguf.keys().len(), keys.len() + 1);
        for ((found_key, found), (key, value)) in gguf.keys().zip(&keys) {
            prop_assert_eq!(found_key, key);
            prop_assert_eq!(found, value);
        }
        prop_assert_eq!(gguf.tensors().len(), tensors.len());
        for ((found, (name, &(dtype, ..))), content) in gguf.tensors().iter().zip(&tensors).zip(&contents) {
            prop_assert_eq!((&found.name, found.dtype), (name, DType::ALL[dtype]));
            prop_assert_eq!(found.offset % (1 << alignment), 0);
            let bytes = gguf.tensor_bytes(found);
            prop_assert_eq!(bytes.as_slice(), &content[..]);
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        any::<u16>().prop_map(Value::from),
        any::<i16>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        (-1e6f32..1e6).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e6f64..1e6).prop_map(Value::from),
        any::<Vec<i32>>().prop_map(|v| Array::from(&v[..]).into()),
        any::<Vec<bool>>().prop_map(|v| Array::from(&v[..]).into()),
        any::<Vec<Vec<u8>>>().prop_map(|v| Array::from_strings(v).into()),
    ]
}

/// Three parts: keys alone, two tensors, one tensor.
struct Split {
    parts: [SplitPart; 3],
}

struct SplitPart {
    no: i32,
    count: u16,
    total: i32,
    architecture: Option<&'static str>,
    tensors: &'static [(&'static str, u8)],
}

impl Default for Split {
    fn default() -> Self {
        let part = |no, architecture, tensors| SplitPart { no, count: 3, total: 3, architecture, tensors };
        Self { parts: [part(0, Some("gemma4"), &[]), part(1, None, &[("a", 1), ("b", 2)]), part(2, None, &[("c", 3)])] }
    }
}

impl Split {
    fn write(&self, dir: &Dir) {
        for (i, part) in self.parts.iter().enumerate() {
            let bytes = finished(part.tensors, |writer| {
                writer.key("split.no", part.no).key("split.count", part.count).key("split.tensors.count", part.total);
                if let Some(architecture) = part.architecture {
                    writer.key("general.architecture", architecture);
                }
            });
            fs::write(dir.part(i + 1), bytes).unwrap();
        }
    }
}

/// A file with tensors of 32 equal bytes.
fn finished(tensors: &[(&str, u8)], keys: impl FnOnce(&mut GgufWriter)) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    keys(&mut writer);
    for (name, _) in tensors {
        writer.tensor(*name, DType::I8, &[32]).unwrap();
    }
    let mut data = writer.begin(Vec::new()).unwrap();
    for (_, fill) in tensors {
        data.write(&[*fill; 32]).unwrap();
    }
    data.finish().unwrap()
}

fn open(path: &Path) -> Result<Gguf, Error> {
    open_as(path, LoadMode::Mmap)
}

fn open_as(path: &Path, mode: LoadMode) -> Result<Gguf, Error> {
    Gguf::open(path, mode, &CancelToken::new(), &mut |_, _| ControlFlow::Continue(()))
}

/// What is wrong with the file.
fn damage(outcome: Result<Gguf, Error>) -> GgufError {
    match outcome.unwrap_err() {
        Error::Gguf { source, .. } => source,
        other => panic!("{other:?}"),
    }
}

/// A directory that goes away with the test.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("gguf-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn part(&self, number: usize) -> PathBuf {
        self.path(&format!("m-{number:05}-of-00003.gguf"))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}
