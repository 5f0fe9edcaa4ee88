//! Pictures become the same sizes, pixels and patches as with transformers and Pillow.
//! `tests/fixtures/vision/README.md` tells where the numbers come from.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::path::PathBuf;

use lemmy_core::vision::{Budget, Layout};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/vision").join(name)
}

fn golden(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn number(value: &Value) -> usize {
    value.as_u64().unwrap() as usize
}

#[test]
fn four_hundred_sizes_at_every_budget() {
    let rows = golden("preproc.json")["sizes"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 400);
    for row in rows {
        let row: Vec<usize> = row.as_array().unwrap().iter().map(number).collect();
        for (budget, size) in Budget::ALL.into_iter().zip(row[2..].chunks(2)) {
            let layout = Layout::new(row[0], row[1], budget).unwrap();
            assert_eq!([layout.width(), layout.height()], size, "{} x {} at {budget:?}", row[0], row[1]);
            assert_eq!(layout.soft_tokens(), size[0] / 48 * (size[1] / 48));
        }
    }
}

#[cfg(feature = "vision")]
mod pictures {
    use std::time::Instant;

    use lemmy_core::vision::{Alpha, Patches, Rgb, decode, resize, size};
    use sha2::{Digest, Sha256};

    use super::*;

    fn hex(bytes: impl AsRef<[u8]>) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    fn patch_bytes(patches: &Patches) -> Vec<u8> {
        patches.values().iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    fn pixel(picture: &Rgb, x: usize, y: usize) -> &[u8] {
        &picture.data[3 * (y * picture.width + x)..][..3]
    }

    fn near(found: &[u8], golden: &Value, tolerance: u8) -> bool {
        let golden = golden.as_array().unwrap().iter().map(number);
        found.iter().zip(golden).all(|(&f, g)| f.abs_diff(g as u8) <= tolerance)
    }

    /// Another JPEG decoder is off by up to 3 steps; everything after it, and every lossless file, is equal.
    #[test]
    fn fourteen_pictures_at_every_budget() {
        let golden = golden("preproc.json");
        let images = golden["images"].as_object().unwrap();
        assert_eq!(images.len(), 14);
        for (name, image) in images {
            let bytes = std::fs::read(fixture("images").join(name)).unwrap();
            let picture = decode(&bytes, Alpha::Drop).unwrap();
            let is_jpeg = name.ends_with(".jpg");
            let upright: Vec<usize> = image["rgb_size"].as_array().unwrap().iter().map(number).collect();
            assert_eq!([picture.width, picture.height], upright[..], "{name}");
            assert_eq!(size(&bytes).unwrap(), (picture.width, picture.height), "{name}");
            if !is_jpeg {
                assert_eq!(hex(&picture.data), image["rgb_sha256"].as_str().unwrap(), "{name}");
            }
            for budget in Budget::ALL {
                let golden = &image["budgets"][budget.soft_tokens().to_string()];
                let patches = Patches::new(&picture, budget).unwrap();
                let layout = patches.layout();
                let sides = golden["size"].as_array().unwrap();
                assert_eq!([layout.width(), layout.height()], [number(&sides[0]), number(&sides[1])], "{name}");
                assert_eq!(layout.soft_tokens(), number(&golden["soft"]), "{name}");
                let resized = resize(&picture, layout.width(), layout.height()).unwrap();
                if is_jpeg {
                    let (w, h) = (resized.width, resized.height);
                    assert!(near(pixel(&resized, 0, 0), &golden["first"], 3), "{name}");
                    assert!(near(pixel(&resized, w / 2, h / 2), &golden["mid"], 3), "{name}");
                    assert!(near(pixel(&resized, w - 1, h - 1), &golden["last"], 3), "{name}");
                    let sum: usize = resized.data.iter().map(|&v| usize::from(v)).sum();
                    assert!(sum.abs_diff(number(&golden["sum"])) <= resized.data.len() / 4, "{name}: {sum}");
                } else {
                    assert_eq!(hex(&resized.data), golden["rgb"].as_str().unwrap(), "{name} at {budget:?}");
                    let patches = hex(patch_bytes(&patches));
                    assert_eq!(patches, golden["patches"].as_str().unwrap(), "{name} at {budget:?}");
                }
            }
        }
    }

    #[test]
    fn transparency_on_white() {
        let golden = golden("preproc.json")["images"]["rgba_100x80.png"]["on_white_280"].clone();
        let bytes = std::fs::read(fixture("images/rgba_100x80.png")).unwrap();
        let patches = Patches::new(&decode(&bytes, Alpha::White).unwrap(), Budget::default()).unwrap();
        assert_eq!(hex(patch_bytes(&patches)), golden["patches"].as_str().unwrap());
    }

    /// 1, 4, 8, 16 bits, grey, palette, alpha, CMYK, progressive, frames, EXIF: the pixels that Pillow gives.
    #[test]
    fn every_kind_of_pixel() {
        let golden = golden("kinds.json");
        let kinds = golden.as_object().unwrap();
        assert_eq!(kinds.len(), 24);
        for (name, kind) in kinds {
            let bytes = std::fs::read(fixture("kinds").join(name)).unwrap();
            let picture = decode(&bytes, Alpha::Drop).unwrap();
            assert_eq!((picture.width, picture.height), (number(&kind["width"]), number(&kind["height"])), "{name}");
            let hex = kind["rgb"].as_str().unwrap().as_bytes().chunks(2);
            let digits = hex.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap());
            let off = picture.data.iter().zip(digits).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(usize::from(off) <= number(&kind["tolerance"]), "{name} is off by {off}");
        }
    }

    /// Hundreds of times the bound is left for a slow machine and a build without optimisation.
    #[test]
    fn a_large_picture_is_quick() {
        let bytes = std::fs::read(fixture("images/large_3000x2000.png")).unwrap();
        let picture = decode(&bytes, Alpha::Drop).unwrap();
        let start = Instant::now();
        Patches::new(&picture, Budget::default()).unwrap();
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}
