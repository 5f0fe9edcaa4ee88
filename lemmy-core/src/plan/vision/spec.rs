//! Facts of a vision tower: the only place that looks at the metadata of its file.

use super::super::keys::Keys;
use crate::error::{Error, GgufError, Result};
use crate::gguf::Gguf;
use crate::limits;
use crate::vision::{PATCH, POOL};

/// Facts of a vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionSpec {
    /// Width of the residual stream.
    pub hidden: usize,
    /// Layers.
    pub layers: u16,
    /// Heads; queries, keys and values have as many.
    pub heads: usize,
    /// Size of one head, a multiple of 4.
    pub head_dim: usize,
    /// Width of the MLP.
    pub ffn: usize,
    /// Rows of the position table for each axis: most patches along a side.
    pub positions: usize,
    /// Pair `i` of half a head turns by `position * rope_base^(-2i / (head_dim / 2))`.
    pub rope_base: f64,
    /// Epsilon of every RMS norm.
    pub rms_eps: f32,
    /// Whether soft tokens are standardised before the projection.
    pub standardize: bool,
    /// Width of the soft tokens: the language model's hidden width.
    pub output: usize,
}

impl VisionSpec {
    /// Reads and checks the facts of an mmproj file. Touches the metadata and the tensor table only.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for a file that is no vision tower of Gemma 4, [`Error::Gguf`] for facts that make no
    /// sense.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self> {
        check_kind(gguf)?;
        let keys = Keys::new(gguf, "clip.vision");
        keys.usize("patch_size", PATCH as u64..=PATCH as u64)?;
        keys.usize_or("projector.scale_factor", POOL, POOL as u64..=POOL as u64)?;
        check_pixels(&keys, "image_mean", 0.0)?;
        check_pixels(&keys, "image_std", 1.0)?;
        let hidden = keys.usize("embedding_length", 1..=limits::HIDDEN)?;
        let heads = keys.usize("attention.head_count", 1..=limits::HEADS)?;
        if !hidden.is_multiple_of(4 * heads) {
            let expected = format!("heads of a multiple of 4 numbers, in a width of {hidden}");
            return Err(keys.error("attention.head_count", heads.to_string(), &expected));
        }
        let is_clipped = |name: &str| name.ends_with(".input_min") || name.ends_with(".output_max");
        if let Some(tensor) = gguf.tensors().iter().find(|tensor| is_clipped(&tensor.name)) {
            return Err(Error::Unsupported(format!("{}: clipped linear layers ({})", gguf.name(), tensor.name)));
        }
        Ok(Self {
            hidden,
            layers: keys.usize("block_count", 1..=limits::LAYERS)? as u16,
            heads,
            head_dim: hidden / heads,
            ffn: keys.usize("feed_forward_length", 1..=limits::FFN)?,
            positions: positions(gguf)?,
            rope_base: 100.0,
            rms_eps: keys.positive("attention.layer_norm_epsilon")? as f32,
            standardize: gguf.tensor("v.std_bias").is_some(),
            output: keys.usize("projection_dim", 1..=limits::HIDDEN)?,
        })
    }
}

/// Whether the file holds the tower of this family.
fn check_kind(gguf: &Gguf) -> Result<()> {
    let architecture = Keys::new(gguf, "general").str("architecture")?;
    if architecture != "clip" {
        return Err(Error::Unsupported(format!(
            "{}: architecture `{architecture}` is no vision tower (an mmproj file says clip)",
            gguf.name()
        )));
    }
    let projector = match Keys::new(gguf, "clip.vision").str_or_none("projector_type")? {
        Some(projector) => projector,
        None => Keys::new(gguf, "clip").str("projector_type")?,
    };
    if projector != "gemma4v" {
        let name = gguf.name();
        return Err(Error::Unsupported(format!("{name}: projector `{projector}` (this build runs gemma4v)")));
    }
    Ok(())
}

/// The reference does not normalise pixels; a file that asks for it would be another model.
fn check_pixels(keys: &Keys<'_>, key: &str, plain: f64) -> Result<()> {
    let Some(value) = keys.gguf().get(&keys.name(key)) else { return Ok(()) };
    let is_plain = value.as_array().and_then(|array| array.floats()).is_some_and(|mut all| all.all(|x| x == plain));
    if is_plain { Ok(()) } else { Err(keys.error(key, value.type_name(), &format!("three times {plain}"))) }
}

/// Rows of the position table for each axis.
fn positions(gguf: &Gguf) -> Result<usize> {
    const TABLE: &str = "v.position_embd.weight";
    let tensor = gguf.tensor(TABLE).ok_or_else(|| gguf.error(GgufError::MissingTensor(TABLE.into())))?;
    let [_, rows, ..] = tensor.shape;
    if !(1..=limits::CONTEXT).contains(&rows) {
        return Err(gguf.error(GgufError::Tensor {
            tensor: TABLE.into(),
            found: format!("{rows} rows"),
            expected: format!("1..={}", limits::CONTEXT),
        }));
    }
    Ok(rows as usize)
}
