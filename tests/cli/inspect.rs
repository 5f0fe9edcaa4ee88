//! `lemmy inspect` and `lemmy estimate`.

use super::*;

fn inspect(arguments: &[&str]) -> Done {
    done(lemmy(["inspect", &tiny()]).args(arguments))
}

#[test]
fn facts_for_people_and_programs() {
    let plain = inspect(&[]).code(0);
    for words in [
        "GGUF v3",
        "gemma4",
        "4.83 M",
        "Q4_K 1.95 MB (39)",
        "5 see 16 tokens back, 1 see all [5]",
        "10, 3 for each token",
    ] {
        assert!(plain.text().contains(words), "{words}: {plain:?}");
    }
    let json = inspect(&["--json"]).code(0).json();
    assert_eq!(json["architecture"], "gemma4");
    assert_eq!(json["tensor_count"], 134);
    assert_eq!(json["file_bytes"], std::fs::metadata(tiny()).unwrap().len());
    assert_eq!(json["model"]["context"], 4096);
    let layers = json["model"]["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 6);
    assert_eq!(layers[0]["window"], 16);
    assert!(layers[5]["window"].is_null() && layers[5]["values_from_keys"] == true);
    assert_eq!(layers[0]["experts"], serde_json::json!({ "count": 10, "used": 3, "width": 64 }));
    assert!(json["memory"]["total_bytes"].as_u64().unwrap() > 3_000_000);
    assert!(json.get("tensors").is_none());
}

#[test]
fn tensors() {
    let json = inspect(&["--json", "--tensors"]).code(0).json();
    let tensors = json["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 134);
    let embedding = tensors.iter().find(|t| t["name"] == "token_embd.weight").unwrap();
    assert_eq!(embedding["shape"], serde_json::json!([256, 512]));
    let bytes: u64 = tensors.iter().map(|t| t["bytes"].as_u64().unwrap()).sum();
    assert_eq!(json["memory"]["weights_bytes"], bytes);
    let plain = inspect(&["--tensors"]).code(0);
    assert!(plain.text().lines().any(|line| line.starts_with("token_embd.weight ") && line.contains("256 x 512")));
}

#[test]
fn one_key() {
    assert_eq!(inspect(&["--kv", "general.architecture"]).code(0).text(), "gemma4\n");
    assert_eq!(inspect(&["--kv", "general.architecture", "--json"]).code(0).text(), "\"gemma4\"\n");
    assert_eq!(inspect(&["--kv", "gemma4.block_count"]).code(0).text(), "6\n");
    assert_eq!(inspect(&["--kv", "tokenizer.ggml.tokens"]).code(0).json().as_array().unwrap().len(), 512);
    let pattern = inspect(&["--kv", "gemma4.attention.head_count_kv"]).code(0).json();
    assert_eq!(pattern, serde_json::json!([2, 2, 2, 2, 2, 1]));
    let missing = inspect(&["--kv", "block_count"]).code(3).says("no key `block_count`");
    assert!(missing.err.contains("did you mean --kv gemma4.block_count?"), "{missing:?}");
}

#[test]
fn check_finds_a_number_that_is_not_finite() {
    let sound = inspect(&["--check"]).code(0);
    assert!(sound.text().contains("every number is finite"));

    let json = inspect(&["--json", "--tensors"]).code(0).json();
    let tensors = json["tensors"].as_array().unwrap();
    let damaged = tensors.iter().find(|t| t["name"] == "blk.3.attn_q.weight").unwrap();
    let folder = Folder::new("nan");
    let path = folder.path("nan.gguf");
    let mut bytes = std::fs::read(tiny()).unwrap();
    let at = usize::try_from(damaged["offset"].as_u64().unwrap()).unwrap();
    // The first half float of a Q4_K block is its scale; 0x7e00 is not a number.
    bytes[at..at + 2].copy_from_slice(&0x7e00_u16.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    done(&mut lemmy(["inspect", text(&path)])).code(0);
    let failed = done(&mut lemmy(["inspect", text(&path), "--check"])).code(5).says("blk.3.attn_q.weight");
    assert!(failed.err.contains("not finite at index 0"), "{failed:?}");
    let failed = done(&mut lemmy(["inspect", text(&path), "--check", "--json"])).code(5);
    assert_eq!(failed.json()["error"]["kind"], "gguf");
}

#[test]
fn a_header_without_its_tensors_is_told_so() {
    // The 26B model's true header: everything is there but the weights.
    let shown = done(&mut lemmy(["inspect", &fixture("gguf/true26-header.gguf")]));
    assert_eq!(shown.code, Some(5), "{shown:?}");
    assert!(shown.err.contains("tensor"), "{shown:?}");
}

#[test]
fn estimates_grow_with_the_context() {
    let total = |context: &str| {
        let json = done(&mut lemmy(["estimate", &tiny(), "-c", context, "--json"])).code(0).json();
        assert_eq!(json["fits"], true);
        json["total_bytes"].as_u64().unwrap()
    };
    assert!(total("4096") > total("1024"));
    let plain = done(&mut lemmy(["estimate", &tiny()])).code(0);
    assert!(plain.text().contains("for a context of 4096 tokens") && plain.text().contains("total"), "{plain:?}");
}

#[test]
fn sessions_side_by_side_have_a_cache_each() {
    let estimate = |arguments: &[&str]| done(lemmy(["estimate", &tiny(), "--json"]).args(arguments)).code(0).json();
    let (one, four) = (estimate(&[]), estimate(&["--parallel", "4"]));
    let bytes = |json: &serde_json::Value, key: &str| json[key].as_u64().unwrap();
    assert_eq!(bytes(&four, "total_bytes"), bytes(&one, "total_bytes") + 3 * bytes(&one, "kv_bytes"));
    assert_eq!(four["sessions"], 4);
    assert!(bytes(&estimate(&["--kv-type", "q8_0"]), "kv_bytes") < bytes(&one, "kv_bytes"));
    let plain = done(&mut lemmy(["estimate", &tiny(), "--parallel", "4"])).code(0);
    assert!(plain.text().contains(", 4 times\n") && plain.text().contains(", 4 of "), "{plain:?}");
}

#[test]
fn digests_are_held_against_the_names_that_a_hub_gave() {
    let plain = inspect(&["--sha256", "--json"]).code(0).json();
    let sha = plain["sha256"][0]["sha256"].as_str().unwrap().to_owned();
    assert!(sha.len() == 64 && plain["sha256"][0]["expected"].is_null(), "{plain}");
    let folder = Folder::new("digests");
    std::fs::create_dir(folder.path("blobs")).unwrap();
    let blob = |name: &str| {
        let path = folder.path("blobs").join(name);
        std::fs::copy(tiny(), &path).unwrap();
        done(&mut lemmy(["inspect", text(&path), "--sha256"]))
    };
    assert!(blob(&sha).code(0).text().contains(", as the hub says"));
    blob(&"a".repeat(64)).code(5).says(&sha);
}

#[test]
fn weights_are_read_and_kept_in_memory_where_that_is_allowed() {
    let run = |flag: &str| done(&mut lemmy(["run", &tiny(), "--raw", "a", "-n", "1", "--temp", "0", flag]));
    run("--prefault").code(0);
    let locked = run("--mlock");
    match locked.code {
        Some(0) => {}
        _ => assert!(locked.code(4).says("--mlock").err.contains("hint: ulimit -l")),
    }
}
