//! The number types of tensors: their numbers in a file, names and block geometry.

#![forbid(unsafe_code)]

/// How the numbers of a tensor are stored. The discriminants are GGUF's type numbers.
///
/// Every type that a file may name is here, so that any file can be listed; the forward pass reads those for which
/// [`is_readable`](Self::is_readable) holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
#[allow(missing_docs, non_camel_case_types)] // the names are the documentation: they are the format's own
#[non_exhaustive]
pub enum DType {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q8_1 = 9,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    Q8_K = 15,
    IQ2_XXS = 16,
    IQ2_XS = 17,
    IQ3_XXS = 18,
    IQ1_S = 19,
    IQ4_NL = 20,
    IQ3_S = 21,
    IQ2_S = 22,
    IQ4_XS = 23,
    I8 = 24,
    I16 = 25,
    I32 = 26,
    I64 = 27,
    F64 = 28,
    IQ1_M = 29,
    BF16 = 30,
    TQ1_0 = 34,
    TQ2_0 = 35,
    MXFP4 = 39,
    NVFP4 = 40,
    Q1_0 = 41,
    Q2_0 = 42,
}

impl DType {
    /// Every type, in the order of their numbers.
    pub const ALL: &[DType] = &[
        Self::F32,
        Self::F16,
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q8_1,
        Self::Q2_K,
        Self::Q3_K,
        Self::Q4_K,
        Self::Q5_K,
        Self::Q6_K,
        Self::Q8_K,
        Self::IQ2_XXS,
        Self::IQ2_XS,
        Self::IQ3_XXS,
        Self::IQ1_S,
        Self::IQ4_NL,
        Self::IQ3_S,
        Self::IQ2_S,
        Self::IQ4_XS,
        Self::I8,
        Self::I16,
        Self::I32,
        Self::I64,
        Self::F64,
        Self::IQ1_M,
        Self::BF16,
        Self::TQ1_0,
        Self::TQ2_0,
        Self::MXFP4,
        Self::NVFP4,
        Self::Q1_0,
        Self::Q2_0,
    ];

    /// The type with this number in a GGUF file.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|&t| t as u32 == number)
    }

    /// Name as other tools print it, for instance `Q4_K`.
    pub fn name(self) -> &'static str {
        self.facts().0
    }

    /// Numbers in one block; 1 for the plain types.
    pub fn block_len(self) -> usize {
        self.facts().1
    }

    /// Bytes of one block.
    pub fn block_bytes(self) -> usize {
        self.facts().2
    }

    /// Whether weights of this type can be used in the forward pass.
    pub fn is_readable(self) -> bool {
        use DType::*;
        matches!(
            self,
            F32 | F16
                | BF16
                | Q4_0
                | Q4_1
                | Q5_0
                | Q5_1
                | Q8_0
                | Q2_K
                | Q3_K
                | Q4_K
                | Q5_K
                | Q6_K
                | IQ4_NL
                | IQ4_XS
                | MXFP4
        )
    }

    /// Bytes of a row of `numbers`, or `None` if the row is no whole number of blocks or overflows.
    pub fn row_bytes(self, numbers: usize) -> Option<usize> {
        numbers.is_multiple_of(self.block_len()).then_some(())?;
        (numbers / self.block_len()).checked_mul(self.block_bytes())
    }

    /// (name, numbers in a block, bytes of a block); ggml's `ggml-common.h` has the layouts.
    fn facts(self) -> (&'static str, usize, usize) {
        use DType::*;
        match self {
            F32 => ("F32", 1, 4),
            F16 => ("F16", 1, 2),
            BF16 => ("BF16", 1, 2),
            F64 => ("F64", 1, 8),
            I8 => ("I8", 1, 1),
            I16 => ("I16", 1, 2),
            I32 => ("I32", 1, 4),
            I64 => ("I64", 1, 8),
            Q4_0 => ("Q4_0", 32, 18),
            Q4_1 => ("Q4_1", 32, 20),
            Q5_0 => ("Q5_0", 32, 22),
            Q5_1 => ("Q5_1", 32, 24),
            Q8_0 => ("Q8_0", 32, 34),
            Q8_1 => ("Q8_1", 32, 36),
            IQ4_NL => ("IQ4_NL", 32, 18),
            MXFP4 => ("MXFP4", 32, 17),
            NVFP4 => ("NVFP4", 64, 36),
            Q2_0 => ("Q2_0", 64, 18),
            Q1_0 => ("Q1_0", 128, 18),
            Q2_K => ("Q2_K", 256, 84),
            Q3_K => ("Q3_K", 256, 110),
            Q4_K => ("Q4_K", 256, 144),
            Q5_K => ("Q5_K", 256, 176),
            Q6_K => ("Q6_K", 256, 210),
            Q8_K => ("Q8_K", 256, 292),
            IQ4_XS => ("IQ4_XS", 256, 136),
            IQ2_XXS => ("IQ2_XXS", 256, 66),
            IQ2_XS => ("IQ2_XS", 256, 74),
            IQ2_S => ("IQ2_S", 256, 82),
            IQ3_XXS => ("IQ3_XXS", 256, 98),
            IQ3_S => ("IQ3_S", 256, 110),
            IQ1_S => ("IQ1_S", 256, 50),
            IQ1_M => ("IQ1_M", 256, 56),
            TQ1_0 => ("TQ1_0", 256, 54),
            TQ2_0 => ("TQ2_0", 256, 66),
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
