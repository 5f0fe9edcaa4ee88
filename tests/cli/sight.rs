//! Pictures: `--image`, `/image`, and what is said where the model cannot see.

use lemmy_core::gguf::{Array, FileBytes, Gguf, GgufWriter, Value};
use lemmy_core::quant::DType;

use super::*;

#[path = "../../lemmy-core/tests/support/random_tower.rs"]
mod random_tower;

/// A folder with the tiny model, whose vocabulary got the marks of pictures, and a tiny tower with random weights.
fn seeing(name: &str) -> Folder {
    let folder = Folder::new(name);
    std::fs::write(folder.path("model.gguf"), marked(std::fs::read(tiny()).unwrap())).unwrap();
    let sizes = random_tower::Sizes { hidden: 144, ffn: 96, layers: 1, positions: 64, output: 256 };
    std::fs::create_dir(folder.path("tower")).unwrap();
    std::fs::write(folder.path("tower/mmproj.gguf"), random_tower::random_tower(&sizes, DType::F16)).unwrap();
    folder
}

/// The model with `<|image>` and `<image|>` in place of two unused tokens.
fn marked(file: Vec<u8>) -> Vec<u8> {
    let from = Gguf::from_bytes(FileBytes::Owned(file)).unwrap();
    let mut writer = GgufWriter::new();
    for (key, value) in from.keys() {
        let value = match (key, value) {
            ("tokenizer.ggml.tokens", Value::Array(tokens)) => {
                let mut tokens: Vec<String> =
                    tokens.strings().unwrap().map(|token| String::from_utf8_lossy(token).into_owned()).collect();
                (tokens[500], tokens[501]) = ("<|image>".into(), "<image|>".into());
                Array::from_strings(tokens).into()
            }
            ("tokenizer.ggml.token_type", Value::Array(types)) => {
                let mut types: Vec<i32> = types.integers().unwrap().map(|n| n as i32).collect();
                types[500..502].fill(3);
                Array::from(&types[..]).into()
            }
            ("tokenizer.ggml.merges", _) => Array::from_strings::<&str>([]).into(),
            (_, value) => value.clone(),
        };
        writer.key(key, value);
    }
    for tensor in from.tensors() {
        writer.tensor(&tensor.name, tensor.dtype, &tensor.shape[..tensor.dims as usize]).unwrap();
    }
    let mut data = writer.begin(Vec::new()).unwrap();
    for tensor in from.tensors() {
        data.write(from.tensor_bytes(tensor).as_slice()).unwrap();
    }
    data.finish().unwrap()
}

fn image(name: &str) -> String {
    fixture(&format!("vision/images/{name}"))
}

/// `lemmy run` on the model of a folder, at 70 soft tokens for each picture.
fn run(folder: &Folder, arguments: &[&str]) -> Done {
    let model = folder.path("model.gguf");
    let mut command = lemmy(["run", text(&model), "--temp", "0", "-n", "5", "--image-tokens", "70"]);
    done(command.args(arguments))
}

#[test]
fn pictures_go_before_the_text_and_are_counted() {
    let folder = seeing("sight-run");
    let mmproj = folder.path("tower/mmproj.gguf");
    let (square, wide) = (image("square_256.png"), image("text_1280x720.png"));
    let see =
        |arguments: &[&str]| run(&folder, &[&["--mmproj", text(&mmproj), "--json"], arguments].concat()).code(0).json();
    let usage = |json: &serde_json::Value, name: &str| json["usage"][name].as_u64().unwrap();

    let blind = see(&["What is this?"]);
    assert_eq!(usage(&blind, "image_tokens"), 0);
    let one = see(&["What is this?", "--image", &square]);
    assert_eq!(usage(&one, "image_tokens"), 64);
    assert_eq!(usage(&one, "prompt_tokens"), usage(&blind, "prompt_tokens") + 64 + 2);
    let two = see(&["What is this?", "--image", &square, "--image", &wide]);
    assert_eq!(usage(&two, "image_tokens"), 64 + 66);
    let other = see(&["What is this?", "--image", &wide, "--image", &square]);
    assert_eq!(usage(&other, "image_tokens"), 64 + 66);
    // A picture alone is a message.
    let alone = see(&["--image", &square]);
    assert_eq!(usage(&alone, "image_tokens"), 64);
    assert!(usage(&alone, "prompt_tokens") < usage(&one, "prompt_tokens"));
    let larger = see(&["What is this?", "--image", &square, "--image-tokens", "140"]);
    assert!(usage(&larger, "image_tokens") > 64);
}

