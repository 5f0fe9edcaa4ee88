//! Models by their names on the hub: downloaded when they are asked for, listed, removed.

use super::hub::{COMMIT, REPO, sha256};
use super::pull::Place;
use super::*;
use serde_json::json;

fn model() -> Vec<u8> {
    std::fs::read(tiny()).unwrap()
}

#[test]
fn a_name_works_wherever_a_file_does() {
    let model = model();
    let place = Place::new("models-names", &[("m-Q4_K_M.gguf", &model)]);
    let by_file = done(&mut lemmy(["tokenize", &tiny(), "a b"])).code(0);
    let first = done(&mut place.lemmy(["tokenize", "org/repo:Q4_K_M", "a b"])).code(0);
    assert_eq!(first.out, by_file.out);
    assert!(first.err.contains("downloading org/repo:Q4_K_M"), "{first:?}");
    // What is there is taken without a question to the hub.
    let asked = place.hub.requests().len();
    for arguments in [
        &["run", REPO, "--raw", "a", "-n", "2", "--temp", "0"][..],
        &["run", "-hf", "org/repo", "-hff", "m-Q4_K_M.gguf", "--raw", "-p", "a", "-n", "2"],
        &["inspect", "-m", "hf.co/org/repo"],
        &["estimate", "https://huggingface.co/org/repo", "-c", "64"],
        &["logits", "org/repo@v1", "--tokens", "2", "--offline"],
        &["bench", "org/repo", "-p", "4", "-n", "0", "-r", "1"],
    ] {
        if arguments.contains(&"org/repo@v1") {
            done(&mut place.lemmy(arguments.iter().copied())).code(3).says("--offline asks no hub");
        } else {
            let named = done(&mut place.lemmy(arguments.iter().copied())).code(0);
            assert!(!named.err.contains("downloading"), "{named:?}");
        }
    }
    assert_eq!(place.hub.requests().len(), asked);
    // Unless it is asked for what is new.
    done(&mut place.lemmy(["tokenize", REPO, "a", "--update"])).code(0);
    assert!(place.hub.requests().len() > asked);
}

#[test]
fn names_of_nothing_tell_the_next_step() {
    let place = Place::new("models-nothing", &[]);
    done(&mut place.lemmy(["run", "no-such-model", "hello"])).code(3).says("hint: lemmy list");
    let offline =
        done(&mut place.lemmy(["run", "lemmy", "hello", "--offline"])).code(3).says("lthn/lemmy-gguf: not downloaded");
    assert!(offline.err.contains("hint: lemmy pull lthn/lemmy-gguf"), "{offline:?}");
    assert!(place.hub.requests().is_empty());
    done(&mut place.lemmy(["run", "hf.co/org", "hello"])).code(2).says("found no repository in it");
}

#[test]
fn a_large_download_is_asked_about_first() {
    let place = Place::new("models-large", &[]);
    let size: u64 = 17_000_000_000;
    let lfs = json!({"oid": "a".repeat(64), "size": size});
    place.hub.list(json!({"type": "file", "path": "m-Q4_K_M.gguf", "size": size, "oid": "b".repeat(40), "lfs": lfs}));
    let refused = done(&mut place.lemmy(["run", REPO, "hello"])).code(2).says("17.00 GB (expected --yes");
    assert!(refused.err.contains("hint: lemmy pull org/repo"), "{refused:?}");
    assert!(place.hub.downloads().is_empty());
}

#[test]
fn what_is_listed_can_be_removed() {
    let model = model();
    let place =
        Place::new("models-list", &[("m-Q4_K_M.gguf", &model), ("m-Q8_0.gguf", b"other"), ("mmproj-F16.gguf", b"p")]);
    let empty = done(&mut place.lemmy(["list"])).code(0);
    assert!(empty.out.is_empty() && empty.err.contains("lemmy pull"), "{empty:?}");
    place.pull(&[REPO, "--all-quants"]).code(0);

    let listed = done(&mut place.lemmy(["ls", "--json"])).code(0).json();
    let models = listed["models"].as_array().unwrap();
    assert_eq!(
        models.iter().map(|m| m["name"].as_str().unwrap()).collect::<Vec<_>>(),
        ["org/repo:Q4_K_M", "org/repo:Q8_0"]
    );
    assert_eq!((&models[0]["size_bytes"], &models[0]["quant"]), (&json!(model.len()), &json!("Q4_K_M")));
    assert_eq!(std::fs::read(models[0]["path"].as_str().unwrap()).unwrap(), model);
    assert!(models[0]["modified"].as_str().unwrap().ends_with('Z'));
    let table = done(&mut place.lemmy(["list"])).code(0);
    assert!(table.text().starts_with("NAME ") && table.text().lines().count() == 3, "{table:?}");

    done(&mut place.lemmy(["rm", "org/repo:Q4_K_M"])).code(2).says("expected --yes");
    done(&mut place.lemmy(["rm", "org/repo:Q6_K", "--yes"])).code(3).says("not downloaded");
    let removed = done(&mut place.lemmy(["rm", "org/repo:q4_k_m", "--yes", "--json"])).code(0).json();
    assert_eq!(removed["freed_bytes"], model.len());
    assert!(!place.root().join("blobs").join(sha256(&model)).exists());
    assert!(place.root().join("snapshots").join(COMMIT).join("m-Q8_0.gguf").exists());
    // With the last model the repository goes, projector and all.
    let last = done(&mut place.lemmy(["rm", REPO, "--yes"])).code(0);
    assert_eq!(last.text(), "org/repo: 6 B freed\n");
    assert!(!place.root().exists());
    done(&mut place.lemmy(["rm", REPO, "--yes"])).code(3).says("not downloaded");
}