#[test]
fn the_tower_beside_the_model_is_taken_if_it_is_the_only_one() {
    let folder = seeing("sight-beside");
    let square = image("square_256.png");
    let missing = run(&folder, &["a", "--image", &square]).code(2).says("--mmproj FILE");
    assert!(missing.err.contains("hint: "), "{missing:?}");
    std::fs::copy(folder.path("tower/mmproj.gguf"), folder.path("mmproj-F16.gguf")).unwrap();
    let seen = run(&folder, &["a", "--image", &square]).code(0);
    assert!(seen.err.contains("mmproj-F16.gguf"), "{seen:?}");
    let blind = run(&folder, &["a"]).code(0);
    assert!(!blind.err.contains("mmproj"), "without a picture it is not loaded: {blind:?}");
    std::fs::copy(folder.path("tower/mmproj.gguf"), folder.path("tiny.mmproj-BF16.gguf")).unwrap();
    let several = run(&folder, &["a", "--image", &square]).code(2).says("--mmproj FILE");
    assert!(several.err.contains("mmproj-F16.gguf, or --mmproj") && several.err.contains("BF16"), "{several:?}");
    run(&folder, &["a", "--image", &square, "--mmproj", text(&folder.path("mmproj-F16.gguf"))]).code(0);
}

#[test]
fn mistakes_are_told_by_the_name_of_the_file() {
    let folder = seeing("sight-mistakes");
    let mmproj = folder.path("tower/mmproj.gguf");
    let square = image("square_256.png");
    std::fs::write(folder.path("half.png"), &std::fs::read(image("fit_768x768.png")).unwrap()[..20_000]).unwrap();
    std::fs::write(folder.path("text.png"), "no picture").unwrap();
    let see = |arguments: &[&str]| run(&folder, &[&["a", "--mmproj", text(&mmproj)], arguments].concat());
    for name in ["half.png", "text.png"] {
        see(&["--image", text(&folder.path(name))]).code(5).says(name);
    }
    see(&["--image", "no-such.png"]).code(3).says("no-such.png");
    see(&["--image", text(&folder.0)]).code(5).says("found a folder");
    see(&["--image", &square, "--image-tokens", "100"]).code(2).says("expected 70, 140, 280, 560 or 1120");
    see(&["--image", &square, "--raw"]).code(2).says("--image: cannot be used with --raw");
    see(&["--image", &square, "-c", "40"]).code(1).says("context full");
    // More patches on one side than this tower has positions.
    see(&["--image", &image("wide_1200x60.png")]).code(5).says("64 along a side");
    run(&folder, &["a", "--mmproj", "no-such.gguf"]).code(3).says("no-such.gguf");
    run(&folder, &["a", "--mmproj", &tiny()]).code(5).says("no vision tower");
    let nano = done(&mut lemmy(["run", "nano", "a", "--image", &square]));
    nano.code(2).says("--mmproj FILE");
    let failed = see(&["--image", text(&folder.path("half.png")), "--json"]).code(5).json();
    assert_eq!(failed["error"]["kind"], "picture");
}

#[test]
fn a_conversation_shows_pictures_and_remembers_them() {
    let folder = seeing("sight-chat");
    let (model, mmproj) = (folder.path("model.gguf"), folder.path("tower/mmproj.gguf"));
    let (kept, said) = (folder.path("kept.session"), folder.path("said.md"));
    let square = image("square_256.png");
    let chat = |arguments: &[&str], stdin: &str| {
        let mut command =
            lemmy(["chat", text(&model), "--temp", "0", "-n", "5", "--no-history", "--image-tokens", "70"]);
        done_with(command.args(arguments), stdin.as_bytes())
    };
    let see = ["--mmproj", text(&mmproj), "--stats"];
    let lines = format!("/image {square}\nWhat is this?\nAnd now?\n/export {}\n/save {}\n", text(&said), text(&kept));
    let told = chat(&see, &lines).code(0);
    assert!(told.err.contains("goes with your next message"), "{told:?}");
    let transcript = std::fs::read_to_string(&said).unwrap();
    assert!(
        transcript.contains("## You\n\n(a picture)\n\nWhat is this?\n\n") && transcript.contains("\n\nAnd now?\n"),
        "{transcript}"
    );
    // The second message finds the picture in the cache, and so does another process.
    let reused = |err: &str| -> Vec<u64> {
        err.lines().filter_map(|l| l.split(" tok reused").next()?.rsplit(' ').next()?.parse().ok()).collect()
    };
    assert!(reused(&told.err).iter().any(|&n| n > 64), "{told:?}");
    let again = chat(&[&see[..], &["--load-session", text(&kept)]].concat(), "More\n").code(0);
    assert!(reused(&again.err)[0] > 64, "{again:?}");
    chat(&["--load-session", text(&kept)], "More\n").code(5).says("vision tower");

    chat(&[], &format!("/image {square}\n")).code(2).says("expected --mmproj FILE");
    chat(&see, "/image no-such.png\n").code(3).says("no-such.png");
    chat(&see, "/image\n").code(2).says("found no name of a file");
    // Forgotten with the rest; given as a flag it goes with the first message.
    let export = format!("/export {}\n", text(&said));
    chat(&see, &format!("/image {square}\n/clear\nHello\n{export}")).code(0);
    assert!(!std::fs::read_to_string(&said).unwrap().contains("(a picture)"));
    chat(&[&see[..], &["--image", &square]].concat(), &format!("Hello\nAgain\n{export}")).code(0);
    assert_eq!(std::fs::read_to_string(&said).unwrap().matches("(a picture)").count(), 1);
}

#[test]
fn the_estimate_knows_the_tower() {
    let folder = seeing("sight-estimate");
    let (model, mmproj) = (folder.path("model.gguf"), folder.path("tower/mmproj.gguf"));
    let estimate = |arguments: &[&str]| {
        let command = &mut lemmy(["estimate", text(&model)]);
        done(command.args(arguments)).code(0)
    };
    let blind = estimate(&["--json"]).json();
    let seeing = estimate(&["--json", "--mmproj", text(&mmproj)]).json();
    assert_eq!(blind["picture_bytes"], 0);
    assert!(seeing["picture_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(seeing["weights_bytes"].as_u64() > blind["weights_bytes"].as_u64());
    assert!(estimate(&["--mmproj", text(&mmproj)]).text().contains("\n  picture "));
    assert!(!estimate(&[]).text().contains("picture"));
}

#[test]
fn inspect_knows_towers() {
    let folder = seeing("tower-facts");
    let (model, tower) = (folder.path("model.gguf"), folder.path("tower/mmproj.gguf"));
    let both = done(&mut lemmy(["inspect", text(&model), "--mmproj", text(&tower), "--json"])).code(0).json();
    assert_eq!((&both["tower"]["hidden"], &both["tower"]["output"]), (&144.into(), &256.into()));
    assert!(both["memory"]["picture_bytes"].as_u64().unwrap() > 0);
    let alone = done(&mut lemmy(["inspect", text(&tower)])).code(0);
    assert!(alone.text().contains("1 layers of width 144") && alone.text().contains("vision tower"), "{alone:?}");
    done(&mut lemmy(["run", text(&model), "--no-mmproj", "--image", &image("tall.png"), "x"]))
        .code(2)
        .says("cannot be used");
}