#[cfg(unix)]
#[test]
fn bytes_that_another_snapshot_needs_stay() {
    let model = model();
    let place = Place::new("models-shared", &[("m-Q4_K_M.gguf", &model)]);
    place.pull(&[REPO]).code(0);
    let other = "f".repeat(40);
    let folder = place.root().join("snapshots").join(&other);
    std::fs::create_dir_all(&folder).unwrap();
    let name = folder.join("m-Q4_K_M.gguf");
    std::os::unix::fs::symlink(Path::new("../../blobs").join(sha256(&model)), &name).unwrap();
    let listed = done(&mut place.lemmy(["list", "--json"])).code(0).json();
    let names: Vec<_> =
        listed["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["org/repo:Q4_K_M".to_owned(), format!("org/repo@{other}:Q4_K_M")]);
    let removed = done(&mut place.lemmy(["rm", &names[1], "--yes"])).code(0);
    assert!(removed.text().ends_with(": 0 B freed\n"), "{removed:?}");
    assert!(!name.exists());
    done(&mut place.lemmy(["tokenize", REPO, "a", "--offline"])).code(0);
}

#[test]
fn a_download_that_did_not_end_is_listed_and_named_by_the_doctor() {
    let place = Place::new("models-part", &[]);
    std::fs::create_dir_all(place.root().join("blobs")).unwrap();
    std::fs::write(place.root().join("blobs").join(format!("{}.incomplete", "a".repeat(64))), "begin").unwrap();
    assert!(done(&mut place.lemmy(["list"])).code(0).text().contains("not complete"));
    let checked = done(&mut place.lemmy(["doctor", "--offline", "--json"])).code(0).json();
    let parts = checked["checks"].as_array().unwrap().iter().find(|check| check["name"] == "parts").unwrap().clone();
    assert_eq!((&parts["state"], &parts["found"]), (&json!("warn"), &json!("downloads that did not end: 1, with 5 B")));
    assert_eq!(done(&mut place.lemmy(["rm", REPO, "--yes"])).code(0).text(), "org/repo: 5 B freed\n");
    assert!(place.hub.requests().is_empty());
}

#[test]
fn what_belongs_to_no_model_can_be_pruned() {
    let model = model();
    let place = Place::new("models-prune", &[("m-Q4_K_M.gguf", &model)]);
    place.pull(&[REPO]).code(0);
    let blobs = place.root().join("blobs");
    std::fs::write(blobs.join("a".repeat(64)), "nobody's").unwrap();
    std::fs::write(blobs.join(format!("{}.incomplete", "b".repeat(64))), "begin").unwrap();
    let prune = |arguments: &[&str]| done(place.lemmy(["cache", "prune"]).args(arguments)).code(0);
    assert_eq!(prune(&["--older", "1h"]).text(), "0 B freed\n");
    assert!(prune(&["--incomplete"]).text().ends_with("\n5 B freed\n"));
    assert_eq!(prune(&["--json"]).json()["freed_bytes"], 8);
    assert_eq!(std::fs::read_dir(&blobs).unwrap().count(), 1);
    done(&mut place.lemmy(["tokenize", REPO, "a", "--offline"])).code(0);
}

#[cfg(unix)]
#[test]
fn what_a_link_leads_to_outside_of_the_cache_stays() {
    let model = model();
    let place = Place::new("models-outside", &[("m-Q4_K_M.gguf", &model)]);
    place.pull(&[REPO]).code(0);
    let elsewhere = Folder::new("models-elsewhere");
    let mine = elsewhere.path("n-Q8_0.gguf");
    std::fs::write(&mine, &model).unwrap();
    let link = place.root().join("snapshots").join(COMMIT).join("n-Q8_0.gguf");
    std::os::unix::fs::symlink(&mine, &link).unwrap();
    done(&mut place.lemmy(["rm", "org/repo:Q8_0", "--yes"])).code(0);
    assert!(mine.exists() && std::fs::symlink_metadata(&link).is_err());
}
